"""HTTP in, rows and wake-ups out: one module per resource. No torch."""

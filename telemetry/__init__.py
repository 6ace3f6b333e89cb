"""What a process says of itself while it works: log records and traces."""

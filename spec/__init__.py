"""The vocabulary of stepsize as values: job specs, components, states. No SQL, HTTP or torch."""

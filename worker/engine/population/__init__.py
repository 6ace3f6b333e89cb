"""Many runs at once: those that differ in hyperparameters only, trained as one program."""

"""The worker: one job from claim to end, and the training engine that runs it."""

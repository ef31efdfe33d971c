"""Training: losses, optimiser and schedule, the step, the loop, its checkpoints, and what a person sees of it."""

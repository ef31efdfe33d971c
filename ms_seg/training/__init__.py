"""Training: `train` runs it; losses, optimiser and schedule, the step, the loop, its checkpoints, and the log."""

from ms_seg.training.run import train

__all__ = ["train"]

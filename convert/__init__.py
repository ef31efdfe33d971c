"""PyTorch checkpoints read, renamed and written for MindSpore, without PyTorch."""

from convert.reading import CheckpointError, Entry, open_checkpoint

__all__ = ["CheckpointError", "Entry", "open_checkpoint"]

"""PyTorch checkpoints read, renamed and written for MindSpore, without PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convert.reading import CheckpointError, Entry, open_checkpoint

__all__ = ["CheckpointError", "Entry", "open_checkpoint"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # imported when it is asked for: a command begins to listen to Ctrl-C before
        from convert import reading

        return getattr(reading, name)
    raise AttributeError(f"module 'convert' has no attribute {name!r}")

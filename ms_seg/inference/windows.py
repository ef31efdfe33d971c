"""A large input in overlapping windows, as mmsegmentation's EncoderDecoder.slide_inference takes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ms_seg.postprocessing.resizing import resize


@dataclass(frozen=True)
class Window:
    """A square window and how far it moves, in pixels of the network's input.

    Raises ValueError unless 1 <= stride <= crop: between windows further apart nothing would be seen.
    """

    crop: int
    stride: int

    def __post_init__(self) -> None:
        if not 1 <= self.stride <= self.crop:
            raise ValueError(f"a window of {self.crop} pixels cannot move by {self.stride}: 1 to {self.crop} can be")

    def starts(self, length: int) -> list[int]:
        """Where the windows along a side begin; the last one is moved back to end with the side."""
        last = max(length - self.crop, 0)
        steps = -(-last // self.stride)
        return [min(step * self.stride, last) for step in range(steps + 1)]


def slide(run: Callable[[np.ndarray], np.ndarray], images: np.ndarray, window: Window) -> np.ndarray:
    """Logits (C, h, w) float32 of an input (1, 3, h, w): each window's, resized to it, averaged where they overlap.

    Args:
        run: the network, (1, 3, h', w') -> logits (C, h'', w''). It sees windows of one size only: `crop`, or the
            input's own side where that is shorter.
    """
    height, width = images.shape[2:]
    total: np.ndarray | None = None
    count = np.zeros((height, width), np.float32)
    for top in window.starts(height):
        for left in window.starts(width):
            rows, columns = slice(top, top + window.crop), slice(left, left + window.crop)
            part = images[:, :, rows, columns]
            logits = resize(run(np.ascontiguousarray(part)), part.shape[2:])
            if total is None:
                total = np.zeros((len(logits), height, width), np.float32)
            total[:, rows, columns] += logits
            count[rows, columns] += 1
    return np.divide(total, count, out=total)

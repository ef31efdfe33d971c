"""LSeg's own way to test: a picture at six sizes, each in overlapping windows and mirrored, all logits added up.

Number for number as the MultiEvalModule of lang-seg (additional_utils/models.py) and PyTorch-Encoding, whose windows at
an edge are padded and not moved back. All resizing is bilinear with align_corners=True.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ms_seg.data.augmentation.lang_seg import resized_size
from ms_seg.postprocessing.resizing import resize

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
CITYSCAPES_SCALES = (0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25)

Run = Callable[[np.ndarray], np.ndarray]  # images (1, 3, s, s) float32 -> logits (K, s, s) float32


@dataclass(frozen=True)
class MultiEval:
    """base_size: the long side at scale 1. crop_size: side of a window, which moves by two thirds of it.

    beyond: what a window holds beyond the picture's edge, the normalised value of black for each channel.
    """

    base_size: int = 520
    crop_size: int = 480
    scales: tuple[float, ...] = SCALES
    beyond: tuple[float, float, float] = (-1.0, -1.0, -1.0)

    def __call__(self, image: np.ndarray, run: Run) -> np.ndarray:
        """A normalised image (3, H, W) float32 -> the sum of its logits over all scales, (K, H, W) float32."""
        height, width = image.shape[1:]

        def at(scale: float) -> np.ndarray:
            scaled_size = resized_size((height, width), math.ceil(self.base_size * scale))
            logits = self._look(resize(image, scaled_size, align_corners=True), run)
            return resize(logits, (height, width), align_corners=True)

        return functools.reduce(np.add, map(at, self.scales))

    def _look(self, image: np.ndarray, run: Run) -> np.ndarray:
        """The logits of an image (3, h, w), averaged where windows overlap: (K, h, w)."""
        height, width = image.shape[1:]
        padded = self._pad(image)
        total = np.zeros((0, *padded.shape[1:]), np.float32)
        count = np.zeros(padded.shape[1:], np.float32)
        for rows, columns in self._windows(padded.shape[1:]):
            window = padded[:, rows, columns]
            logits = self._both_ways(self._pad(window), run)[:, : window.shape[1], : window.shape[2]]
            if not len(total):
                total = np.zeros((len(logits), *padded.shape[1:]), np.float32)
            total[:, rows, columns] += logits
            count[rows, columns] += 1
        return (total / count)[:, :height, :width]

    def _windows(self, size: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
        """Rows and columns of each window of an image; at the far edges they are cut."""
        stride = int(self.crop_size * (2.0 / 3.0))
        rows, columns = (range(0, max(side - self.crop_size, 0) + stride, stride) for side in size)
        for top in rows:
            for left in columns:
                yield slice(top, top + self.crop_size), slice(left, left + self.crop_size)

    def _both_ways(self, window: np.ndarray, run: Run) -> np.ndarray:
        mirrored = np.ascontiguousarray(window[:, :, ::-1])
        return run(window[None]) + run(mirrored[None])[:, :, ::-1]

    def _pad(self, image: np.ndarray) -> np.ndarray:
        """Right and below up to a window's size."""
        height, width = (max(side, self.crop_size) for side in image.shape[1:])
        padded = np.empty((3, height, width), np.float32)
        padded[:] = np.array(self.beyond, np.float32).reshape(3, 1, 1)
        padded[:, : image.shape[1], : image.shape[2]] = image
        return padded

"""A large input in overlapping windows, as mmsegmentation's EncoderDecoder.slide_inference takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ms_seg.postprocessing.resizing import resize
from ms_seg.presets import Window


def starts(length: int, window: Window) -> list[int]:
    """Where the windows along a side begin; the last one is moved back to end with the side."""
    last = max(length - window.crop, 0)
    steps = -(-last // window.stride)
    return [min(step * window.stride, last) for step in range(steps + 1)]


def windows(size: tuple[int, int], window: Window) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of each window of an input (height, width)."""
    for top in starts(size[0], window):
        for left in starts(size[1], window):
            yield slice(top, top + window.crop), slice(left, left + window.crop)


def slide(run: Callable[[np.ndarray], np.ndarray], images: np.ndarray, window: Window) -> np.ndarray:
    """Logits (N, C, h, w) float32 of images (N, 3, h, w): each window's, resized to it, averaged where they overlap.

    Args:
        run: the network, (N, 3, h', w') -> logits (N, C, h'', w''). It sees windows of one size only: `crop`, or the
            input's own side where that is shorter and the window need not be exact.
    """
    n, _, height, width = images.shape
    if window.exact:
        missing = [(0, max(window.crop - side, 0)) for side in (height, width)]
        images = np.pad(images, ((0, 0), (0, 0), *missing))
    size = images.shape[2], images.shape[3]
    total: np.ndarray  # (N, C, *size), made when the first window has said how many classes there are
    count = np.zeros(size, np.float32)
    for number, (rows, columns) in enumerate(windows(size, window)):
        part = np.ascontiguousarray(images[:, :, rows, columns])
        logits = run(part)
        if not number:
            total = np.zeros((n, logits.shape[1], *size), np.float32)
        for sample, values in zip(total, logits, strict=True):
            sample[:, rows, columns] += resize(values, (part.shape[2], part.shape[3]))
        count[rows, columns] += 1
    return np.divide(total, count, out=total)[:, :, :height, :width]

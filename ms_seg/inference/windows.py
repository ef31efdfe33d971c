"""A large input in overlapping windows, as mmsegmentation's EncoderDecoder.slide_inference takes it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ms_seg.postprocessing.mosaic import Piece
from ms_seg.presets import Window

Progress = Callable[[int, int], None]


def starts(length: int, crop: int, stride: int) -> list[int]:
    """Where the windows along a side begin; the last one is moved back to end with the side."""
    last = max(length - crop, 0)
    steps = -(-last // stride)
    return [min(step * stride, last) for step in range(steps + 1)]


def windows(size: tuple[int, int], window: Window) -> list[tuple[slice, slice]]:
    """Rows and columns of each window of an input (height, width), row by row."""
    rows, columns = (
        [slice(start, min(start + crop, side)) for start in starts(side, crop, stride)]
        for side, (crop, stride) in zip(size, window.sides, strict=True)
    )
    return [(row, column) for row in rows for column in columns]


def slide(
    run: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    window: Window,
    progress: Progress | None = None,
) -> list[list[Piece]]:
    """What a network says of each window of images (N, 3, h, w): for each of them the pieces of a `Mosaic`.

    Args:
        run: the network, (N, 3, h', w') -> logits (N, C, h'', w''). It sees windows of one size only: `crop`, or the
            input's own side where that is shorter and the window need not be exact.
        progress: is told after each window how many are done, and of how many.
    """
    if window.exact:
        missing = [(0, max(window.crop - side, 0)) for side in images.shape[2:]]
        images = np.pad(images, ((0, 0), (0, 0), *missing))
    pieces: list[list[Piece]] = [[] for _ in images]
    places = windows((images.shape[2], images.shape[3]), window)
    for done, (rows, columns) in enumerate(places, start=1):
        logits = run(np.ascontiguousarray(images[:, :, rows, columns]))
        for own, values in zip(pieces, logits, strict=True):
            own.append(Piece(rows, columns, np.ascontiguousarray(values.transpose(1, 2, 0))))
        if progress:
            progress(done, len(places))
    return pieces

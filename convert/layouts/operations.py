"""The few operations that change a tensor on its way from one layout to another. Each knows its way back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Operation:
    """forward turns the arrays of a row's `theirs` into those of its `ours`; backward undoes it exactly.

    resize: for a tensor that a model may want for another size of image, makes it of that shape; ValueError where the
    two shapes are not of the same kind.
    """

    name: str
    forward: Callable[[Arrays], Arrays]
    backward: Callable[[Arrays], Arrays]
    resize: Callable[[np.ndarray, tuple[int, ...]], np.ndarray] | None = None

    @property
    def inverse(self) -> Operation:
        return Operation(self.name, self.backward, self.forward)


def stacked(*parts: int, axis: int = 0) -> Operation:
    """Several tensors stacked along an axis, with sizes in these proportions."""

    def split(arrays: Arrays) -> Arrays:
        (whole,) = arrays
        unit, rest = divmod(whole.shape[axis], sum(parts))
        if rest:
            kind = "rows" if axis == 0 else "columns"
            raise ValueError(
                f"the number of {kind} must be a multiple of {sum(parts)} to be split {':'.join(map(str, parts))}: "
                f"{whole.shape[axis]} is not"
            )
        return np.split(whole, np.cumsum(parts)[:-1] * unit, axis)

    return Operation("stack", lambda arrays: [np.concatenate(arrays, axis)], split)


POINTWISE = Operation(
    "linear to 1x1 convolution", lambda arrays: [arrays[0][:, :, None, None]], lambda arrays: [arrays[0][:, :, 0, 0]]
)

# Of a convolution (C, 3, h, w) that takes a picture.
RED_AND_BLUE_EXCHANGED = Operation(
    "exchange red and blue", lambda arrays: [arrays[0][:, ::-1]], lambda arrays: [arrays[0][:, ::-1]]
)

TRANSPOSED = Operation("transpose", lambda arrays: [arrays[0].T], lambda arrays: [arrays[0].T])


CLASS_ROWS = 3  # of a table of relative positions, its last: of the class token


def relative_grid(shape: tuple[int, ...]) -> int:
    """The patches on a side that a table of relative positions (rows, heads) is for, (2 grid - 1)^2 + 3 rows.

    Raises ValueError for another number of rows.
    """
    side = math.isqrt(max(shape[0] - CLASS_ROWS, 0)) if len(shape) == 2 else 0
    if side % 2 == 0 or side * side + CLASS_ROWS != shape[0]:
        raise ValueError(f"a table of relative positions must have (2 grid - 1)^2 + 3 rows: {list(shape)} has not")
    return (side + 1) // 2


def _resize_relative_positions(table: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A table (rows, heads) for another grid, as BEiT's authors carry one from 224 pixels to more.

    The known offsets are taken to lie apart in a geometric progression, one pixel around the centre and the farther out
    the more, so that the outermost are the new outermost; between them a bicubic spline is read. The class token's rows
    stay.
    """
    from scipy.interpolate import RectBivariateSpline  # here, since it takes a third of a second and few need it

    if table.shape[1:] != shape[1:]:
        raise ValueError(f"heads must be as many: {table.shape[1]} and {shape[1]} are not")
    known, wanted = (2 * relative_grid(size) - 1 for size in (table.shape, shape))
    low, high = 1.01, 1.5  # the ratio of the progression lies between
    while high - low > 1e-6:
        ratio = (low + high) / 2
        reach = (1 - ratio ** (known // 2)) / (1 - ratio)
        low, high = (low, ratio) if reach > wanted // 2 else (ratio, high)
    outwards = np.cumsum(ratio ** np.arange(known // 2))
    positions = np.concatenate((-outwards[::-1], [0.0], outwards))
    pixels = np.arange(wanted) - wanted // 2
    maps = table[:-CLASS_ROWS].astype(np.float64).reshape(known, known, -1)
    splines = [RectBivariateSpline(positions, positions, maps[:, :, head]) for head in range(maps.shape[2])]
    resized = np.stack([spline(pixels, pixels).ravel() for spline in splines], 1)
    return np.concatenate((resized.astype(table.dtype), table[-CLASS_ROWS:]))


RELATIVE_POSITIONS = Operation(
    "relative positions", lambda arrays: arrays, lambda arrays: arrays, resize=_resize_relative_positions
)


def _from_unfolded(arrays: Arrays) -> Arrays:
    """Columns ordered (channel, row, column) of 2x2 tokens, as nn.Unfold gives them, become (column, row, channel)."""
    (array,) = arrays
    *before, columns = array.shape
    return [np.moveaxis(array.reshape(*before, columns // 4, 2, 2), (-1, -2), (-3, -2)).reshape(array.shape)]


def _to_unfolded(arrays: Arrays) -> Arrays:
    (array,) = arrays
    *before, columns = array.shape
    return [np.moveaxis(array.reshape(*before, 2, 2, columns // 4), (-3, -2), (-1, -2)).reshape(array.shape)]


UNFOLDED = Operation("order of four merged patches", _from_unfolded, _to_unfolded)

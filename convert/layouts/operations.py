"""The few operations that change a tensor on its way from one layout to another. Each knows its way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Operation:
    """forward turns the arrays of a row's `theirs` into those of its `ours`; backward undoes it exactly."""

    name: str
    forward: Callable[[Arrays], Arrays]
    backward: Callable[[Arrays], Arrays]

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

TRANSPOSED = Operation("transpose", lambda arrays: [arrays[0].T], lambda arrays: [arrays[0].T])


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

"""Label maps and masks in C, where the machine has a C compiler. Called without MindSpore, by ctypes."""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np

from ms_seg.cells.compiler import HEADERS, shared_library
from ms_seg.postprocessing.resizing import Taps

# Without contractions and regrouping: label maps are NumPy's.
_FLAGS = ("-std=c11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off")

_enabled = ContextVar("enabled", default=True)


def available() -> bool:
    """Whether there is a C compiler, outside `disabled()`."""
    return _enabled.get() and _library() is not None


@contextmanager
def disabled() -> Iterator[None]:
    """Let this thread do without in the block: to compare the two."""
    token = _enabled.set(False)
    try:
        yield
    finally:
        _enabled.reset(token)


def best_classes(
    values: np.ndarray, input_taps: Sequence[Taps], picture_taps: Sequence[Taps], shares: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The class of the highest value at each pixel of a picture.

    Args:
        values: (h, w, C) float32, the strides being whole elements.
        input_taps, picture_taps: along rows and columns, from the values to the network's input and from there to the
            picture.
        shares: a class is as sure as its share in the sum of all values, none of which is negative, and not as its
            softmax.

    Returns: label_map (H, W) int32, and for each class the sum over its pixels of how sure it is, (C,) float64.

    Raises MemoryError.
    """
    taps = (*input_taps, *picture_taps)
    rows, columns = picture_taps
    label_map, sums = np.empty((len(rows.weight), len(columns.weight)), np.int32), np.zeros(values.shape[2])
    if not label_map.size:
        return label_map, sums
    steps = [stride // values.itemsize for stride in values.strides]
    sizes = (values.shape[2], steps[2], steps[0], steps[1], values.shape[1], label_map.shape[1], label_map.shape[0])
    _call("label_map", values, sizes, taps, bool(columns.weight.any()), shares, label_map, sums)
    return label_map, sums


def resize_maps(values: np.ndarray, steps: Sequence[tuple[Taps, Taps]], sigmoid: bool) -> np.ndarray:
    """Maps (K, h, w) float32, whose columns lie side by side, resized by one or two steps as `Taps.blend` does.

    steps: along columns and rows. sigmoid: of what comes out.

    Returns (K, H, W) float32. Raises MemoryError.
    """
    taps = tuple(itertools.chain.from_iterable(steps))
    counts = [len(one.weight) for one in taps]
    out = np.empty((len(values), counts[-1], counts[-2]), np.float32)
    if out.size:
        strides = (stride // values.itemsize for stride in values.strides[:2])
        _call("resize_maps", values, (*values.shape, *strides, len(steps), *counts), taps, sigmoid, out)
    return out


def _call(
    name: str, values: np.ndarray, sizes: Sequence[int], taps: Sequence[Taps], *others: np.ndarray | bool
) -> None:
    """Call a function of the library, whose file says what it takes."""
    sides = itertools.chain.from_iterable((one.lower, one.upper) for one in taps)
    indices = [np.ascontiguousarray(side, np.int32) for side in sides]
    weights = [np.ascontiguousarray(one.weight, np.float32) for one in taps]
    library = _library()
    assert library is not None, "available() says so"
    status = getattr(library, name)(
        _pointer(values),
        (ctypes.c_int64 * len(sizes))(*sizes),
        (ctypes.c_void_p * len(indices))(*(side.ctypes.data for side in indices)),
        (ctypes.c_void_p * len(weights))(*(weight.ctypes.data for weight in weights)),
        *(_pointer(other) if isinstance(other, np.ndarray) else ctypes.c_int(other) for other in others),
    )
    if status:
        raise MemoryError("there was not enough memory for what the network said at the picture's size")


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@functools.cache
def _library() -> ctypes.CDLL | None:
    sources = [*sorted(Path(__file__).parent.glob("*.c")), HEADERS / "pool.c"]
    library = shared_library("postprocessing", sources, _FLAGS, ["-lm"])
    return None if library is None else ctypes.CDLL(str(library))

"""Label maps by label_maps.c, where the machine has a C compiler. It is called without MindSpore, by ctypes."""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
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
    return _enabled.get() and _label_map() is not None


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
    sides = itertools.chain.from_iterable((one.lower, one.upper) for one in taps)
    indices = [np.ascontiguousarray(side, np.int32) for side in sides]
    weights = [np.ascontiguousarray(one.weight, np.float32) for one in taps]
    call = _label_map()
    assert call is not None, "available() says so"
    status = call(
        _pointer(values),
        (ctypes.c_int64 * len(sizes))(*sizes),
        (ctypes.c_void_p * len(indices))(*map(_pointer, indices)),
        (ctypes.c_void_p * len(weights))(*map(_pointer, weights)),
        int(bool(columns.weight.any())),
        int(shares),
        _pointer(label_map),
        _pointer(sums),
    )
    if status:
        raise MemoryError("there was not enough memory for a label map")
    return label_map, sums


def _pointer(array: np.ndarray) -> int:
    return array.ctypes.data


@functools.cache
def _label_map() -> Callable[..., int] | None:
    sources = [Path(__file__).parent / "label_maps.c", HEADERS / "pool.c"]
    library = shared_library("label_maps", sources, _FLAGS, ["-lm"])
    if library is None:
        return None
    call = ctypes.CDLL(str(library)).label_map
    call.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_int] * 2 + [ctypes.c_void_p] * 2
    return call

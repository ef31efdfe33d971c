"""The compiled library, called as MindSpore calls it, without MindSpore between."""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np

from ms_seg.cells import native

NOWHERE = (np.nan, np.inf, -np.inf, 1e30, -1e30, 3e38, 2.0**31, -(2.0**63))
UNTOUCHED = 777.0


@cache
def library() -> ctypes.CDLL:
    return ctypes.CDLL(str(native._library()))


def call(name: str, inputs: list[np.ndarray], outputs: list[tuple[int, ...]]) -> tuple[int, list[np.ndarray]]:
    """Call an operator; returns its status and its outputs, which are float32 of these shapes."""
    made = [np.full(shape, UNTOUCHED, np.float32) for shape in outputs]
    arrays = [np.ascontiguousarray(array) for array in (*inputs, *made)]
    count = len(arrays)
    params = (ctypes.c_void_p * count)(*[array.ctypes.data for array in arrays])
    ranks = (ctypes.c_int * count)(*[array.ndim for array in arrays])
    sizes = [(ctypes.c_int64 * max(array.ndim, 1))(*array.shape) for array in arrays]
    shapes = (ctypes.POINTER(ctypes.c_int64) * count)(*[ctypes.cast(s, ctypes.POINTER(ctypes.c_int64)) for s in sizes])
    types = (ctypes.c_char_p * count)(*[array.dtype.name.encode() for array in arrays])
    status = getattr(library(), name)(count, params, ranks, shapes, types, None, None)
    return status, arrays[len(inputs) :]


def outputs_of(name: str, inputs: list[np.ndarray], outputs: list[tuple[int, ...]]) -> list[np.ndarray]:
    status, made = call(name, inputs, outputs)
    assert status == 0
    return made


def refuses(status: int, name: str, inputs: list[np.ndarray], outputs: list[tuple[int, ...]]) -> bool:
    """Whether the operator returns this status and has written nothing."""
    found, made = call(name, inputs, outputs)
    return found == status and all((array == UNTOUCHED).all() for array in made)


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def numbers(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def deformable(shapes: np.ndarray, positions: int = 12, offsets: np.ndarray | None = None) -> list[np.ndarray]:
    """Inputs of two heads of three channels, five queries, one level, four points."""
    offsets = draw(1, 5, 2, 1, 4, 2) if offsets is None else offsets
    weights, points = np.full((1, 5, 2, 1, 4), 0.25, np.float32), np.full((5, 2), 0.5, np.float32)
    return [draw(1, positions, 6), offsets, weights, points, shapes]

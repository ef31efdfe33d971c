"""Tensors as files hold them: a run of bytes, an element type, and a strided view of the run."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

from convert.reading.entry import CheckpointError
from convert.reading.source import Source

# PyTorch's element types that NumPy has too, and bfloat16, which is widened on the way.
NUMPY_CODES = {
    "float32": "f4", "float64": "f8", "float16": "f2", "bfloat16": "u2", "bool": "?",
    "int8": "i1", "int16": "i2", "int32": "i4", "int64": "i8",
    "uint8": "u1", "uint16": "u2", "uint32": "u4", "uint64": "u8",
    "complex64": "c8", "complex128": "c16",
}  # fmt: skip
# The others: listed with their shape, refused by name when they are read.
UNREADABLE_SIZES = {
    "complex32": 4, "quint8": 1, "qint8": 1, "qint32": 4, "quint4x2": 1, "quint2x4": 1,
    "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1,
    "float4_e2m1fn_x2": 1, "bits8": 1, "bits16": 2, "bits1x8": 1, "bits2x4": 1, "bits4x2": 1,
}  # fmt: skip
ITEM_SIZES = {name: np.dtype(code).itemsize for name, code in NUMPY_CODES.items()} | UNREADABLE_SIZES

MAX_DIMENSIONS = 32  # NumPy 1's limit
MAX_EXPANSION = 256 << 20  # bytes to which a view (stride 0, overlapping windows) may blow up a smaller storage
PIECE = 4 << 20  # elements converted at a time, so that mapped pages can be given back on the way


class Storage:
    """A run of bytes, fetched when it is asked for and once only while anyone holds an array on it.

    `fetch` returns a read-only uint8 array of exactly `nbytes`: a look into the mapped file, or an array of its own.
    """

    def __init__(self, source: Source, record: str, nbytes: int, fetch: Callable[[], np.ndarray]) -> None:
        self.source = source
        self.record = record
        self.nbytes = nbytes
        self.users = 0  # tensors that are views of it
        self._fetch = fetch
        self._fetched: Callable[[], np.ndarray | None] = lambda: None

    def read(self) -> np.ndarray:
        file = self.source.file
        if file.closed:
            raise self.source.error(self.record, "can't be read any more: the checkpoint was closed.")
        file.use(self.nbytes)
        array = self._fetched()
        if array is None:
            array = self._fetch()
            self._fetched = weakref.ref(array)
            if self.users > 1 and array.flags.owndata:
                file.last_shared = array  # its other views are likely to be asked for next
        return array

    def part(self, start: int, stop: int) -> Storage:
        """The bytes [start, stop) as a storage; the caller has checked that they are inside."""
        return Storage(self.source, self.record, stop - start, lambda: self.read()[start:stop])


def mapped_storage(source: Source, record: str, view: memoryview) -> Storage:
    """A storage that lies uncompressed in the file."""
    return Storage(source, record, len(view), lambda: np.frombuffer(view, np.uint8))


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A strided view of a storage; made by `tensor_view`, which checks it. Strides and offset count elements."""

    storage: Storage
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    big_endian: bool = False
    conjugate: bool = False
    negative: bool = False

    def numpy(self) -> np.ndarray:
        """The numbers, read-only; see `Entry.numpy`."""
        if self.dtype not in NUMPY_CODES:
            raise unreadable(self.storage.source, self.storage.record, self.dtype)
        native = np.dtype("f4" if self.dtype == "bfloat16" else NUMPY_CODES[self.dtype])
        if 0 in self.shape:
            return np.empty(self.shape, native)
        stored = np.dtype((">" if self.big_endian else "<") + NUMPY_CODES[self.dtype])
        size = stored.itemsize
        strides = tuple(step * size for step in self.strides)
        array: np.ndarray = np.ndarray(self.shape, stored, self.storage.read(), self.offset * size, strides)
        if self.dtype == "bfloat16":
            array = self._copied(array, np.dtype("u4"), 16).view("f4")
        elif array.dtype != native:
            array = self._copied(array, native, 0)
        if self.conjugate:
            array = np.conjugate(array, out=np.empty_like(array))  # without `out` a 0-d array becomes a scalar
        if self.negative:
            array = np.negative(array, out=np.empty_like(array))
        array.flags.writeable = False
        return array

    def _copied(self, array: np.ndarray, dtype: np.dtype, shift: int) -> np.ndarray:
        """An array of its own in `dtype`, shifted to the left by `shift` bits: bfloat16 is float32's upper half."""
        if not array.flags.c_contiguous:
            copy = array.astype(dtype, order="C")
            return np.left_shift(copy, shift, out=copy) if shift else copy
        copy = np.empty(array.shape, dtype)
        old, new = array.reshape(-1), copy.reshape(-1)
        for start in range(0, old.size, PIECE):
            piece = slice(start, start + PIECE)
            new[piece] = old[piece]
            if shift:
                np.left_shift(new[piece], shift, out=new[piece])
            self.storage.source.file.use(old[piece].nbytes)
        return copy


@dataclass(frozen=True, eq=False)
class CastTensor:
    """A tensor that is stored as one element type because its own was not to be had where it was written."""

    stored: StoredTensor
    dtype: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.stored.shape

    def numpy(self) -> np.ndarray:
        native = "f4" if self.dtype == "bfloat16" else NUMPY_CODES[self.dtype]
        return self.stored.numpy().astype(native, copy=False)


@dataclass(frozen=True, eq=False)
class UnreadableTensor:
    """A tensor the project has no use for (sparse, without data): listed, and refused when it is read."""

    source: Source
    record: str
    dtype: str
    shape: tuple[int, ...]

    def numpy(self) -> np.ndarray:
        raise unreadable(self.source, self.record, self.dtype)


def unreadable(source: Source, record: str, dtype: str) -> CheckpointError:
    """The refusal, by name, of a tensor that has no NumPy equal."""
    return source.error(record, f"is of type {dtype}, which can't be read: convert it in PyTorch first.")


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides, in elements, of a C-contiguous array of that shape."""
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def tensor_view(
    storage: Storage,
    dtype: str,
    shape: tuple[int, ...],
    strides: tuple[int, ...] | None = None,
    offset: int = 0,
    *,
    big_endian: bool = False,
    conjugate: bool = False,
    negative: bool = False,
) -> StoredTensor:
    """A view of a storage, refused unless every element it can reach lies inside the storage.

    Raises:
        CheckpointError: negative or senseless sizes, out of bounds, or a small storage expanded beyond MAX_EXPANSION.
    """

    def refused(problem: str) -> CheckpointError:
        return storage.source.error(storage.record, problem)

    if len(shape) > MAX_DIMENSIONS:
        raise refused(f"has a tensor of {len(shape)} dimensions, at most {MAX_DIMENSIONS} can be read.")
    if strides is None:
        strides = contiguous_strides(shape)
    numbers = (*shape, *strides, offset)
    if len(strides) != len(shape) or not all(type(number) is int for number in numbers):
        raise refused("has a tensor whose sizes and strides do not fit each other.")
    if not all(0 <= number < 1 << 62 for number in numbers):
        raise refused("has a tensor with a negative or senseless size, stride or offset.")
    item = ITEM_SIZES[dtype]
    if prod(max(size, 1) for size in shape) * item >= 1 << 62:
        raise refused("has a tensor whose sizes are beyond any memory.")
    if 0 not in shape:
        last = offset + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
        if (last + 1) * item > storage.nbytes:
            raise refused(
                f"has {storage.nbytes} bytes, but one of its tensors reaches to byte {(last + 1) * item}: "
                "the file is damaged."
            )
        if prod(shape) * item > max(storage.nbytes, MAX_EXPANSION):
            raise refused(f"has {storage.nbytes} bytes, which a tensor expands to {prod(shape) * item}: refused.")
    storage.users += 1
    return StoredTensor(storage, dtype, shape, strides, offset, big_endian, conjugate, negative)

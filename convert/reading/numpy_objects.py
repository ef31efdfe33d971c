"""NumPy's element types and arrays as its pickles and `.npy` headers describe them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod

import numpy as np

from convert.reading.entry import CheckpointError
from convert.reading.pickle_machine import Constructor, LongText, Unknown
from convert.reading.source import Source
from convert.reading.tensor import (
    ITEM_SIZES,
    MAX_DIMENSIONS,
    NUMPY_CODES,
    Storage,
    StoredTensor,
    UnreadableTensor,
    contiguous_strides,
    mapped_storage,
    tensor_view,
)

DTYPE_NAMES = {np.dtype(code).str[1:]: name for name, code in NUMPY_CODES.items() if name != "bfloat16"}
DTYPE_PATTERN = re.compile(r"([<>|=]?)([a-zA-Z?]\d*)")
ONE_LETTER = {"?": "b1"}
OTHER_KINDS = {"O": "object", "S": "bytes", "U": "text", "V": "void", "M": "date", "m": "time"}


@dataclass(eq=False)
class NumpyDtype:
    """An element type. A pickle first names it, then sets its byte order."""

    name: str  # PyTorch's name, or NumPy's code where PyTorch has no such type
    big_endian: bool = False

    def set_state(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1:
            self.big_endian = _plain_text(state[1]) == ">"


def parse_dtype(code: str) -> NumpyDtype:
    """The element type that NumPy writes as "<f4", "|b1", ">i8", "O" ..."""
    found = DTYPE_PATTERN.fullmatch(code)
    if not found:
        return NumpyDtype("structured")
    order, kind = found.groups()
    kind = ONE_LETTER.get(kind, kind)
    return NumpyDtype(DTYPE_NAMES.get(kind, OTHER_KINDS.get(kind[0], f"NumPy {kind}")), order == ">")


def array_bytes(dtype: NumpyDtype, shape: tuple) -> int:
    """The bytes of an array; 0 where its shape is senseless or its elements are nothing we read."""
    sizes = len(shape) <= MAX_DIMENSIONS and all(type(size) is int and 0 <= size < 1 << 60 for size in shape)
    return prod(shape) * ITEM_SIZES[dtype.name] if sizes and dtype.name in NUMPY_CODES else 0


def array_view(
    storage: Storage, dtype: NumpyDtype, shape: tuple, fortran_order: bool
) -> StoredTensor | UnreadableTensor:
    """A contiguous array over the whole of a storage; object arrays and the like become `UnreadableTensor`.

    Raises:
        CheckpointError: a shape that is none, or more or fewer bytes than it takes.
    """
    if not all(type(size) is int for size in shape):
        raise storage.source.error(storage.record, "has an array whose shape is not understood.")
    if dtype.name not in NUMPY_CODES:
        return UnreadableTensor(storage.source, storage.record, dtype.name, shape)
    nbytes = array_bytes(dtype, shape)
    if storage.nbytes != nbytes:
        raise storage.source.error(
            storage.record, f"has {storage.nbytes} bytes for an array of {nbytes}: damaged or cut off."
        )
    strides = contiguous_strides(shape[::-1])[::-1] if fortran_order and len(shape) <= MAX_DIMENSIONS else None
    return tensor_view(storage, dtype.name, shape, strides, big_endian=dtype.big_endian)


class NumpyArray:
    """An array in a pickle: an empty shell first, which then gets shape, element type and bytes."""

    def __init__(self, source: Source, record: str) -> None:
        self._source = source
        self._record = record
        self.entry: StoredTensor | UnreadableTensor | None = None

    def set_state(self, state: object) -> None:
        match state:
            case (_, tuple() as shape, NumpyDtype() as dtype, fortran_order, data):
                self.fill(data, dtype, shape, bool(fortran_order))
            case _:
                raise self._source.error(self._record, "has a NumPy array whose state is not understood.")

    def fill(self, data: object, dtype: NumpyDtype, shape: tuple, fortran_order: bool) -> None:
        """Set the contents: `data` are bytes, the text Python 2 or protocol 2 made of them, or a list of objects."""
        if isinstance(data, LongText) and data.encoding == "utf-8":
            storage = _recoded_storage(self._source, self._record, data, array_bytes(dtype, shape))
        elif (view := bytes_of(data)) is not None:
            storage = mapped_storage(self._source, self._record, view)
        else:
            storage, dtype = mapped_storage(self._source, self._record, memoryview(b"")), NumpyDtype("object")
        self.entry = array_view(storage, dtype, shape, fortran_order)


def bytes_of(value: object) -> memoryview | None:
    """The bytes that a pickle gives as such, or as the Latin-1 text that older protocols have for them; None if it
    gives something else."""
    if isinstance(value, LongText) and value.encoding == "latin-1":
        return value.view
    try:
        match value:
            case LongText():
                return memoryview(str(value.view, "utf-8").encode("latin-1"))
            case str():
                return memoryview(value.encode("latin-1"))
            case bytes() | bytearray() | memoryview():
                return memoryview(value)
    except UnicodeError:
        pass
    return None


def _recoded_storage(source: Source, record: str, text: LongText, nbytes: int) -> Storage:
    """The bytes that Python 3 wrote for protocol 2 as a Latin-1 text in UTF-8, where those above 127 take two bytes."""

    def fetch() -> np.ndarray:
        try:
            data = np.frombuffer(str(text.view, "utf-8").encode("latin-1"), np.uint8)
        except UnicodeError:
            data = np.empty(0, np.uint8)
        if len(data) != nbytes:
            raise source.error(record, f"has an array of {nbytes} bytes that is stored as a text of another length.")
        return data

    if not len(text.view) // 2 <= nbytes <= len(text.view):
        raise source.error(record, f"has an array of {nbytes} bytes, but a text of {len(text.view)} in its place.")
    return Storage(source, record, nbytes, fetch)


def _plain_text(value: object) -> str:
    """Python 2 wrote byte strings where Python 3 writes text."""
    return value.decode("latin-1") if isinstance(value, bytes) else value if isinstance(value, str) else ""


def numpy_globals(source: Source, record: str) -> dict[tuple[str, str], object]:
    """The names that a pickle of NumPy arrays needs, with constructors of ours."""
    ndarray = Unknown("numpy.ndarray")

    def refused(name: str) -> CheckpointError:
        return source.error(record, f"calls {name} with arguments that are not understood.")

    def reconstruct(arguments: tuple) -> object:
        if arguments[:1] != (ndarray,):
            raise refused("numpy's _reconstruct")
        return NumpyArray(source, record)

    def dtype(arguments: tuple) -> object:
        return parse_dtype(_plain_text(arguments[0])) if arguments else NumpyDtype("structured")

    def from_buffer(arguments: tuple) -> object:
        match arguments:
            case (data, NumpyDtype() as dtype, tuple() as shape, order):
                array = NumpyArray(source, record)
                array.fill(data, dtype, shape, _plain_text(order) == "F")
                return array
        raise refused("numpy's _frombuffer")

    def encode(arguments: tuple) -> object:
        """In place of `codecs.encode(text, "latin1")`: the text itself, to be encoded when its bytes are asked for."""
        match arguments:
            case (str() | LongText() as text, *_):
                return text
        raise refused("_codecs.encode")

    found: dict[tuple[str, str], object] = {
        ("numpy", "ndarray"): ndarray,
        ("numpy", "dtype"): Constructor("numpy.dtype", dtype),
        ("_codecs", "encode"): Constructor("_codecs.encode", encode),
    }
    for core in ("numpy.core", "numpy._core"):
        found[f"{core}.multiarray", "_reconstruct"] = Constructor("_reconstruct", reconstruct)
        found[f"{core}.numeric", "_frombuffer"] = Constructor("_frombuffer", from_buffer)
    return found

"""The names that a pickle written by PyTorch may use, each with an inert constructor of ours; no other name is known.

Sources: torch/_utils.py (`_rebuild_*`), torch/_tensor.py, torch/serialization.py and torch/jit/_pickle.py of PyTorch
0.1 to 2.13. A name is looked up as the exact pair (module, name), and nothing is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from convert.reading.entry import CheckpointError, shown
from convert.reading.numpy_objects import NumpyArray, bytes_of, numpy_globals
from convert.reading.pickle_machine import Constructor, Opaque, Unknown, as_key
from convert.reading.source import Source
from convert.reading.tensor import (
    ITEM_SIZES,
    NUMPY_CODES,
    CastTensor,
    Storage,
    StoredTensor,
    UnreadableTensor,
    tensor_view,
)

STORAGE_CLASSES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128",
    "QUInt8Storage": "quint8", "QInt8Storage": "qint8", "QInt32Storage": "qint32",
    "QUInt4x2Storage": "quint4x2", "QUInt2x4Storage": "quint2x4",
    "UntypedStorage": "uint8", "_UntypedStorage": "uint8",
}  # fmt: skip
DTYPE_ALIASES = {
    "float": "float32", "double": "float64", "half": "float16", "long": "int64", "int": "int32", "short": "int16",
    "cfloat": "complex64", "cdouble": "complex128", "chalf": "complex32",
}  # fmt: skip

MAX_COPIES = 1_000_000  # values that all calls of a pickle may copy, lest one list is copied a million times

Tensor = StoredTensor | CastTensor | UnreadableTensor


@dataclass(frozen=True, eq=False)
class StorageClass:
    """The class of a storage in a persistent id; it says what its elements are."""

    dtype: str


@dataclass(frozen=True, eq=False)
class Dtype:
    """`torch.float32` and its kin."""

    name: str


@dataclass(frozen=True, eq=False)
class TypedStorage:
    """A storage and what its elements are, as a persistent id gives them."""

    storage: Storage
    dtype: str
    big_endian: bool = False


class BlobReader(Protocol):
    """Reads what `torch.storage._load_from_bytes` is given: a whole legacy file in a byte string."""

    def __call__(self, source: Source, blob: memoryview, record: str) -> object: ...


def as_tensor(value: object) -> Tensor | None:
    """The tensor that an object of a pickle is, NumPy arrays among them; None if it is something else."""
    if isinstance(value, NumpyArray):
        return value.entry
    return value if isinstance(value, Tensor) else None


class TorchObjects:
    """The allow-list of one pickle. `find` is what a `PickleMachine` asks for globals."""

    def __init__(self, source: Source, record: str, read_blob: BlobReader | None = None) -> None:
        self._source = source
        self._record = record
        self._read_blob = read_blob
        self._blobs: dict[int, tuple[object, object]] = {}
        self._copies_left = MAX_COPIES
        self._known = self._table()

    def find(self, module: str, name: str) -> object:
        """A constructor or value of ours for the names of the table, an inert placeholder for every other."""
        return self._known.get((module, name)) or Unknown(f"{module}.{name}"[:200])

    def error(self, problem: str) -> CheckpointError:
        return self._source.error(self._record, problem)

    def _table(self) -> dict[tuple[str, str], object]:
        rebuild = {
            "_rebuild_tensor": self._tensor,
            "_rebuild_tensor_v2": self._tensor,
            "_rebuild_tensor_v3": self._tensor_with_dtype,
            "_rebuild_parameter": self._first,
            "_rebuild_parameter_with_state": self._first,
            "_rebuild_qtensor": self._quantised,
            "_rebuild_sparse_tensor": self._sparse,
            "_rebuild_sparse_csr_tensor": self._sparse,
            "_rebuild_meta_tensor_no_storage": self._without_data,
            "_rebuild_device_tensor_from_numpy": self._from_numpy,
            "_rebuild_xla_tensor": self._from_numpy,
            "_rebuild_device_tensor_from_cpu_tensor": self._first,
            "_rebuild_wrapper_subclass": self._foreign,
            "_rebuild_nested_tensor": self._foreign,
        }
        known: dict[tuple[str, str], object] = numpy_globals(self._source, self._record)
        for name, build in rebuild.items():
            known["torch._utils", name] = Constructor(name, build)
        for module in ("torch._tensor", "torch.tensor"):
            known[module, "_rebuild_from_type"] = Constructor("_rebuild_from_type", self._of_a_class)
            known[module, "_rebuild_from_type_v2"] = Constructor("_rebuild_from_type_v2", self._of_a_class)
        for name in ("build_intlist", "build_tensorlist", "build_doublelist", "build_boollist", "restore_type_tag"):
            known["torch.jit._pickle", name] = Constructor(name, self._first)
        for module in ("builtins", "__builtin__"):
            for name in ("set", "frozenset", "list", "tuple", "bytearray"):
                known[module, name] = Constructor(name, self._first_or_list)
            known[module, "bytes"] = Constructor("bytes", lambda arguments: arguments[0] if arguments else b"")
        for name, dtype in STORAGE_CLASSES.items():
            for module in ("torch", "torch.cuda", "torch.storage"):
                known[module, name] = StorageClass(dtype)
        for name in ITEM_SIZES:
            known["torch", name] = Dtype(name)
        for name, dtype in DTYPE_ALIASES.items():
            known["torch", name] = Dtype(dtype)
        return known | {
            ("collections", "OrderedDict"): Constructor("OrderedDict", self._dictionary),
            ("collections", "defaultdict"): Constructor("defaultdict", lambda arguments: {}),
            ("torch", "Size"): Constructor("torch.Size", self._size),
            ("torch.nn.parameter", "Parameter"): Constructor("Parameter", self._first),
            ("torch.nn.parameter", "Buffer"): Constructor("Buffer", self._first),
            ("torch.storage", "_load_from_bytes"): Constructor("_load_from_bytes", self._load_from_bytes),
            ("torch.storage", "TypedStorage"): Constructor("TypedStorage", self._typed_storage),
            ("torch.storage", "_TypedStorage"): Constructor("_TypedStorage", self._typed_storage),
        }

    # The constructors. Each gets the tuple of arguments that the pickle passes, of any kind and number.

    def _refused(self, name: str) -> CheckpointError:
        return self.error(f"calls {name} with arguments that are not understood.")

    def _tensor(self, arguments: tuple) -> object:
        match arguments:
            case (TypedStorage() as typed, int() as offset, tuple() as shape, tuple() as strides, *more):
                flags = more[2] if len(more) > 2 else None
                return self._view(typed, typed.dtype, offset, shape, strides, flags)
        return self._no_tensor(arguments, "_rebuild_tensor_v2")

    def _tensor_with_dtype(self, arguments: tuple) -> object:
        match arguments:
            case (
                TypedStorage() as typed,
                int() as offset,
                tuple() as shape,
                tuple() as strides,
                _,
                _,
                Dtype(name=dtype),
                *more,
            ):
                return self._view(typed, dtype, offset, shape, strides, more[0] if more else None)
        return self._no_tensor(arguments, "_rebuild_tensor_v3")

    def _view(
        self, typed: TypedStorage, dtype: str, offset: int, shape: tuple, strides: tuple, flags: object
    ) -> StoredTensor:
        flags = flags if isinstance(flags, dict) else {}
        return tensor_view(
            typed.storage,
            dtype,
            shape,
            strides,
            int(offset),
            big_endian=typed.big_endian,
            conjugate=flags.get("conj") is True,
            negative=flags.get("neg") is True,
        )

    def _no_tensor(self, arguments: tuple, name: str) -> object:
        """A storage that an unknown function made gives a tensor that is listed and can't be read."""
        match arguments:
            case (Opaque(name=maker), _, shape, *_):
                return self._unreadable(maker, shape)
        raise self._refused(name)

    def _unreadable(self, kind: str, shape: object) -> UnreadableTensor:
        sizes = shape if isinstance(shape, tuple) and all(type(size) is int for size in shape) else ()
        return UnreadableTensor(self._source, self._record, kind, sizes)

    def _quantised(self, arguments: tuple) -> object:
        match arguments:
            case (TypedStorage(dtype=dtype), _, shape, *_):
                return self._unreadable(dtype, shape)
        raise self._refused("_rebuild_qtensor")

    def _sparse(self, arguments: tuple) -> object:
        match arguments:
            case (_, (*_, tuple() as shape)) | (_, (_, _, tuple() as shape, *_)):
                return self._unreadable("sparse", shape)
        return self._unreadable("sparse", ())

    def _without_data(self, arguments: tuple) -> object:
        return self._unreadable("meta (without data)", arguments[1] if len(arguments) > 1 else ())

    def _from_numpy(self, arguments: tuple) -> object:
        """A tensor of a device that writes its numbers as a NumPy array, of another type where NumPy lacks its own."""
        match arguments:
            case (NumpyArray(entry=StoredTensor() as stored), Dtype(name=dtype), *_) if dtype in NUMPY_CODES:
                return stored if stored.dtype == dtype else CastTensor(stored, dtype)
        raise self._refused("_rebuild_device_tensor_from_numpy")

    def _of_a_class(self, arguments: tuple) -> object:
        """A tensor of a subclass: (function, class, arguments, state)."""
        match arguments:
            case (Constructor() as function, _, tuple() as inner, *_):
                return function.build(inner)
        return self._unreadable("foreign", ())

    def _foreign(self, arguments: tuple) -> object:
        """A tensor without numbers of its own: distributed, nested, of a class that wraps others."""
        return self._unreadable("foreign", ())

    def _first(self, arguments: tuple) -> object:
        return arguments[0] if arguments else None

    def _first_or_list(self, arguments: tuple) -> object:
        """A set, list or tuple of the values given; nobody writes into it but the pickle itself."""
        return arguments[0] if arguments else []

    def _size(self, arguments: tuple) -> object:
        match arguments:
            case ((tuple() | list()) as sizes,):
                self._charge(len(sizes))
                return tuple(sizes)
        return ()

    def _dictionary(self, arguments: tuple) -> object:
        match arguments:
            case ():
                return {}
            case (dict() as pairs,):
                self._charge(len(pairs))
                return dict(pairs)
            case (list() as pairs,):
                self._charge(len(pairs))
                if all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
                    return {as_key(key): value for key, value in pairs}
        raise self._refused("OrderedDict")

    def _charge(self, copies: int) -> None:
        self._copies_left -= copies
        if self._copies_left < 0:
            raise self.error(f"copies more than {MAX_COPIES} values: refused.")

    def _typed_storage(self, arguments: tuple) -> object:
        return next((value for value in arguments if isinstance(value, TypedStorage)), Opaque("a storage"))

    def _load_from_bytes(self, arguments: tuple) -> object:
        """A storage that `pickle.dump` wrote: a whole file of `torch.save` in a byte string."""
        blob = arguments[0] if len(arguments) == 1 else None
        data = bytes_of(blob)
        if self._read_blob is None or data is None:
            raise self._refused("_load_from_bytes")
        if id(blob) not in self._blobs:  # the blob is kept beside its storage, so that its id stays its own
            self._blobs[id(blob)] = (blob, self._read_blob(self._source, data, self._record))
        return self._blobs[id(blob)][1]


def typed_storages(
    error: Callable[[str], CheckpointError], make: Callable[[str, str, int], Storage], big_endian: bool = False
) -> Callable[[object], object]:
    """What a `PickleMachine` asks for persistent ids: ("storage", class, key, location, elements[, view]).

    Args:
        error: makes the exception for a sentence's end.
        make: gives the storage of a key: (key, element type, bytes) -> Storage. Asked once for a key.
        big_endian: the byte order of all storages.
    """
    made: dict[str, Storage] = {}

    def load(identifier: object) -> object:
        match identifier:
            case ("storage" | b"storage", StorageClass(dtype=dtype), str() | int() as key, _, int() as count, *view):
                nbytes = count * ITEM_SIZES[dtype]
                if not 0 <= nbytes < 1 << 62:
                    raise error(f"has a storage of {shown(count)} elements: refused.")
                name = str(key)
                if name not in made:
                    made[name] = make(name, dtype, nbytes)
                if made[name].nbytes < nbytes:
                    raise error(f"uses storage {shown(name)} as {nbytes} bytes, it has {made[name].nbytes}.")
                return TypedStorage(_window(made[name], view[:1], ITEM_SIZES[dtype], error), dtype, big_endian)
            case ("module" | b"module", container, *_):
                return container  # the class of a module, with its source code
        raise error("has a persistent id that is not understood.")

    return load


def _window(storage: Storage, view: list, item: int, error: Callable[[str], CheckpointError]) -> Storage:
    """The part of a storage that old files call a view, (key, offset, elements); the storage itself without one."""
    match view:
        case [] | [None]:
            return storage
        case [(_, int() as offset, int() as count)] if 0 <= offset and 0 <= count:
            start, stop = offset * item, (offset + count) * item
            if stop <= storage.nbytes:
                return storage.part(start, stop)
    raise error("has a view of a storage that reaches beyond it.")

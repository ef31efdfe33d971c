"""Builds checkpoint files byte for byte as PyTorch, NumPy and MindSpore write them, with NumPy alone.

The pickles come from Python's own pickler, which is led to write PyTorch's names without PyTorch being there.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C


@dataclass(frozen=True)
class Name:
    """A global of a module that need not exist."""

    module: str
    name: str

    def __call__(self) -> None:
        raise AssertionError("a name in a test file is only ever written")


TYPES: dict[type, Name] = {}


@dataclass(eq=False)
class Storage:
    """Elements as bytes, with the class that PyTorch gives them."""

    data: bytes
    kind: str = "FloatStorage"
    count: int | None = None
    view: tuple | None = None

    def elements(self) -> int:
        return len(self.data) // SIZES[self.kind] if self.count is None else self.count


SIZES = {
    "FloatStorage": 4, "DoubleStorage": 8, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8, "IntStorage": 4,
    "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1, "ComplexFloatStorage": 8,
    "ComplexDoubleStorage": 16, "QInt8Storage": 1, "UntypedStorage": 1,
}  # fmt: skip
KINDS = {
    "float32": "FloatStorage", "float64": "DoubleStorage", "float16": "HalfStorage", "int64": "LongStorage",
    "int32": "IntStorage", "int16": "ShortStorage", "int8": "CharStorage", "uint8": "ByteStorage",
    "bool": "BoolStorage", "complex64": "ComplexFloatStorage", "complex128": "ComplexDoubleStorage",
}  # fmt: skip


@dataclass(eq=False)
class Tensor:
    """A view of a storage, as `_rebuild_tensor_v2` is given it; `more` are further arguments."""

    storage: object
    shape: tuple
    strides: tuple
    offset: object = 0
    rebuild: str = "_rebuild_tensor_v2"
    more: tuple = field(default_factory=lambda: (False, OrderedDict()))


def tensor(array: np.ndarray, swapped: bool = False) -> Tensor:
    """A contiguous tensor of an array of any type that has a storage class of its own."""
    data = array.astype(array.dtype.newbyteorder(">")) if swapped else array
    strides = tuple(step // array.itemsize for step in np.ascontiguousarray(array).reshape(array.shape).strides)
    return Tensor(Storage(data.tobytes(), KINDS[array.dtype.name]), array.shape, strides)


class Call:
    """An object that is pickled as a call: `function(*arguments)`, then `state` by BUILD."""

    def __init__(self, function: object, *arguments: object, state: object = None, items: dict | None = None) -> None:
        self.reduced = (function, arguments, state, None, iter(items.items()) if items else None)

    def __reduce__(self) -> tuple:
        return self.reduced


class _Pickler(pickle._Pickler):
    def __init__(self, file: io.BytesIO, protocol: int, legacy: bool) -> None:
        super().__init__(file, protocol)
        self.storages: dict[str, Storage] = {}
        self.legacy = legacy

    def persistent_id(self, obj: object) -> tuple | None:
        if not isinstance(obj, Storage):
            return None
        key = next((key for key, storage in self.storages.items() if storage is obj), str(len(self.storages)))
        self.storages[key] = obj
        module = "torch.storage" if obj.kind == "UntypedStorage" else "torch"
        identity = ("storage", Name(module, obj.kind), key, "cpu", obj.elements())
        return (*identity, obj.view) if self.legacy else identity

    def reducer_override(self, obj: object) -> object:
        if isinstance(obj, Tensor):
            arguments = (obj.storage, obj.offset, obj.shape, obj.strides, *obj.more)
            return Name("torch._utils", obj.rebuild), arguments
        return NotImplemented

    def save(self, obj: object, save_persistent_id: bool = True) -> None:
        if isinstance(obj, type):  # not left to the pickler: dill, which MindSpore imports, changes how it writes them
            obj = TYPES.setdefault(obj, Name(obj.__module__.replace("builtins", "__builtin__"), obj.__name__))
        if isinstance(obj, Name):
            if id(obj) in self.memo:
                self.write(self.get(self.memo[id(obj)][0]))
            else:
                self.write(f"c{obj.module}\n{obj.name}\n".encode())
                self.memoize(obj)
        else:
            super().save(obj, save_persistent_id)


def pickled(obj: object, protocol: int = 2, legacy: bool = False) -> tuple[bytes, dict[str, Storage]]:
    """The pickle, and the storages it refers to."""
    file = io.BytesIO()
    pickler = _Pickler(file, protocol, legacy)
    pickler.dump(obj)
    return file.getvalue(), pickler.storages


def torch_zip(
    obj: object,
    root: str = "archive",
    packing: int = zipfile.ZIP_STORED,
    byteorder: str | None = None,
    **records: bytes,
) -> bytes:
    """What `torch.save` writes since 1.6. `records` are put beside the usual ones, or in their place."""
    data, storages = pickled(obj)
    contents = {"data.pkl": data} | {f"data/{key}": storage.data for key, storage in storages.items()}
    if byteorder is not None:
        contents["byteorder"] = byteorder.encode()
    contents["version"] = b"3\n"
    return zipped({f"{root}/{name}": value for name, value in (contents | records).items()}, packing)


def zipped(contents: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive:
        for name, value in contents.items():
            archive.writestr(zipfile.ZipInfo(name), value, packing)
    return file.getvalue()


def legacy_stream(obj: object) -> bytes:
    """What `torch.save` wrote before 1.6."""
    data, storages = pickled(obj, legacy=True)
    info = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    stream = b"".join(pickle.dumps(part, 2) for part in (MAGIC_NUMBER, 1001, info)) + data
    stream += pickle.dumps(sorted(storages), 2)
    for key in sorted(storages):
        stream += struct.pack("<q", len(storages[key].data) // SIZES[storages[key].kind]) + storages[key].data
    return stream


def torchscript(attributes: dict) -> bytes:
    """What `torch.jit.save` writes for nested modules, each given as a dictionary of its attributes."""

    def module(values: dict, name: str) -> Call:
        nested = {key: module(item, key) if isinstance(item, dict) else item for key, item in values.items()}
        return Call(Name(f"__torch__.{name}", "Module"), state=nested)

    return torch_zip(module(attributes, "model"), root="clip", **{"constants.pkl": pickle.dumps((), 2)})


def safetensors(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def mindspore_value(tag: bytes, dims: list[int], dtype: bytes, content: bytes) -> bytes:
    """One Value of MindSpore's Checkpoint message."""

    def sized(number: int, payload: bytes) -> bytes:
        return bytes([number << 3 | 2]) + varint(len(payload)) + payload

    body = b"".join(b"\x08" + varint(size) for size in dims) + sized(2, dtype) + sized(3, content)
    return sized(1, sized(1, tag) + sized(2, body))


def varint(number: int) -> bytes:
    encoded = b""
    while number > 127:
        encoded, number = encoded + bytes([number & 127 | 128]), number >> 7
    return encoded + bytes([number])

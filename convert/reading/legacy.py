"""Pickle files: what `torch.save` wrote before PyTorch 1.6, the tar of PyTorch 0.1, and NumPy arrays in a plain pickle.

The stream is five pickles (magic number, protocol version, system, object, storage keys) and then, for each key, the
count of elements in 8 bytes and the elements. Storages are little-endian whatever machine wrote them: see
`THPStorage_writeFileRaw` in torch/csrc/serialization.cpp. Source of the rest: `_legacy_load` in torch/serialization.py.
"""

from __future__ import annotations

import struct

import numpy as np

from convert.reading.entry import shown
from convert.reading.pickle_machine import PickleMachine
from convert.reading.source import Source
from convert.reading.tensor import ITEM_SIZES, Storage, mapped_storage, tensor_view
from convert.reading.torch_objects import BlobReader, StorageClass, TorchObjects, TypedStorage, typed_storages

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001
TAR_BLOCK = 512
MAX_TAR_MEMBERS = 64

_I32, _I64 = struct.Struct("<i"), struct.Struct("<q")


def read_pickle_file(source: Source) -> tuple[object, str]:
    """What a file holds that begins with a pickle, and the container's name for people."""
    loaded, is_stream = _run_stream(source, source.view, "its pickle", read_blob)
    return loaded, "legacy" if is_stream else "pickle"


def read_blob(source: Source, blob: memoryview, record: str) -> TypedStorage:
    """The storage that `torch.storage._load_from_bytes` is given as a whole legacy file in a byte string."""
    loaded, _ = _run_stream(source, blob, record, None)
    if not isinstance(loaded, TypedStorage):
        raise source.error(record, "has a byte string in which a storage was expected.")
    return loaded


def _run_stream(source: Source, data: memoryview, record: str, blob_reader: BlobReader | None) -> tuple[object, bool]:
    """The object of a legacy stream, or of the first pickle if it is none; and which of the two it was."""
    located: dict[str, memoryview] = {}
    made: dict[str, tuple[str, Storage]] = {}
    objects = TorchObjects(source, record, blob_reader)

    def make(key: str, dtype: str, nbytes: int) -> Storage:
        storage = Storage(source, f"storage {shown(key)}", nbytes, lambda: np.frombuffer(located[key], np.uint8))
        made[key] = (dtype, storage)
        return storage

    machine = PickleMachine(data, objects.find, typed_storages(objects.error, make), objects.error)
    loaded = machine.load()
    if loaded != MAGIC_NUMBER or not isinstance(loaded, int):
        if made:
            raise objects.error("refers to storages that lie outside it, which a plain pickle does not have.")
        return loaded, False
    version, _, loaded, keys = (machine.load() for _ in range(4))
    if version != PROTOCOL_VERSION:
        raise source.error("", f"is of the legacy protocol {shown(version)}, only {PROTOCOL_VERSION} is known.")
    if not isinstance(keys, list):
        raise objects.error("has no list of storage keys.")
    for key in map(_key, keys):
        if key not in made or key in located:
            raise objects.error(f"lists storage {shown(key)}, which it does not use or listed before.")
        dtype, storage = made[key]
        located[key] = _counted(source, machine, dtype, storage.record)
        if len(located[key]) != storage.nbytes:
            raise source.error(storage.record, f"has {len(located[key])} bytes in place of {storage.nbytes}: damaged.")
    missing = next((key for key in made if key not in located), None)
    if missing is not None:
        raise source.error(f"storage {shown(missing)}", "is missing: the file is damaged.")
    return loaded, True


def _counted(source: Source, machine: PickleMachine, dtype: str, record: str) -> memoryview:
    """The elements at the machine's position, behind their count in 8 bytes."""
    head = machine.data[machine.position : machine.position + _I64.size]
    count = _I64.unpack(head)[0] if len(head) == _I64.size else -1
    start, nbytes = machine.position + _I64.size, count * ITEM_SIZES[dtype]
    if count < 0 or start + nbytes > len(machine.data):
        raise source.error(record, f"is cut off: the bytes end at {len(machine.data)}.")
    machine.position = start + nbytes
    return machine.data[start : start + nbytes]


def _key(value: object) -> str:
    return str(value) if isinstance(value, str | int) else ""


def read_tar(source: Source) -> tuple[object, str]:
    """The model's tensors of a file of PyTorch 0.1: a tar of `storages`, `tensors` and `pickle`."""
    members = _tar_members(source)
    for name in ("storages", "tensors", "pickle"):
        if name not in members:
            raise source.error("", f"is a tar archive without the member {name!r}: no checkpoint of PyTorch's.")
    made: dict[str, object] = {}

    def load_persistent(identifier: object) -> object:
        if isinstance(identifier, tuple) and identifier:
            return identifier[0]  # the class of a module, with its source code
        if _key(identifier) not in made:
            raise source.error("member 'pickle'", f"refers to the missing object {shown(identifier)}.")
        return made[_key(identifier)]

    def machine(name: str) -> PickleMachine:
        objects = TorchObjects(source, f"member {name!r}", read_blob)
        return PickleMachine(members[name], objects.find, load_persistent, objects.error)

    _read_tar_storages(source, machine("storages"), made)
    _read_tar_tensors(source, machine("tensors"), made)
    return machine("pickle").load(), "tar"


def _read_tar_storages(source: Source, machine: PickleMachine, made: dict[str, object]) -> None:
    for _ in range(_count(machine)):
        match machine.load():
            case (key, _, StorageClass(dtype=dtype)):
                record = f"storage {shown(key)}"
                view = _counted(source, machine, dtype, record)
                made[_key(key)] = TypedStorage(mapped_storage(source, record, view), dtype)
            case _:
                raise machine.error("has a storage whose description is not understood.")
    views = machine.load()
    for view in views if isinstance(views, list) else []:
        match view:
            case (key, root, int() as offset, int() as count) if isinstance(
                whole := made.get(_key(root)), TypedStorage
            ):
                start, stop = (n * ITEM_SIZES[whole.dtype] for n in (offset, offset + count))
                if not 0 <= start <= stop <= whole.storage.nbytes:
                    raise source.error(whole.storage.record, "has a view that reaches beyond it.")
                made[_key(key)] = TypedStorage(whole.storage.part(start, stop), whole.dtype)
            case _:
                raise machine.error("has a view of a storage that is not understood.")


def _read_tar_tensors(source: Source, machine: PickleMachine, made: dict[str, object]) -> None:
    for _ in range(_count(machine)):
        match machine.load():
            case (key, storage_key, _) if isinstance(typed := made.get(_key(storage_key)), TypedStorage):
                (dimensions,) = _I32.unpack(machine.take(_I32.size))
                machine.take(4)  # the count once took 8 bytes
                if not 0 <= dimensions <= 64:
                    raise machine.error(f"has a tensor of {dimensions} dimensions.")
                numbers = struct.Struct(f"<{2 * dimensions + 1}q")
                *sizes, offset = numbers.unpack(machine.take(numbers.size))
                shape, strides = tuple(sizes[:dimensions]), tuple(sizes[dimensions:])
                made[_key(key)] = tensor_view(typed.storage, typed.dtype, shape, strides, offset)
            case _:
                raise machine.error("has a tensor whose description is not understood.")


def _count(machine: PickleMachine) -> int:
    count = machine.load()
    if not isinstance(count, int) or not 0 <= count <= len(machine.data):
        raise machine.error("does not begin with a count.")
    return count


def _tar_members(source: Source) -> dict[str, memoryview]:
    """The files of an uncompressed tar (POSIX ustar: name at 0, octal size at 124, type at 156), by name."""
    members: dict[str, memoryview] = {}
    at = 0
    while at + TAR_BLOCK <= len(source.view) and len(members) < MAX_TAR_MEMBERS:
        header = bytes(source.view[at : at + TAR_BLOCK])
        name = header[:100].rstrip(b"\0").decode("utf-8", "replace").removeprefix("./")
        if not name:
            break
        digits = header[124:136].strip(b" \0")
        if not digits.isdigit() or set(digits) & set(b"89"):
            raise source.error(f"member {shown(name)}", "has no size that could be read: the tar is damaged.")
        size = int(digits, 8)
        if header[156:157] in (b"0", b"\0"):
            members[name] = source.window(at + TAR_BLOCK, size, f"member {shown(name)}")
        at += TAR_BLOCK + -(-size // TAR_BLOCK) * TAR_BLOCK
    return members

"""Writes checkpoints: MindSpore's `.ckpt`, `.safetensors`, and PyTorch's zip `.pth`; one tensor in memory at a time.

A file appears under its name only when it is whole: it is written beside it, and renamed at the end.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

import numpy as np

from convert.atomic import whole_file
from convert.reading.entry import Entry, shown
from convert.reading.mindspore import DTYPES as MINDSPORE_DTYPES
from convert.reading.safetensors import DTYPES as SAFETENSORS_DTYPES
from convert.reading.tensor import ITEM_SIZES, NUMPY_CODES
from convert.reading.torch_objects import STORAGE_CLASSES

CONTAINERS = {
    ".ckpt": "mindspore",
    ".safetensors": "safetensors",
    ".pth": "torch",
    ".pt": "torch",
    ".bin": "torch",
}
MINDSPORE_SLICE = 512 << 20  # bytes: SLICE_SIZE of mindspore/train/serialization.py, beyond which a parameter is split
TORCH_ALIGNMENT = 64  # bytes, as torch.save aligns records
ZIP_HEADER = 30  # bytes of a zip record before its name
WRITE_PIECE = 16 << 20  # bytes

Progress = Callable[[int], None]


def write_checkpoint(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Entry],
    *,
    container: str | None = None,
    metadata: Mapping[str, str] = MappingProxyType({}),
    progress: Progress | None = None,
) -> None:
    """Write tensors to a file, bit for bit and in their own element types; in their order, but that `.safetensors`
    puts wide element types first.

    Args:
        path: the file to write; an existing one is replaced at the very end.
        tensors: what to write; each entry is read once, when its turn comes.
        container: "mindspore", "safetensors" or "torch"; by default what the file's ending says.
        metadata: free text to store beside the tensors, where the container can: PyTorch's can't.
        progress: called with the number of bytes of tensors that were just written.

    Raises:
        ValueError: an ending or container that is not known, a folder that is not there, an element type the
            container lacks, metadata for PyTorch's container, or a `CheckpointError` of the source.
    """
    path = Path(path)
    kind = container or CONTAINERS.get(path.suffix.lower())
    if kind not in WRITERS:
        raise ValueError(
            f"{path} can't be written: its ending {path.suffix!r} is none of {', '.join(CONTAINERS)}."
            if container is None
            else f"container {container!r} is none of {', '.join(WRITERS)}."
        )
    if not path.parent.is_dir():
        raise ValueError(f"{path} can't be written: the folder {path.parent} does not exist.")
    if path.is_dir():
        raise ValueError(f"{path} can't be written: it is a folder.")
    if not tensors:
        raise ValueError(f"{path} can't be written: there are no tensors to write.")
    try:
        with whole_file(path) as draft, draft.open("wb") as file:
            WRITERS[kind](file, tensors, metadata, progress or (lambda nbytes: None))
    except OSError as error:
        raise ValueError(f"{path} can't be written: {error.strerror or error}.") from error


def _size(entry: Entry) -> int:
    return prod(entry.shape) * ITEM_SIZES[entry.dtype]


def _pieces(name: str, entry: Entry) -> Iterator[memoryview]:
    """The bytes of a tensor, little-endian and in C order, in pieces; strided arrays are straightened in pieces."""
    array = entry.numpy()
    stored = np.dtype("f4" if entry.dtype == "bfloat16" else NUMPY_CODES[entry.dtype])
    if array.dtype.newbyteorder("=") != stored or array.shape != tuple(entry.shape):
        raise ValueError(
            f"tensor {shown(name)} says {entry.dtype} {tuple(entry.shape)}, its array is {array.dtype} {array.shape}."
        )
    for piece in _straightened(array):
        if entry.dtype == "bfloat16":
            piece = _as_bfloat16(piece)
        elif sys.byteorder == "big" or not piece.dtype.isnative:
            piece = piece.astype(piece.dtype.newbyteorder("<"))
        yield piece.view(np.uint8).data


def _straightened(array: np.ndarray) -> Iterator[np.ndarray]:
    """Flat, contiguous pieces of at most WRITE_PIECE bytes, or one innermost row where that is longer."""
    if array.size == 0:
        return
    if array.flags.c_contiguous:
        flat, step = array.reshape(-1), max(WRITE_PIECE // array.itemsize, 1)
        for start in range(0, flat.size, step):
            yield flat[start : start + step]
    elif array.nbytes <= WRITE_PIECE or array.ndim == 1:
        yield np.ascontiguousarray(array).reshape(-1)
    else:
        for part in array:
            yield from _straightened(part)


def _as_bfloat16(values: np.ndarray) -> np.ndarray:
    """The upper halves of float32 numbers, rounded to nearest even; what was bfloat16 before stays as it is."""
    bits = values.view(np.uint32)
    if (bits & 0xFFFF).any():
        rounded = bits + 0x7FFF + ((bits >> 16) & 1)
        bits = np.where(np.isnan(values), bits | 0x400000, rounded)  # a NaN stays one when its lower half is cut
    return (bits >> 16).astype("<u2")


def _checked(tensors: Mapping[str, Entry], dtypes: Mapping[str, str], container: str) -> None:
    """Refuse before the first byte what the container can't hold."""
    for name, entry in tensors.items():
        if entry.dtype not in dtypes or entry.dtype not in NUMPY_CODES:
            raise ValueError(f"tensor {shown(name)} has the element type {entry.dtype}, which {container} can't hold.")


# MindSpore: see convert/reading/mindspore.py for the message


def _write_mindspore(
    file: BinaryIO, tensors: Mapping[str, Entry], metadata: Mapping[str, str], progress: Progress
) -> None:
    names = {ours: theirs for theirs, ours in MINDSPORE_DTYPES.items() if not ours.startswith("complex")}
    _checked(tensors, names, "a MindSpore checkpoint")
    empty = next((name for name, entry in tensors.items() if entry.shape == (0,)), None)
    if empty is not None:
        raise ValueError(f"tensor {shown(empty)} has the shape (0,), which MindSpore would load as a scalar.")
    both = next((name for name in metadata if name in tensors), None)
    if both is not None:
        raise ValueError(f"metadata {shown(both)} has the name of a tensor.")
    for name, entry in tensors.items():
        left = _size(entry)
        room = min(left, MINDSPORE_SLICE)  # bytes that may follow the head written last
        file.write(_value_head(name, entry.shape, names[entry.dtype], room))
        for piece in _pieces(name, entry):
            while len(piece):
                if not room:
                    room = min(left, MINDSPORE_SLICE)
                    file.write(_value_head(name, entry.shape, names[entry.dtype], room))
                part = piece[:room]
                file.write(part)
                progress(len(part))
                piece, room, left = piece[len(part) :], room - len(part), left - len(part)
    for name, text in metadata.items():
        content = (text or "\0").encode("utf-32-le")
        file.write(_value_head(name, (0,), "str", len(content)) + content)


def _value_head(name: str, shape: tuple[int, ...], dtype: str, nbytes: int) -> bytes:
    """A message Checkpoint with one Value, up to the `nbytes` of content that follow."""
    tensor = b"".join(b"\x08" + _varint(size) for size in shape) + b"\x12" + _sized(dtype.encode())
    tensor += b"\x1a" + _varint(nbytes)
    tag = b"\x0a" + _sized(name.encode())
    value = tag + b"\x12" + _varint(len(tensor) + nbytes) + tensor
    return b"\x0a" + _varint(len(value) + nbytes) + value


def _sized(content: bytes) -> bytes:
    return _varint(len(content)) + content


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


# safetensors


def _write_safetensors(
    file: BinaryIO, tensors: Mapping[str, Entry], metadata: Mapping[str, str], progress: Progress
) -> None:
    codes = {name: code for code, name in SAFETENSORS_DTYPES.items()}
    _checked(tensors, codes, "a safetensors file")
    # By falling item size all are aligned; MindSpore's reader wants the header in the order of the bytes.
    layout = sorted(tensors.items(), key=lambda item: -ITEM_SIZES[item[1].dtype])
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    reached = 0
    for name, entry in layout:
        span = [reached, reached + _size(entry)]
        header[name] = {"dtype": codes[entry.dtype], "shape": list(entry.shape), "data_offsets": span}
        reached = span[1]
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for name, entry in layout:
        for piece in _pieces(name, entry):
            file.write(piece)
            progress(len(piece))


# PyTorch


def _write_torch(file: BinaryIO, tensors: Mapping[str, Entry], metadata: Mapping[str, str], progress: Progress) -> None:
    _checked(tensors, NUMPY_CODES, "a PyTorch file")
    if metadata:
        raise ValueError("metadata can't be stored in a PyTorch file.")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _write_record(archive, "data.pkl", [_state_dict_pickle(tensors)])
        _write_record(archive, "byteorder", [b"little"])
        for index, (name, entry) in enumerate(tensors.items()):
            _write_record(archive, f"data/{index}", _counted(_pieces(name, entry), progress), _size(entry))
        _write_record(archive, "version", [b"3\n"])


def _counted(pieces: Iterator[memoryview], progress: Progress) -> Iterator[memoryview]:
    for piece in pieces:
        yield piece
        progress(len(piece))


def _write_record(archive: zipfile.ZipFile, name: str, pieces: Iterator | list, size: int = 0) -> None:
    """A stored record whose bytes begin at a multiple of TORCH_ALIGNMENT, so that PyTorch can map them."""
    record = zipfile.ZipInfo(f"archive/{name}")
    large = size >= zipfile.ZIP64_LIMIT // 2
    head = ZIP_HEADER + len(record.filename) + (20 if large else 0)
    assert archive.fp is not None  # it is open
    padding = -(archive.fp.tell() + head + 4) % TORCH_ALIGNMENT
    record.extra = struct.pack("<2H", 0x4246, padding) + b"Z" * padding  # the field that torch.save pads with, too
    with archive.open(record, "w", force_zip64=large) as target:
        for piece in pieces:
            target.write(piece)


def _state_dict_pickle(tensors: Mapping[str, Entry]) -> bytes:
    """What `torch.save` pickles for an OrderedDict of contiguous tensors, in protocol 2."""
    classes = {dtype: name for name, dtype in reversed(STORAGE_CLASSES.items())}
    rows = bytearray()
    for index, (name, entry) in enumerate(tensors.items()):
        typed = entry.dtype in TYPED_STORAGES
        storage_class = classes[entry.dtype] if typed else "UntypedStorage"
        count = prod(entry.shape) if typed else _size(entry)
        strides = tuple(prod(max(size, 1) for size in entry.shape[axis + 1 :]) for axis in range(len(entry.shape)))
        storage = _text("storage") + _global("torch" if typed else "torch.storage", storage_class)
        storage += _text(str(index)) + _text("cpu") + _integer(count)
        rows += _text(name) + _global("torch._utils", "_rebuild_tensor_v2" if typed else "_rebuild_tensor_v3")
        rows += b"((" + storage + b"tQ" + _integer(0) + _integers(entry.shape) + _integers(strides) + b"\x89"
        rows += _global("collections", "OrderedDict") + b")R"
        rows += (b"" if typed else _global("torch", entry.dtype)) + b"tR"
    return b"\x80\x02" + _global("collections", "OrderedDict") + b")R(" + bytes(rows) + b"u."


# Those with a storage class of their own; the others are a view of bytes (see torch._utils._rebuild_tensor_v3).
TYPED_STORAGES = frozenset(STORAGE_CLASSES.values()) & frozenset(NUMPY_CODES)


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _text(text: str) -> bytes:
    content = text.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def _integer(number: int) -> bytes:
    return b"J" + struct.pack("<i", number) if number < 1 << 31 else b"\x8a\x09" + struct.pack("<Qb", number, 0)


def _integers(numbers: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(_integer, numbers)) + b"t"


WRITERS = {"mindspore": _write_mindspore, "safetensors": _write_safetensors, "torch": _write_torch}

"""MindSpore's `.ckpt`: protocol buffers of the message Checkpoint, walked in place.

Source: mindspore/train/checkpoint.proto and mindspore/train/serialization.py of MindSpore 2.8::

    Checkpoint  { repeated Value value = 1 }
    Value       { string tag = 1; TensorProto tensor = 2; MapTensorProto maptensor = 3 }
    TensorProto { repeated int64 dims = 1; string tensor_type = 2; bytes tensor_content = 3 }

A parameter of more than 512 MiB is several Values of one tag, one behind the other, each with all dims. Behind the
message may follow `crc_num` and ten bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from convert.reading.entry import Entry, shown
from convert.reading.source import Source
from convert.reading.tensor import ITEM_SIZES, Storage, UnreadableTensor, mapped_storage, tensor_view

DTYPES = {
    "Float16": "float16", "Float32": "float32", "Float64": "float64", "BFloat16": "bfloat16", "Bool": "bool",
    "Int8": "int8", "Int16": "int16", "Int32": "int32", "Int64": "int64",
    "UInt8": "uint8", "UInt16": "uint16", "UInt32": "uint32", "UInt64": "uint64",
    "Complex64": "complex64", "Complex128": "complex128",
}  # fmt: skip
CHECKSUM_MARK, CHECKSUM_BYTES = b"crc_num", 17
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_VALUES = 100_000
COPY_PIECE = 16 << 20  # bytes


def is_mindspore(head: bytes) -> bool:
    """Whether a file with these first bytes claims to be one: a Value (0A, length) that begins with its tag (0A)."""
    length_ends = next((at for at in range(1, min(len(head) - 1, 11)) if head[at] < 0x80), None)
    return head[:1] == b"\x0a" and length_ends is not None and head[length_ends + 1] == 0x0A


def read_mindspore(source: Source) -> tuple[dict[str, Entry], dict[str, str]]:
    """The parameters by name, in file order, and the texts that stand among them."""
    view = source.view
    if bytes(view[-CHECKSUM_BYTES:][: len(CHECKSUM_MARK)]) == CHECKSUM_MARK:
        view = view[:-CHECKSUM_BYTES]
    runs: list[tuple[str, str, tuple[int, ...], list[memoryview]]] = []
    for number, value in _fields(source, view):
        if number != 1 or not isinstance(value, memoryview):
            raise source.error("", "has a field that no checkpoint of MindSpore's has.")
        tag, dtype, dims, content = _read_value(source, value)
        if runs and runs[-1][:3] == (tag, dtype, dims):
            runs[-1][3].append(content)
        else:
            runs.append((tag, dtype, dims, [content]))
        if len(runs) > MAX_VALUES:
            raise source.error("", f"has more than {MAX_VALUES} parameters: refused.")
    entries: dict[str, Entry] = {}
    texts: dict[str, str] = {}
    for tag, dtype, dims, contents in runs:
        if tag in entries or tag in texts:
            raise source.error(_spoken(tag), "is twice in the file.")
        if dtype == "str":
            texts[tag] = b"".join(contents).decode("utf-32-le", "replace").rstrip("\0")
        else:
            entries[tag] = _entry(source, tag, dtype, dims, contents)
    return entries, texts


def _entry(source: Source, tag: str, dtype: str, dims: tuple[int, ...], contents: list[memoryview]) -> Entry:
    if dtype not in DTYPES:
        return UnreadableTensor(source, _spoken(tag), dtype or "map", dims)
    nbytes = sum(len(content) for content in contents)
    name = DTYPES[dtype]
    if dims == (0,) and nbytes == ITEM_SIZES[name]:
        dims = ()  # as MindSpore reads it: old versions write a scalar so
    if len(contents) == 1:
        storage = mapped_storage(source, _spoken(tag), contents[0])
    else:
        storage = Storage(source, _spoken(tag), nbytes, lambda: _joined(source, contents))
    tensor = tensor_view(storage, name, dims)
    if prod(dims) * ITEM_SIZES[name] != nbytes:
        raise source.error(_spoken(tag), f"has {nbytes} bytes, its shape takes {prod(dims) * ITEM_SIZES[name]}.")
    return tensor


def _joined(source: Source, contents: list[memoryview]) -> np.ndarray:
    """One array of the slices of a large parameter, copied piece by piece so that mapped pages can be given back."""
    joined = np.empty(sum(len(content) for content in contents), np.uint8)
    at = 0
    for content in contents:
        for start in range(0, len(content), COPY_PIECE):
            piece = np.frombuffer(content[start : start + COPY_PIECE], np.uint8)
            source.file.use(len(piece))
            joined[at : at + len(piece)] = piece
            at += len(piece)
    joined.flags.writeable = False
    return joined


def _read_value(source: Source, value: memoryview) -> tuple[str, str, tuple[int, ...], memoryview]:
    """(tag, element type, dims, content) of one Value; no element type for a map tensor."""
    fields = {number: field for number, field in _fields(source, value) if isinstance(field, memoryview)}
    if 1 not in fields:
        raise source.error("", "has a parameter without a name.")
    tag = _text(source, fields[1])
    if 2 not in fields:
        return tag, "", (), memoryview(b"")
    dims: list[int] = []
    dtype, content = "", memoryview(b"")
    for number, field in _fields(source, fields[2]):
        if number == 1:
            dims += _numbers(source, field) if isinstance(field, memoryview) else [field]
            if len(dims) > 64:
                raise source.error(_spoken(tag), "has more than 64 dimensions.")
        elif number == 2 and isinstance(field, memoryview):
            dtype = _text(source, field)
        elif number == 3 and isinstance(field, memoryview):
            content = field
    return tag, dtype, tuple(dims), content


def _fields(source: Source, view: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message: (number, value), where the value of a length-delimited field is a view of its bytes."""
    at = 0
    while at < len(view):
        key, at = _varint(source, view, at)
        kind = key & 7
        if kind == VARINT:
            value, at = _varint(source, view, at)
            yield key >> 3, value
            continue
        if kind not in (FIXED64, BYTES, FIXED32):
            raise source.error("", "is damaged: a field has a wire type that protocol buffers do not use here.")
        length, at = _varint(source, view, at) if kind == BYTES else (8 if kind == FIXED64 else 4, at)
        if at + length > len(view):
            raise source.error("", f"is cut off: a field of {length} bytes goes on behind the end.")
        yield key >> 3, view[at : at + length]
        at += length


def _numbers(source: Source, view: memoryview) -> list[int]:
    """Packed varints."""
    numbers: list[int] = []
    at = 0
    while at < len(view) and len(numbers) <= 64:
        number, at = _varint(source, view, at)
        numbers.append(number)
    return numbers


def _varint(source: Source, view: memoryview, at: int) -> tuple[int, int]:
    number = 0
    for index, byte in enumerate(view[at : at + 10]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number, at + index + 1
    raise source.error("", "is cut off or damaged: a number in it does not end.")


def _text(source: Source, view: memoryview) -> str:
    try:
        return str(view, "utf-8") if len(view) <= 4096 else "?" * 4097
    except UnicodeDecodeError:
        raise source.error("", "has a name that is not UTF-8.") from None


def _spoken(tag: str) -> str:
    return f"parameter {shown(tag)}"

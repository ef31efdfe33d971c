"""The `.safetensors` container: 8 bytes with the header's length, a JSON header, and the tensors' bytes back to back.

Source: https://github.com/huggingface/safetensors, whose checks on offsets are kept: no gaps, no overlap, no rest.
"""

from __future__ import annotations

import json
import struct

from convert.reading.entry import CheckpointError, Entry, shown
from convert.reading.source import Source
from convert.reading.tensor import ITEM_SIZES, mapped_storage, tensor_view

DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "C64": "complex64",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip
MAX_HEADER = 16 << 20  # bytes; 100000 tensors take about 12 million
LENGTH = struct.Struct("<Q")


def is_safetensors(head: bytes) -> bool:
    """Whether a file with these first bytes claims to be one: the header begins with a brace."""
    return len(head) > LENGTH.size and head[LENGTH.size : LENGTH.size + 1] == b"{" and head[5:8] == b"\0\0\0"


def read_safetensors(source: Source) -> tuple[dict[str, Entry], dict[str, str]]:
    """The tensors by name, in the header's order, and the header's `__metadata__`."""
    (length,) = LENGTH.unpack(source.window(0, LENGTH.size, "the header"))
    if length > MAX_HEADER:
        raise source.error("the header", f"has {length} bytes, more than {MAX_HEADER}: refused.")
    header = _parse(source, bytes(source.window(LENGTH.size, length, "the header")))
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise source.error("the header's '__metadata__'", "is no table of texts.")
    data = source.view[LENGTH.size + length :]
    entries: dict[str, Entry] = {}
    spans = []
    for name, row in header.items():
        dtype, shape, begin, end = _row(source, name, row)
        if not 0 <= begin <= end <= len(data):
            raise source.error(_spoken(name), f"claims the bytes {begin} to {end} of {len(data)}: the file is cut off.")
        storage = mapped_storage(source, _spoken(name), data[begin:end])
        entries[name] = tensor = tensor_view(storage, dtype, shape)
        needed = ITEM_SIZES[dtype]
        for size in tensor.shape:
            needed *= size
        if needed != end - begin:
            raise source.error(_spoken(name), f"has {end - begin} bytes, its shape takes {needed}.")
        spans.append((begin, end, name))
    reached = 0
    for begin, end, name in sorted(spans):
        if begin != reached:
            raise source.error(_spoken(name), "overlaps another tensor, or leaves a gap before it.")
        reached = end
    if reached != len(data):
        raise source.error("", f"has {len(data) - reached} bytes behind its last tensor.")
    return entries, metadata


def _parse(source: Source, text: bytes) -> dict[str, object]:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise source.error("the header", "has the same name twice.")
        return found

    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except CheckpointError:
        raise
    except (ValueError, RecursionError):  # among them a number of more than 4300 digits
        raise source.error("the header", "is no JSON in UTF-8.") from None
    if not isinstance(header, dict):
        raise source.error("the header", "is no JSON object.")
    return header


def _row(source: Source, name: str, row: object) -> tuple[str, tuple[int, ...], int, int]:
    """(element type, shape, begin, end) of one tensor."""
    match row:
        case {"dtype": str() as code, "shape": list() as shape, "data_offsets": [begin, end]} if all(
            type(number) is int for number in (*shape, begin, end)
        ):
            if code not in DTYPES:
                raise source.error(_spoken(name), f"has the element type {shown(code)}, which can't be read.")
            return DTYPES[code], tuple(shape), begin, end
    raise source.error(_spoken(name), "is not described by dtype, shape and data_offsets.")


def _spoken(name: str) -> str:
    return f"tensor {shown(name)}"

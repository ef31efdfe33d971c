"""The `.npz` container: a zip archive of `.npy` files. Source: numpy/lib/format.py, versions 1.0 to 3.0."""

from __future__ import annotations

import re
import struct

from convert.reading.entry import Entry
from convert.reading.numpy_objects import array_view, parse_dtype
from convert.reading.tensor import StoredTensor, UnreadableTensor
from convert.reading.zip_archive import ZipArchive

MAGIC = b"\x93NUMPY"
MAX_HEADER = 1 << 14  # bytes, the preamble included
# NumPy reads the header with `ast.literal_eval`; it always writes these three in this form, so a pattern is enough.
HEADER = re.compile(
    r"\{\s*'descr':\s*(?P<descr>'[^']{1,64}'|\[.*\])\s*,\s*'fortran_order':\s*(?P<fortran>True|False)\s*,"
    r"\s*'shape':\s*\((?P<shape>[0-9L,\s]{0,1000})\)\s*,?\s*\}\s*",
    re.DOTALL,
)


def is_npz(archive: ZipArchive) -> bool:
    """Whether all records are arrays by name, and the first by content."""
    names = list(archive.records)
    return bool(names) and all(name.endswith(".npy") for name in names) and archive.head(names[0], 6) == MAGIC


def read_npz(archive: ZipArchive) -> dict[str, Entry]:
    """The arrays by name. Only headers are read; arrays of objects are listed, and refused when they are read."""
    return {name.removesuffix(".npy"): _read_npy(archive, name) for name in archive.records}


def _read_npy(archive: ZipArchive, name: str) -> StoredTensor | UnreadableTensor:
    storage, head = archive.storage(name), archive.head(name, MAX_HEADER)
    problem = archive.source.error
    form = struct.Struct("<H" if head[6:7] == b"\1" else "<I")
    start = len(MAGIC) + 2 + form.size
    if head[:6] != MAGIC or head[6:7] not in (b"\1", b"\2", b"\3") or len(head) < start:
        raise problem(storage.record, "is no array in NumPy's format 1 to 3.")
    stop = start + form.unpack(head[start - form.size : start])[0]
    if stop > len(head) or stop > storage.nbytes:
        raise problem(storage.record, f"has a header that reaches to byte {stop}: damaged or cut off.")
    found = HEADER.fullmatch(head[start:stop].decode("latin-1"))
    sizes = [size.strip().rstrip("L") for size in found["shape"].split(",") if size.strip()] if found else []
    if not found or not all(size.isdigit() and len(size) < 20 for size in sizes):
        raise problem(storage.record, "has a header that is not understood.")
    data = storage.part(stop, storage.nbytes)
    return array_view(
        data, parse_dtype(found["descr"].strip("'")), tuple(int(size) for size in sizes), found["fortran"] == "True"
    )

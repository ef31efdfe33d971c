"""A zip archive looked at in place: the directory, records that lie uncompressed, and records to inflate.

Python's `zipfile` copies every record and raises a dozen kinds of exceptions; here each field is checked before it is
used. Source: PKWARE's APPNOTE, sections 4.3 and 4.4; zip64 included, encryption and other compressions refused.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from convert.reading.entry import shown
from convert.reading.source import Source
from convert.reading.tensor import Storage, mapped_storage

STORED, DEFLATED = 0, 8
MAX_RECORDS = 100_000
FREE_INFLATION = 256 << 20  # bytes that a record may inflate to whatever its compressed size
MAX_RATIO = 100  # above that size; weights shrink to a half at best, only a bomb reaches deflate's limit of 1032
PIECE = 1 << 20

_END = struct.Struct("<4s4H2IH")
_END64_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_DIRECTORY_ENTRY = struct.Struct("<4s6H3I5H2I")
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")


@dataclass(frozen=True, slots=True)
class Record:
    """One file in the archive, as the central directory tells it."""

    name: str
    method: int
    checksum: int
    packed: int  # bytes in the archive
    size: int  # bytes when inflated
    header: int  # where its local header is


class ZipArchive:
    """The records of an archive, by name and in the order of its directory.

    Raises:
        CheckpointError: cut off, damaged, encrypted, of several disks, or with one name twice.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.records: dict[str, Record] = {}
        self._read_directory(*self._find_directory())

    def _find_directory(self) -> tuple[int, int, int]:
        """(offset, bytes, records) of the central directory."""
        view, problem = self.source.view, self.source.error
        tail = bytes(view[-(_END.size + 0xFFFF) :])
        at = tail.rfind(b"PK\x05\x06")
        if at < 0 or at + _END.size > len(tail):
            raise problem("", "is a zip archive without its directory: the file is cut off.")
        _, disk, first_disk, here, count, size, offset, _ = _END.unpack_from(tail, at)
        end = len(view) - len(tail) + at
        locator_at = end - _END64_LOCATOR.size
        if locator_at >= 0 and bytes(view[locator_at : locator_at + 4]) == b"PK\x06\x07":
            _, _, end, disks = _END64_LOCATOR.unpack_from(view, locator_at)
            fields = _END64.unpack(self.source.window(end, _END64.size, "the zip64 directory"))
            if fields[0] != b"PK\x06\x06" or disks > 1:
                raise problem("", "is a zip archive with a damaged zip64 directory.")
            disk, first_disk, here, count, size, offset = fields[4:]
        if disk or first_disk or here != count:
            raise problem("", "is one of several parts of a zip archive.")
        if offset + size > end or count * _DIRECTORY_ENTRY.size > size or count > MAX_RECORDS:
            raise problem("", f"is a zip archive whose directory of {count} records does not fit into it.")
        return offset, size, count

    def _read_directory(self, offset: int, size: int, count: int) -> None:
        directory = self.source.window(offset, size, "the zip directory")
        at = 0
        for _ in range(count):
            if at + _DIRECTORY_ENTRY.size > size:
                raise self.source.error("the zip directory", "is cut off.")
            fields = _DIRECTORY_ENTRY.unpack_from(directory, at)
            signature, flags, method, checksum, packed, unpacked = fields[0], *fields[3:5], *fields[7:10]
            name_length, extra_length, comment_length = fields[10:13]
            name_at = at + _DIRECTORY_ENTRY.size
            at = name_at + name_length + extra_length + comment_length
            if signature != b"PK\x01\x02" or at > size:
                raise self.source.error("the zip directory", "is damaged.")
            name = str(directory[name_at : name_at + name_length], "utf-8", "replace")
            extra = bytes(directory[name_at + name_length : name_at + name_length + extra_length])
            unpacked, packed, header = self._widened(name, extra, [unpacked, packed, fields[16]])
            if name in self.records:
                raise self.source.error(_spoken(name), "is twice in the archive: refused.")
            if flags & 1:
                raise self.source.error(_spoken(name), "is encrypted, which can't be read.")
            self.records[name] = Record(name, method, checksum, packed, unpacked, header)

    def _widened(self, name: str, extra: bytes, numbers: list[int]) -> list[int]:
        """Sizes and offset; each that is all ones stands in the zip64 field instead, in this order."""
        wide = [index for index, number in enumerate(numbers) if number == 0xFFFFFFFF]
        while wide and len(extra) >= 4:
            kind, length = struct.unpack_from("<2H", extra)
            if kind == 1 and length >= 8 * len(wide) and len(extra) >= 4 + length:
                for index, number in zip(wide, struct.unpack_from(f"<{len(wide)}Q", extra, 4), strict=True):
                    numbers[index] = number
                return numbers
            extra = extra[4 + length :]
        if wide:
            raise self.source.error(_spoken(name), "lacks its zip64 sizes: the archive is damaged.")
        return numbers

    def packed(self, name: str) -> memoryview:
        """The bytes of a record as they lie in the archive."""
        record, spoken = self.records[name], _spoken(name)
        header = _LOCAL_HEADER.unpack(self.source.window(record.header, _LOCAL_HEADER.size, spoken))
        start = record.header + _LOCAL_HEADER.size
        local_name = self.source.window(start, header[9], spoken)
        if header[0] != b"PK\x03\x04" or str(local_name, "utf-8", "replace") != name:
            raise self.source.error(spoken, "is not where the directory says: the archive is damaged.")
        if record.method == STORED and record.packed != record.size:
            raise self.source.error(spoken, f"is stored, yet of {record.packed} and of {record.size} bytes: damaged.")
        return self.source.window(start + header[9] + header[10], record.packed, spoken)

    def check(self, name: str) -> None:
        """Refuse a record that can't be read, before anything of it is."""
        record = self.records[name]
        if record.method not in (STORED, DEFLATED):
            raise self.source.error(_spoken(name), f"is packed by method {record.method}, which can't be read.")
        if record.method == DEFLATED and record.size > max(FREE_INFLATION, MAX_RATIO * record.packed):
            raise self.source.error(_spoken(name), f"would inflate {record.packed} bytes to {record.size}: refused.")

    def read(self, name: str) -> memoryview:
        """The contents of a record: a look into the file if it is stored, else inflated into memory."""
        self.check(name)
        if self.records[name].method == STORED:
            return self.packed(name)
        return self._inflated(name).data

    def storage(self, name: str) -> Storage:
        """The contents of a record, to be read when they are asked for."""
        self.check(name)
        if self.records[name].method == STORED:
            return mapped_storage(self.source, _spoken(name), self.packed(name))
        return Storage(self.source, _spoken(name), self.records[name].size, lambda: self._inflated(name))

    def _inflated(self, name: str) -> np.ndarray:
        array = np.empty(self.records[name].size, np.uint8)
        at = 0
        for piece in self._inflate(name):
            array[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
            at += len(piece)
        array.flags.writeable = False
        return array

    def inflate_into(self, name: str, file: BinaryIO) -> None:
        """Write the contents of a deflated record into a file, piece by piece."""
        self.check(name)
        for piece in self._inflate(name):
            file.write(piece)

    def head(self, name: str, nbytes: int) -> bytes:
        """The first bytes of a record, or none if it is damaged."""
        record = self.records[name]
        if record.method == STORED:
            return bytes(self.packed(name)[:nbytes])
        if record.method != DEFLATED:
            return b""
        try:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(self.packed(name)[: 4 * nbytes], nbytes)
        except zlib.error:
            return b""

    def _inflate(self, name: str) -> Iterator[bytes]:
        """The pieces of a deflated record, never more bytes than the directory says, and checked at the end."""
        record, packed = self.records[name], self.packed(name)
        engine, total, checksum, at = zlib.decompressobj(-zlib.MAX_WBITS), 0, 0, 0
        pending: bytes | memoryview = b""
        while not engine.eof and (pending or at < len(packed)):
            if not pending:
                pending = packed[at : at + PIECE]
                at += PIECE
            try:
                piece = engine.decompress(pending, PIECE)
            except zlib.error:
                raise self.source.error(_spoken(name), "can't be inflated: the archive is damaged.") from None
            pending = engine.unconsumed_tail
            total += len(piece)
            checksum = zlib.crc32(piece, checksum)
            if total > record.size:
                break
            yield piece
        if total != record.size:
            raise self.source.error(_spoken(name), f"does not inflate to the {record.size} bytes that are declared.")
        if not engine.eof or checksum != record.checksum:
            raise self.source.error(_spoken(name), "inflates to something else than was packed: damaged.")


def _spoken(name: str) -> str:
    return f"record {shown(name)}"

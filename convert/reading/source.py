"""The bytes of a checkpoint file, mapped into memory and looked at through bounded windows."""

from __future__ import annotations

import mmap
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from convert.reading.entry import CheckpointError, shown

RESIDENT_LIMIT = 64 << 20  # bytes handed out before the kernel is told that it may forget the mapped pages


class MappedFile:
    """One read-only memory map, and the account of how much of it was looked at."""

    def __init__(self, file: BinaryIO) -> None:
        self._map: mmap.mmap | None = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._used = 0
        self.last_shared: object = None  # the storage inflated last, if several tensors are views of it

    @property
    def closed(self) -> bool:
        return self._map is None

    def view(self) -> memoryview:
        if self._map is None:
            raise ValueError("the file was closed")
        return memoryview(self._map)

    def use(self, nbytes: int) -> None:
        """Note that `nbytes` are about to be read. Pages that were read count as this process's memory until
        they are given back; they can be at any moment, because the map is read-only and the file still has them."""
        self._used += nbytes
        if self._used > RESIDENT_LIMIT and self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
            self._used = nbytes

    def close(self) -> None:
        mapped, self._map, self.last_shared = self._map, None, None
        if mapped is None:
            return
        try:
            mapped.close()
        except BufferError:
            pass  # arrays that look into the map are still in use: it goes when the last of them does


@dataclass(frozen=True)
class Source:
    """A whole file, or the part of it that is a checkpoint, with the name it goes by in messages."""

    label: str
    view: memoryview
    file: MappedFile

    def error(self, record: str, problem: str) -> CheckpointError:
        """The sentence "file: record problem", to be raised; `record` is empty where the whole file is meant."""
        return CheckpointError(f"{self.label}: {record} {problem}" if record else f"{self.label} {problem}")

    def window(self, offset: int, nbytes: int, record: str) -> memoryview:
        """The bytes [offset, offset + nbytes), which must all be there."""
        if offset < 0 or nbytes < 0 or offset + nbytes > len(self.view):
            raise self.error(record, f"is cut off: it takes bytes {offset} to {offset + nbytes} of {len(self.view)}.")
        return self.view[offset : offset + nbytes]

    def part(self, view: memoryview, name: str) -> Source:
        """A checkpoint that lies inside this file."""
        return Source(self.label_of(name), view, self.file)

    def label_of(self, name: str) -> str:
        """How a file inside this one goes by in messages."""
        return f"{self.label} ({shown(name)})"


def open_source(path: str | os.PathLike[str]) -> Source:
    """Map a file. A missing, empty or unreadable one, and anything that is no regular file, is a CheckpointError."""
    path = Path(path)
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise CheckpointError(f"{path} is a folder, not a checkpoint file.")
        if not stat.S_ISREG(found.st_mode):
            raise CheckpointError(f"{path} is not a regular file.")
        if found.st_size == 0:
            raise CheckpointError(f"{path} is an empty file.")
        with path.open("rb") as file:
            return map_source(file, str(path))
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist.") from None
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error.strerror or error}.") from None
    except ValueError as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{str(path)!r} is no path of a file: {error}.") from None


def map_source(file: BinaryIO, label: str) -> Source:
    """Map an open file that has at least one byte; the caller may close `file` afterwards."""
    mapped = MappedFile(file)
    return Source(label, mapped.view(), mapped)

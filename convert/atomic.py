"""A file that appears under its name only when it is whole; and a folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# How names of files that are in no encoding are written as text; in JSON these are the escapes that read back as them.
ESCAPED = "backslashreplace"


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a draft beside `path`; at the end of the block it takes the path's name, after an error it is removed.

    Raises OSError when the folder cannot be written.
    """
    path = Path(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with naming(path):
            yield draft
            with draft.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def draft_folder(beside: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a new folder beside a path, for what is not whole yet; at the end of the block it is removed.

    What `take_over` moved out of it stays. Raises OSError when the folder cannot be written.
    """
    beside = Path(beside)
    draft = beside.with_name(f".{beside.name}.{os.getpid()}.part")
    try:
        draft.mkdir()
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def take_over(draft: Path, path: Path) -> None:
    """Give a file or folder of a `draft_folder` the name `path`, instead of what had it before."""
    if draft.is_dir() and path.is_dir():
        os.replace(path, draft.with_name(f"{path.name}.before"))  # removed together with the drafts
    elif draft.is_file():
        with draft.open("rb") as file:
            os.fsync(file.fileno())
    os.replace(draft, path)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an OSError of the block name the file that it writes, which that of a full disk does not."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error

"""Every container that a PyTorch checkpoint comes in, read without PyTorch and without running a pickle."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from convert.reading.entry import Checkpoint, CheckpointError, Contents, Entry, shown
from convert.reading.folder import INDEX, WEIGHTS, Weights, check_whole, find_weights
from convert.reading.legacy import read_pickle_file, read_tar
from convert.reading.mindspore import is_mindspore, read_mindspore
from convert.reading.npz import is_npz, read_npz
from convert.reading.safetensors import is_safetensors, read_safetensors
from convert.reading.source import Source, map_source, open_source
from convert.reading.torch_zip import read_torch_zip, torch_root
from convert.reading.wrappers import model_tensors
from convert.reading.zip_archive import STORED, ZipArchive

__all__ = ["Checkpoint", "CheckpointError", "Entry", "open_checkpoint"]

MAX_MEMBERS = 10_000  # files of an archive that are searched for a checkpoint
HEAD = 1024  # bytes that are looked at to tell the container
ZIP, TAR, NPY = b"PK\x03\x04", b"ustar", b"\x93NUMPY"
TAR_MARK = 257  # where a tar has it
TEXT_PICKLE = re.compile(rb"\([dl]p|[\]}]q|c[\w.]+\n\w+\n")  # protocols 0 and 1, which have no mark of their own
NO_CHECKPOINTS = {
    b"version https://git-lfs": "is a git-LFS pointer, not the file itself: fetch it with `git lfs pull`.",
    b"<": "is a web page, not a checkpoint: the download did not reach the file.",
    b"\x1f\x8b": "is compressed with gzip: unpack it first.",
    b"\x89HDF": "is an HDF5 file, which is no checkpoint of PyTorch's.",
    b"{": "is a JSON text: pass the checkpoint that it belongs to, or the folder of both.",
    NPY: "is a single NumPy array without a name: save the arrays as .npz.",
}

Closing = list[Callable[[], None]]  # what is to be called when the checkpoint is closed


def open_checkpoint(path: str | os.PathLike[str], weights: str = "") -> Checkpoint:
    """Open a checkpoint of any container, told apart by its content. Nothing but names, shapes and dtypes is read.

    Wrappers such as `state_dict` are opened, and what is not the model's is left out (see `convert.reading.wrappers`).
    A zip archive with exactly one checkpoint in it is opened too, and so is a folder with a model in it, or the index
    of its parts (see `convert.reading.folder`).

    weights: of a file with several sets of them, such as "ema" or "teacher", the one that is meant. The names of one
    set may have it as their prefix instead: see `convert.recognition`.

    Raises:
        CheckpointError: the file is missing, empty, cut off, hostile, or no checkpoint; one sentence says which.
    """
    path = Path(path)
    try:
        several = path.is_dir() or path.name.endswith(INDEX)
        stored = find_weights(path) if several else Weights((path,), {})
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error.strerror or error}.") from None
    if not stored.part_of:
        check_whole(stored.files[0])
    closing: Closing = []

    def close() -> None:
        while closing:
            closing.pop()()

    try:
        parts = [_open(file, closing, weights) for file in stored.files]
        contents = parts[0]
        if stored.part_of:
            joined = _joined(stored, [part.entries for part in parts])
            contents = replace(contents, entries=joined, container=f"{contents.container} in {len(parts)} parts")
        described = several or path.name in WEIGHTS
        folder = (path if path.is_dir() else path.parent) if described else None
        return Checkpoint(contents, close, folder, stored.files[0], stored.passed_over)
    except BaseException:
        close()
        raise


def _open(path: Path, closing: Closing, weights: str) -> Contents:
    source = open_source(path)
    closing.append(source.file.close)
    contents = _read(source, closing, weights, inside=False)
    if not contents.entries:
        raise source.error("", "is a checkpoint without any tensor.")
    return contents


def _joined(stored: Weights, parts: list[Mapping[str, Entry]]) -> dict[str, Entry]:
    """The tensors of all parts, each from the one that the index names for it."""
    entries: dict[str, Entry] = {}
    for file, part in zip(stored.files, parts, strict=True):
        entries |= {name: entry for name, entry in part.items() if stored.part_of.get(name, file) == file}
    for name, file in stored.part_of.items():
        if name not in entries:
            raise CheckpointError(f"{file} must hold the tensor {shown(name)}, as its index says: it does not.")
    return entries


def _read(source: Source, closing: Closing, weights: str, *, inside: bool) -> Contents:
    """Read a checkpoint; `closing` gets what must be closed with it, `inside` is set within an outer zip."""
    head = bytes(source.view[:HEAD])
    if head.startswith(ZIP):
        return _read_zip(source, closing, weights, inside=inside)
    if is_safetensors(head):
        entries, metadata = read_safetensors(source)
        return Contents(entries, "safetensors", metadata)
    if head[TAR_MARK : TAR_MARK + len(TAR)] == TAR:
        return model_tensors(*read_tar(source), source, weights)
    if is_mindspore(head):
        entries, metadata = read_mindspore(source)
        return Contents(entries, "mindspore", metadata)
    if head[:1] == b"\x80" or TEXT_PICKLE.match(head):
        return model_tensors(*read_pickle_file(source), source, weights)
    for mark, problem in NO_CHECKPOINTS.items():
        if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(mark):
            raise source.error("", problem)
    raise source.error("", "is no checkpoint: its first bytes are those of no known container.")


def _read_zip(source: Source, closing: Closing, weights: str, *, inside: bool) -> Contents:
    archive = ZipArchive(source)
    root = torch_root(archive)
    if root is not None:
        return model_tensors(*read_torch_zip(archive, root), source, weights)
    if is_npz(archive):
        return Contents(read_npz(archive), "npz")
    if inside:
        raise source.error("", "is a zip archive inside another, and no checkpoint itself.")
    if len(archive.records) > MAX_MEMBERS:
        raise source.error("", f"is a zip archive of {len(archive.records)} files and no checkpoint itself: unpack it.")
    names = [name for name in archive.records if _may_be_checkpoint(archive.head(name, HEAD))]
    if len(names) != 1:
        listed = ", ".join(shown(name) for name in names[:8])
        raise source.error("", f"holds several checkpoints, {listed}: unpack one." if names else "holds no checkpoint.")
    contents = _read(_inner_source(archive, names[0], closing), closing, weights, inside=True)
    return replace(contents, container=f"{contents.container} in a zip")


def _may_be_checkpoint(head: bytes) -> bool:
    return (
        head.startswith((ZIP, b"\x80"))
        or is_safetensors(head)
        or is_mindspore(head)
        or head[TAR_MARK : TAR_MARK + len(TAR)] == TAR
    )


def _inner_source(archive: ZipArchive, name: str, closing: Closing) -> Source:
    """A checkpoint in an archive: in place where it is stored, else inflated into a file that goes with it."""
    archive.check(name)
    if archive.records[name].method == STORED:
        return archive.source.part(archive.packed(name), name)
    try:
        with tempfile.TemporaryFile() as file:
            archive.inflate_into(name, file)
            file.flush()
            inner = map_source(file, archive.source.label_of(name))
    except OSError as error:
        raise archive.source.error("", f"can't be unpacked into a temporary file: {error.strerror}.") from None
    closing.append(inner.file.close)
    return inner

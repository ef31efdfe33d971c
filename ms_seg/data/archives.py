"""Unpacking a dataset from the archives it is published in: the result is complete and verified, or absent.

Files are unpacked into `.NAME.part` beside the dataset, which is renamed at the end. Interrupted work continues there.
"""

from __future__ import annotations

import os
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from convert.progress import ProgressBar, progress_bar

_PIECE = 1 << 20
# Pictures hardly shrink in an archive: one that would grow a lot is a bomb.
_MAX_GROWTH = 20
_FREE_GROWTH = 64 << 20  # bytes that any archive may grow to
_MAX_PICTURE_BYTES = 64 << 20
_DRAFT = ".draft"  # the file being unpacked, renamed when it is whole
_INNER = ".archives"  # where archives within archives are unpacked to, until the end


@dataclass(frozen=True)
class Part:
    """The files of one kind in an archive, such as the label maps of the validation pictures.

    archive: its published file name. source: the folder in the archive (the end of its path). target: the folder in the
    dataset. ending: of the files that count. count: how many there are. inside: the path of an archive within the
    archive, if that holds them. max_size: of any file in the archive, in bytes.
    """

    archive: str
    source: str
    target: str
    ending: str
    count: int
    inside: str | None = None
    max_size: int = _MAX_PICTURE_BYTES


@dataclass(frozen=True)
class Split:
    """Pictures and label maps, matched by name."""

    pictures: Part
    labels: Part


def prepare(
    splits: Sequence[Split],
    given: Sequence[Path],
    folder: Path,
    others: Sequence[Part] = (),
    check: Callable[[Path], None] | None = None,
) -> str:
    """Unpack archives into a dataset and verify it. Returns a sentence about the result.

    Args:
        splits: what the dataset consists of.
        given: the downloaded archives, or the folders that hold them.
        folder: of the dataset. If a complete one is there already, it is left alone.
        others: files that belong to no single picture.
        check: raises ValueError for a folder whose files are complete but do not fit together.

    Raises: ValueError for an archive that is missing, truncated, damaged, hostile or a different one, for missing
        files, for other content in `folder`, and for a full disk; OSError if `folder` cannot be written.
    """
    parts = [*others, *(part for split in splits for part in (split.pictures, split.labels))]
    if folder.exists():
        _verify(splits, others, folder)
        return f"{folder} is there already, and whole: {_contents(splits)}"
    names = dict.fromkeys(part.archive for part in parts)
    archives = {name: _find(name, given, only=len(names) == 1) for name in names}
    draft = folder.with_name(f".{folder.name}.part")
    by_source: dict[tuple[str, str | None], list[Part]] = {}
    for part in parts:
        by_source.setdefault((part.archive, part.inside), []).append(part)
    sources = {key: _source(archives[key[0]], key[1], draft / _INNER) for key in by_source}
    work = [step for key, path in sources.items() for step in _plan(path, by_source[key])]
    draft.mkdir(parents=True, exist_ok=True)
    left = [(path, member, target) for path, member, target in work if not _is_whole(draft / target, member)]
    _check_space(draft, sum(member.file_size for _, member, _ in left))
    total = sum(member.file_size for _, member, _ in work)
    with progress_bar(total, f"unpacking {folder.name}") as bar:
        bar(total - sum(member.file_size for _, member, _ in left))
        for path in dict.fromkeys(sources.values()):
            _unpack(path, [(member, draft / target) for source, member, target in left if source == path], draft, bar)
    (draft / _DRAFT).unlink(missing_ok=True)
    _verify(splits, others, draft)
    if check:
        check(draft)
    shutil.rmtree(draft / _INNER, ignore_errors=True)
    os.rename(draft, folder)
    return f"{folder} is ready: {_contents(splits)}"


def _find(name: str, given: Sequence[Path], only: bool) -> Path:
    """The archive of that name; if only one is needed, the file may have another name."""
    for path in given:
        if path.is_file() and (only or path.name == name):
            return path
        if (path / name).is_file():
            return path / name
    raise ValueError(f"there is no {name} in {', '.join(map(str, given))}: download it first")


def _source(path: Path, inside: str | None, folder: Path) -> Path:
    """The archive that holds the files: the one at the path, or one within it, unpacked into the folder."""
    if inside is None:
        return path
    place, _, name = inside.rpartition("/")
    part = Part(path.name, place, "", name, 1, max_size=_MAX_GROWTH * path.stat().st_size)
    ((_, member, _),) = _plan(path, [part])
    target = folder / name
    if not _is_whole(target, member):
        folder.mkdir(parents=True, exist_ok=True)
        _check_space(folder, member.file_size)
        with progress_bar(member.file_size, f"unpacking {name}") as bar:
            _unpack(path, [(member, target)], folder, bar)
    return target


def _plan(path: Path, parts: Sequence[Part]) -> list[tuple[Path, zipfile.ZipInfo, str]]:
    """Which members of an archive are unpacked, and where to. All counts are checked before anything is unpacked."""
    with _open(path) as archive:
        members = archive.infolist()
    for member in members:
        _refuse_hostile(path, member, max(part.max_size for part in parts))
    allowed = max(_FREE_GROWTH, _MAX_GROWTH * path.stat().st_size)
    size = sum(member.file_size for member in members)
    if size > allowed:
        raise ValueError(f"{path} would grow to {size >> 20} MB, which no archive of pictures does: refused")
    chosen: dict[str, zipfile.ZipInfo] = {}
    for part in parts:
        before = len(chosen)
        for member in members:
            place, _, name = member.filename.rpartition("/")
            inside = f"/{place}".endswith(f"/{part.source}")
            if inside and name.endswith(part.ending) and not name.startswith("."):
                chosen[f"{part.target}/{name}"] = member
        found = len(chosen) - before
        if found != part.count:
            raise ValueError(
                f"{path} is not {part.archive} as published: it holds {found} files {part.source}/*{part.ending}, "
                f"not {part.count}"
            )
    return [(path, member, target) for target, member in chosen.items()]


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, struct.error) as error:
        raise ValueError(f"{path} is no zip archive, or cut off: {error}; download it again") from None


def _refuse_hostile(path: Path, member: zipfile.ZipInfo, max_size: int) -> None:
    steps = member.filename.replace("\\", "/").split("/")
    if not steps[0] or ".." in steps or ":" in member.filename:
        raise ValueError(f"{path} holds {member.filename!r}, a path that leads out of the dataset: refused")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise ValueError(f"{path} holds {member.filename!r}, a symbolic link: refused")
    if member.file_size > max_size:
        raise ValueError(f"{path} holds {member.filename!r} of {member.file_size >> 20} MB: refused")


def _is_whole(file: Path, member: zipfile.ZipInfo) -> bool:
    """Files get their names when they are whole; the size detects one that a crash of the machine left empty."""
    return file.is_file() and file.stat().st_size == member.file_size


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(f"{folder} needs {needed >> 20} MB more, and the disk has {free >> 20} MB free")


def _unpack(path: Path, work: Sequence[tuple[zipfile.ZipInfo, Path]], folder: Path, bar: ProgressBar) -> None:
    draft = folder / _DRAFT
    with _open(path) as archive:
        for member, target in work:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                # zipfile checks the checksum at the end, and returns no more bytes than the directory declares.
                with archive.open(member) as packed, draft.open("wb") as file:
                    shutil.copyfileobj(packed, file, _PIECE)
            except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
                raise ValueError(f"{path} is damaged at {member.filename}: {error}; download it again") from None
            if draft.stat().st_size != member.file_size:
                raise ValueError(f"{path} is cut off at {member.filename}: download it again")
            os.replace(draft, target)
            bar(member.file_size)


def _verify(splits: Sequence[Split], others: Sequence[Part], folder: Path) -> None:
    """Check that every picture and its label map is there. Further files, such as mmsegmentation's, are fine."""
    for part in others:
        place = folder / part.target
        found = sum(file.name.endswith(part.ending) for file in place.iterdir()) if place.is_dir() else 0
        if found != part.count:
            raise ValueError(
                f"{folder} is not a whole dataset: {part.target}/{part.ending} is missing; move it away and run this "
                f"again"
            )
    for split in splits:
        pictures, labels = (_stems(folder / part.target, part.ending) for part in (split.pictures, split.labels))
        missing = None
        if len(pictures) != split.pictures.count:
            missing = f"{split.pictures.target} holds {len(pictures)} of {split.pictures.count} pictures"
        elif alone := pictures - labels:
            missing = f"{split.labels.target}/{min(alone)}{split.labels.ending} is missing"
        if missing:
            raise ValueError(f"{folder} is not a whole dataset: {missing}; move it away and run this again")


def _stems(folder: Path, ending: str) -> set[str]:
    return {file.stem for file in folder.iterdir() if file.suffix == ending} if folder.is_dir() else set()


def _contents(splits: Sequence[Split]) -> str:
    return ", ".join(f"{split.pictures.count} pictures in {split.pictures.target}" for split in splits)

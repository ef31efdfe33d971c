"""Which label file belongs to which picture, by their names alone."""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

PICTURE_ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_PHOTO_ENDINGS = (".jpg", ".jpeg")
LABEL_ENDINGS = (".png", ".bmp", ".tif", ".tiff")

_WORD = re.compile(r"[-_.][A-Za-z]\w*$")  # what names of one kind may have in common at their end, such as "_mask"
_WORD_BEGINS = re.compile(r"[-_.](?=[A-Za-z]\w*$)")
_ASKED = 20  # pictures whose label files are looked for, to learn how names of label files end


class Pair(NamedTuple):
    """name: of the picture, unique, without an ending; "/" after each folder in it. picture, label: the files, as paths
    below the two folders."""

    name: str
    picture: str
    label: str


class MissingSplit(ValueError):
    """A split of a dataset is not there at all, neither its pictures nor what is true of them."""


def files_in(folder: Path, endings: Sequence[str], nested: bool = False) -> list[str]:
    """The files in a folder with one of the endings, in any case, as sorted paths below it; hidden ones are left out.

    nested: whether folders in it are looked into. Raises ValueError if there is no such folder or file.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
    files = files_below(folder, endings, nested)
    if not files:
        raise ValueError(f"the folder {folder} is empty: it holds no {', '.join(endings)} file")
    return files


def check_split(file: Path, other: Path) -> None:
    """Raise MissingSplit, naming the first, if neither is there: the pictures of a split, and what is true of them; of
    a JSON file, which is made of other files, if it is not."""
    made = file.suffix == ".json"
    if not file.exists() and (made or not other.exists()):
        raise MissingSplit(f"there is no {'' if made else 'folder '}{file}")


def files_below(folder: Path, endings: Sequence[str], nested: bool = True) -> list[str]:
    """As `files_in`, of a folder that may hold none."""
    lower = tuple(ending.lower() for ending in endings)
    return sorted(name for name in _names(folder, nested) if name.lower().endswith(lower))


def pair(pictures: Path, labels: Path, ending: str, picture_ending: str = "", nested: bool = False) -> tuple[Pair, ...]:
    """The files of two folders, where `a` + ending in the second belongs to `a` + picture_ending in the first.

    picture_ending: what a picture's name has before its format, such as "_leftImg8bit".

    Raises ValueError, naming the file, for a picture without a label file and the other way round, and for two pictures
    that differ in their formats alone; MissingSplit if neither folder is there.
    """
    check_split(pictures, labels)
    found = _stems(pictures, files_in(pictures, PICTURE_ENDINGS, nested), picture_ending)
    labelled = {_without(name, ending): name for name in files_in(labels, (ending,), nested)}
    return _matched(pictures, labels, found, labelled, ending)


def pair_alike(pictures: Path, labels: Path) -> tuple[Pair, ...]:
    """The files of two folders, and of folders in them, where names tell without doubt which belong together.

    They do if all names of label files are those of the pictures, or those with one same word behind each, such as
    "_mask"; a word that all pictures have, such as "_image", may be missing there.

    Raises ValueError as `pair` does, and where label files of several kinds could be meant.
    """
    found = _stems(pictures, files_in(pictures, PICTURE_ENDINGS, nested=True))
    if (photos := files_below(labels, _PHOTO_ENDINGS)) and not files_below(labels, LABEL_ENDINGS):
        raise ValueError(f"{labels / photos[0]} is a JPEG file, which changes the values of labels: save them as PNG")
    labelled = _stems(labels, files_in(labels, LABEL_ENDINGS, nested=True))
    own, word = _words(found, labelled, labels)
    found = {_without(stem, own): name for stem, name in found.items()}
    strangers = [name for stem, name in labelled.items() if not stem.endswith(word)]
    if strangers:
        raise ValueError(f"the label file {labels / strangers[0]} has no picture in {pictures}")
    labelled = {_without(stem, word): name for stem, name in labelled.items()}
    return _matched(pictures, labels, found, labelled, word + LABEL_ENDINGS[0])


def pair_in_one(folder: Path) -> tuple[Pair, ...]:
    """The files of one folder, half of them label files: JPEG files and PNG files of their names, or files and others
    with one same word behind each name, such as "_mask".

    Raises ValueError, naming the folder, if it holds anything else.
    """
    names = files_in(folder, PICTURE_ENDINGS, nested=True)
    photos = {os.path.splitext(name)[0]: name for name in names if not name.lower().endswith(LABEL_ENDINGS)}
    others = {os.path.splitext(name)[0]: name for name in names if name.lower().endswith(LABEL_ENDINGS)}
    every = photos | others
    bases = set(every)
    words = Counter(stem[match.start() :] for stem in others for match in _WORD_BEGINS.finditer(stem))
    for word in sorted(word for word, count in words.items() if 2 * count == len(names)):
        labels = {_without(stem, word): name for stem, name in others.items() if stem.endswith(word)}
        if set(labels) == bases - {stem + word for stem in labels} and len(every) == len(names):
            return _matched(folder, folder, {stem: every[stem] for stem in sorted(labels)}, labels, word)
    if photos and set(photos) == set(others):
        return _matched(folder, folder, photos, others, LABEL_ENDINGS[0])
    raise ValueError(f"{folder} does not tell pictures from label files: put them into images/ and labels/")


def _matched(
    pictures: Path, labels: Path, found: Mapping[str, str], labelled: Mapping[str, str], ending: str
) -> tuple[Pair, ...]:
    for stem, name in found.items():
        if stem not in labelled:
            raise ValueError(f"the picture {pictures / name} has no label file {labels / (stem + ending)}")
    for stem, name in labelled.items():
        if stem not in found:
            raise ValueError(f"the label file {labels / name} has no picture in {pictures}")
    return tuple(Pair(stem, name, labelled[stem]) for stem, name in found.items())


def _names(folder: Path, nested: bool) -> Iterator[str]:
    """Paths below a folder, with "/"; each folder is gone into once, whatever links to it."""
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [
            name for name in folders if nested and not name.startswith(".") and _first(os.path.join(place, name), seen)
        ]
        below = os.path.relpath(place, folder)
        for name in names:
            if not name.startswith("."):
                yield name if below == "." else f"{below.replace(os.sep, '/')}/{name}"


def _first(folder: str, seen: set[str]) -> bool:
    real = os.path.realpath(folder)
    new = real not in seen
    seen.add(real)
    return new


def _stems(folder: Path, names: Sequence[str], ending: str = "") -> dict[str, str]:
    """Names of files by themselves without a format, and without `ending` before it, which those without are not of."""
    stems: dict[str, str] = {}
    for name in names:
        stem = os.path.splitext(name)[0]
        if not stem.endswith(ending):
            continue
        other = stems.setdefault(_without(stem, ending), name)
        if other != name:
            raise ValueError(f"{folder} holds both {other} and {name}: a label file can belong to only one")
    if not stems:
        raise ValueError(f"the folder {folder} is empty: it holds no file whose name ends in {ending}")
    return stems


def _without(name: str, ending: str) -> str:
    return name[: len(name) - len(ending)]


def _common_word(stems: Mapping[str, str]) -> list[str]:
    """The word that all names end in, if there is one."""
    words = {match.group() if (match := _WORD.search(stem)) else "" for stem in stems}
    return [word for word in words if word] if len(words) == 1 else []


def _words(found: Mapping[str, str], labelled: Mapping[str, str], labels: Path) -> tuple[str, str]:
    """How names of pictures and of their label files end, behind what they have in common."""
    asked = [
        (own, word)
        for own in ("", *_common_word(found))
        for word in _endings(found, own, labelled)
        if not own or not word.startswith(own)  # else the same pairs as without it
    ]
    complete = [ends for ends in asked if all(_without(stem, ends[0]) + ends[1] in labelled for stem in found)]
    if len(labelled) != len(found) and len(complete) > 1:
        kinds = " and ".join(repr(word) for _, word in complete)
        raise ValueError(
            f"the label files in {labels} are of several kinds, that end in {kinds}: leave one of them there"
        )
    return next(iter([*complete, *asked]), ("", ""))


def _endings(found: Mapping[str, str], own: str, labelled: Mapping[str, str]) -> list[str]:
    """How names of label files end behind names of pictures that are without `own`; the most frequent first."""
    stems, words = sorted(labelled), Counter[str]()
    for stem in list(found)[:_ASKED]:
        base = _without(stem, own)
        for place in range(bisect_left(stems, base), len(stems)):
            if not stems[place].startswith(base):
                break
            rest = stems[place][len(base) :]
            if not rest or _WORD.fullmatch(rest):
                words[rest] += 1
    return [word for word, _ in words.most_common()]

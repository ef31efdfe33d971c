"""What COCO's annotation files have in common: images, categories, and error messages that name the file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from ms_seg.label_sets import LabelSet, check_names, numbered_labels, read_labels

PictureId = int | str  # Cityscapes' are texts
PARTS = {"training": "train2017", "validation": "val2017"}


@dataclass(frozen=True)
class CocoPicture:
    """A row of "images": its number or text, its file as a path below the pictures' folder, and its size as (height,
    width)."""

    id: PictureId
    file: str
    size: tuple[int, int]


def read_json(file: Path) -> Any:
    """The content of a JSON file. Raises ValueError, naming it, if it is missing, truncated or no JSON."""
    try:
        return json.loads(file.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"there is no {file}") from None
    except OSError as error:
        raise ValueError(f"cannot open {file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is no JSON, or cut off: {error}") from None


def read_annotations(file: Path, *needed: str) -> dict[str, list[dict]]:
    """The lists of dictionaries under the keys `needed` of an annotation file. Raises ValueError, naming the file."""
    content = read_json(file)
    lists = {}
    for key in needed:
        rows = content.get(key) if isinstance(content, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError(f'{file} is no COCO annotation file: it has no list "{key}"')
        lists[key] = rows
    return lists


def field(row: Mapping[str, Any], key: str, kind: Any, what: str) -> Any:
    """An entry of a row, checked to be of a type, or of one of several. Raises ValueError, beginning with `what`."""
    value = row.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        names = {int: "a whole number", str: "text", list: "a list", PictureId: "a whole number or text"}
        raise ValueError(f'{what} has no "{key}" that is {names.get(kind, "a number")}')
    return value


def file_name(row: Mapping[str, Any], what: str) -> str:
    """The "file_name" of a row, checked to lie in a folder or below. Raises ValueError, beginning with `what`."""
    name = field(row, "file_name", str, what)
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or "/".join(parts) != name or "\\" in name or parts[0] == "/":
        raise ValueError(f"{what} has the file name {name!r}, which is no name of a file in a folder")
    return name


def stem_of(name: str) -> str:
    """A file's path without its ending."""
    return os.path.splitext(name)[0]


def read_pictures(rows: Iterable[Mapping[str, Any]], file: Path) -> dict[PictureId, CocoPicture]:
    """The rows of "images" by their ids. Raises ValueError, naming the file."""
    pictures: dict[PictureId, CocoPicture] = {}
    names: set[str] = set()
    for row in rows:
        number = field(row, "id", PictureId, f"{file}: a picture")
        what = f"{file}: picture {number}"
        name = file_name(row, what)
        size = field(row, "height", int, what), field(row, "width", int, what)
        if number in pictures:
            raise ValueError(f"{what} stands there twice")
        if stem_of(name) in names:
            raise ValueError(f"{what} has the name {name}, as another picture does")
        names.add(stem_of(name))
        pictures[number] = CocoPicture(number, name, size)
    return pictures


def read_categories(rows: Sequence[Mapping[str, Any]], file: Path, published: LabelSet) -> LabelSet:
    """The classes of an annotation file, in its order; `published` itself if they are the same.

    If they differ from the published ones in their numbers alone, as Cityscapes' do with its train ids, they are these
    with the file's numbers. A category is a thing unless it says "isthing": 0. Raises ValueError, naming the file, if
    there are none, for one without an id or a name, and for a repeated name or id.
    """
    if not rows:
        raise ValueError(f"{file} names no categories")
    ids = tuple(field(row, "id", int, f"{file}: a category") for row in rows)
    names = tuple(field(row, "name", str, f"{file}: category {number}") for row, number in zip(rows, ids, strict=True))
    if set(zip(names, ids, strict=True)) == set(zip(published.names, published.numbers, strict=True)):
        return published
    check_names(names, str(file))
    if len(set(ids)) < len(ids):
        raise ValueError(f"{file} has the same id for two categories")
    things = tuple(is_thing(row, f"{file}: category {number}") for row, number in zip(rows, ids, strict=True))
    if set(zip(names, things, strict=True)) == set(zip(published.names, published.isthing, strict=True)):
        numbers = dict(zip(names, ids, strict=True))
        return replace(published, ids=tuple(numbers[name] for name in published.names))
    palette = numbered_labels(len(names)).palette.copy()
    for colour, row in zip(palette, rows, strict=True):
        given = row.get("color")
        if isinstance(given, list) and len(given) == 3 and all(isinstance(v, int) and 0 <= v < 256 for v in given):
            colour[:] = given
    return LabelSet(names, palette, things, ids)


def is_thing(category: Mapping[str, Any], what: str) -> bool:
    """Whether a category is a thing: unless it says "isthing": 0, which some write as text or as false.

    Raises ValueError, beginning with `what`, for anything else.
    """
    said = str(category.get("isthing", 1)).lower()
    if said not in ("0", "1", "false", "true"):
        raise ValueError(f'{what} has an "isthing" that is neither 0 nor 1: {category["isthing"]!r}')
    return said in ("1", "true")


def coco_labels(things: bool = False) -> LabelSet:
    """COCO's 133 classes of panoptic segmentation, or its 80 things alone."""
    return read_labels("coco_things" if things else "coco_panoptic")


def check_files(folder: Path, names: Iterable[str], what: str) -> None:
    """Raise ValueError for a missing folder, and for the first file missing from it; `what` says why it is needed."""
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
    there: dict[str, set[str]] = {}  # what each folder holds: one question for thousands of files
    for name in names:
        below, _, own = name.rpartition("/")
        if below not in there:
            place = folder / below
            there[below] = {file.name for file in place.iterdir()} if place.is_dir() else set()
        if own not in there[below]:
            raise ValueError(f"{folder / name} is missing: {what}")


def first_folder(*folders: Path) -> Path:
    """The first of the folders that exists; if none does, the first."""
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def annotation_file(root: Path, kind: str, split: str) -> tuple[Path, str]:
    """annotations/KIND_val2017.json and "val2017", or, where there is that file, KIND_val.json and "val"; the same with
    "train" for training. Raises ValueError where both are there."""
    parts = PARTS[split], PARTS[split].removesuffix("2017")
    files = [(root / "annotations" / f"{kind}_{part}.json", part) for part in parts]
    found = [named for named in files if named[0].is_file()]
    if len(found) > 1:
        raise ValueError(f"both {found[0][0]} and {found[1][0]} could be meant: leave one of them there")
    return found[0] if found else files[0]


def picture_folder(root: Path, part: str) -> Path:
    """The pictures of a part, such as "val2017", in a COCO folder."""
    return first_folder(root / part, root / "images" / part)

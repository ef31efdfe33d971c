"""Small datasets on disk in every layout, and what can be wrong with one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.small_datasets import write_labels, write_picture

SIZE = (40, 56)
COUNT = 3  # pictures of each split

_FOLDERS = {
    "ade20k": ("images/{}", "annotations/{}"),
    "cocostuff164k": ("images/{}", "annotations/{}"),
    "folder": ("images/{}", "labels/{}"),
}
_PARTS = {"cocostuff164k": {"training": "train2017", "validation": "val2017"}}
DATASETS = tuple(_FOLDERS)
CLASS_NAMES = ("red", "green", "blue")  # of "folder"


@dataclass(frozen=True)
class Pair:
    """A picture and its label file."""

    picture: Path
    label: Path


def pair(name: str, root: Path, split: str, number: int) -> Pair:
    """The files of a picture of a dataset."""
    part = _PARTS.get(name, {}).get(split, split)
    pictures, labels = (root / folder.format(part) for folder in _FOLDERS[name])
    return Pair(pictures / f"view_{number}.jpg", labels / f"view_{number}.png")


def write_dataset(name: str, root: Path) -> Path:
    """A dataset of regions of the values 1 and 2, a person's own of all its classes; nothing is wrong with it."""
    root.mkdir(parents=True)
    if name == "folder":
        (root / "labels.txt").write_text("\n".join(CLASS_NAMES) + "\n")
    for split in ("training", "validation"):
        for number in range(COUNT):
            files = pair(name, root, split, number)
            write_picture(files.picture, SIZE, number + COUNT * (split == "validation"))
            first = 0 if name == "folder" else 1
            labels = np.random.default_rng(number).integers(first, 3, (SIZE[0] // 8, SIZE[1] // 8))
            write_labels(files.label, labels.repeat(8, axis=0).repeat(8, axis=1))
    return root


def lose_label(files: Pair) -> Path:
    files.label.unlink()
    return files.label


def lose_picture(files: Pair) -> Path:
    files.picture.unlink()
    return files.label


def shrink_label(files: Pair) -> Path:
    write_labels(files.label, [1], (5, 6))
    return files.label


def cut_label(files: Pair) -> Path:
    return _halve(files.label)


def garble_label(files: Pair) -> Path:
    """A bit is another: Pillow's decoder gives other labels, without a word."""
    whole, values = files.label.read_bytes(), np.array(Image.open(files.label))
    for place, bit in product(range(len(whole) - 24, 0, -1), range(8)):
        files.label.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
        try:
            if not np.array_equal(np.array(Image.open(files.label)), values):
                return files.label
        except (OSError, SyntaxError):
            continue
    raise AssertionError("Pillow notices every bit")


def recolour_label(files: Pair) -> Path:
    write_picture(files.label, SIZE)
    return files.label


def misnumber_label(files: Pair) -> Path:
    write_labels(files.label, [1, 200], SIZE)
    return files.label


def cut_picture(files: Pair) -> Path:
    return _halve(files.picture)


def empty_picture(files: Pair) -> Path:
    files.picture.write_bytes(b"")
    return files.picture


def empty_label_folder(files: Pair) -> Path:
    for file in files.label.parent.iterdir():
        file.unlink()
    return files.label.parent


def empty_picture_folder(files: Pair) -> Path:
    for file in files.picture.parent.iterdir():
        file.unlink()
    return files.picture.parent


def misplace_pictures(files: Pair) -> Path:
    """Another layout than the dataset is published in."""
    files.picture.parent.rename(files.picture.parent.with_name("pictures"))
    return files.picture.parent


DAMAGES: tuple[Callable[[Pair], Path], ...] = (
    lose_label,
    lose_picture,
    shrink_label,
    cut_label,
    garble_label,
    recolour_label,
    misnumber_label,
    cut_picture,
    empty_picture,
    empty_label_folder,
    empty_picture_folder,
    misplace_pictures,
)  # each returns the file or folder that is to be named


def _halve(file: Path) -> Path:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    return file


# Of "folder" alone: what becomes of labels.txt.


def lose_names(file: Path) -> None:
    file.unlink()


def empty_names(file: Path) -> None:
    file.write_text("\n")


def encode_names_otherwise(file: Path) -> None:
    file.write_bytes("größer\n".encode("latin-1"))


def make_names_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


NAME_DAMAGES: tuple[Callable[[Path], None], ...] = (
    lose_names,
    empty_names,
    encode_names_otherwise,
    make_names_a_folder,
)

"""What the values in label files mean: a class, ignored, or a mistake."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ms_seg.data.picture import read_stored

IGNORED = 255  # a pixel that is neither learned nor scored
MAX_CLASSES = 254
_WRONG = 254  # in a table: a value that label files must not hold

# COCO has 182 numbers for 171 classes; these, counted from 0 as in the published label maps, were never annotated.
_COCO_NUMBERS = 182
_COCO_UNUSED = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)


@dataclass(frozen=True, eq=False)
class Numbering:
    """How values of label files become class indices.

    table: (256,) uint8, value -> class index, IGNORED or _WRONG. meaning: the rule in words.
    zero_is_ignored: mmsegmentation's `reduce_zero_label`.
    """

    table: np.ndarray
    meaning: str
    zero_is_ignored: bool = False

    @property
    def count(self) -> int:
        """How many classes there are."""
        return len(np.unique(self.table[self.table < _WRONG]))

    def wrong(self, values: Iterable[int]) -> list[int]:
        """Those of the values that label files with this numbering must not hold."""
        return [value for value in values if self.table[value] == _WRONG]

    def classes(self, values: np.ndarray, file: Path) -> np.ndarray:
        """Values (H, W) uint8 -> class indices (H, W) uint8, or IGNORED.

        Raises ValueError, naming the file and the value, for a value out of range.
        """
        classes = self.table[values]
        if (classes == _WRONG).any():
            value = int(values[classes == _WRONG].max())
            raise ValueError(f"{file} holds the value {value}, but there are {self.count} classes: {self.meaning}")
        return classes


def from_zero(count: int) -> Numbering:
    """Value 0 is the first of `count` classes; 255 is ignored."""
    return _numbering(range(count), f"0..{count - 1} number them, 255 is ignored")


def from_one(count: int) -> Numbering:
    """Value 1 is the first of `count` classes; 0 is ignored, as in ADE20K, and so is 255."""
    meaning = f"1..{count} number them, 0 and 255 are ignored"
    return _numbering(range(1, count + 1), meaning, ignored=(0,), zero_is_ignored=True)


def coco_stuff() -> Numbering:
    """The published COCO-Stuff maps: 0..181 without the eleven numbers that COCO never used, in order; 255 is ignored.

    Source: mmsegmentation 0.30, tools/convert_datasets/coco_stuff164k.py.
    """
    used = [value for value in range(_COCO_NUMBERS) if value not in _COCO_UNUSED]
    return _numbering(used, "0..181 without COCO's unused numbers stand for them, 255 is ignored")


def from_ids(ids: Sequence[int], others: Iterable[int]) -> Numbering:
    """Each class has the number of its place in `ids`; the `others`, and 255, are ignored."""
    others = [value for value in others if value not in ids]
    meaning = f"{', '.join(map(str, ids))} stand for them, the others up to {max(others)} and 255 are ignored"
    return _numbering(ids, meaning, others)


def infer_numbering(files: Sequence[Path], count: int) -> Numbering:
    """Whether label files number `count` classes from 0 or from 1, inferred from their values.

    From 1 if the value `count` occurs, which counting from 0 never reaches, else from 0.

    Raises ValueError, naming the file and the value, if neither fits.
    """
    found: dict[int, Path] = {}
    for file in files:
        for value in np.flatnonzero(value_counts(read_values(file))):
            found.setdefault(int(value), file)
    numbering = from_one(count) if count in found else from_zero(count)
    if wrong := numbering.wrong(found):
        value = max(wrong)
        raise ValueError(
            f"{found[value]} holds the value {value}, but labels.txt names {count} classes: number them "
            f"0..{count - 1}, or 1..{count} with 0 for nothing, and mark what is to be ignored by 255"
        )
    return numbering


def read_values(file: Path) -> np.ndarray:
    """The values in a label file, (H, W) uint8: of a single channel, or the indices of a palette.

    Raises ValueError, naming the file, if it is missing or damaged, has colours, or holds values above 255.
    """
    if not file.exists():
        raise ValueError(f"there is no label file {file}")
    values = read_stored(file)
    if values.ndim != 2 or values.dtype.kind not in "bui":
        raise ValueError(f"{file} has colours: a label file must hold one number, the class, for each pixel")
    if values.dtype.itemsize > 1 and (values.min() < 0 or values.max() > 255):
        raise ValueError(f"{file} holds the value {values.max()}: label files number classes up to {MAX_CLASSES}")
    return values.astype(np.uint8, copy=False)


def value_counts(values: np.ndarray) -> np.ndarray:
    """How often each of the values 0..255 occurs, (256,) int64."""
    return np.bincount(values.ravel(), minlength=256)


def _numbering(
    values: Iterable[int], meaning: str, ignored: Iterable[int] = (), zero_is_ignored: bool = False
) -> Numbering:
    values = list(values)
    if not 1 <= len(values) <= MAX_CLASSES:
        raise ValueError(f"there are {len(values)} classes: label files of 8 bits hold 1 to {MAX_CLASSES}")
    table = np.full(256, _WRONG, np.uint8)
    table[[IGNORED, *ignored]] = IGNORED
    table[values] = np.arange(len(values))
    table.flags.writeable = False
    return Numbering(table, meaning, zero_is_ignored)

"""What the values or colours in label files mean: a class, ignored, or a mistake."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ms_seg.data.picture import packed, read_stored

IGNORED = 255  # in a label map: a pixel that is neither learned nor scored
MAX_CLASSES = 254
MAX_VALUE = 65_535
_MAX_LISTED = 8  # values that a rule in words lists
_SMEARED = 8  # numbers that stand for nothing in one file: more were not painted
_WRONG = 254  # in a table: a number that label files must not hold

# COCO has 182 numbers for 171 classes; these, counted from 0 as in the published label maps, were never annotated.
_COCO_NUMBERS = 182
_COCO_UNUSED = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)


@dataclass(frozen=True)
class Numbering:
    """How the numbers in label files become class indices. Whoever reads label files reads them through one of these.

    values: the number of each class, in the order of the classes. ignored: numbers of what is neither learned nor
    scored. meaning: the rule in words. in_colour: the numbers are colours, red + 256 green + 65536 blue.

    Raises ValueError for no class, more than MAX_CLASSES, a number that two classes share or that is ignored as well,
    and one beyond MAX_VALUE (or beyond white).
    """

    values: tuple[int, ...]
    ignored: tuple[int, ...]
    meaning: str
    in_colour: bool = False

    def __post_init__(self) -> None:
        if not 1 <= len(self.values) <= MAX_CLASSES:
            raise ValueError(f"there are {len(self.values)} classes: label maps of 8 bits hold 1 to {MAX_CLASSES}")
        seen: set[int] = set()
        for number in (*self.values, *self.ignored):
            if not 0 <= number <= (0xFFFFFF if self.in_colour else MAX_VALUE):
                raise ValueError(f"label files cannot hold {number}: their values are 0 to {MAX_VALUE}")
            if number in seen:
                raise ValueError(f"{self.text(number)} stands for two classes, or for one and for what is ignored")
            seen.add(number)

    @property
    def count(self) -> int:
        """How many classes there are."""
        return len(self.values)

    @property
    def zero_is_ignored(self) -> bool:
        """mmsegmentation's `reduce_zero_label`."""
        return not self.in_colour and 0 in self.ignored and self.values == tuple(range(1, self.count + 1))

    @cached_property
    def table(self) -> np.ndarray:
        """(65536,) uint8, or (2**24,) for colours: number -> class index, IGNORED or a mark of its own."""
        table = np.full(1 << 24 if self.in_colour else MAX_VALUE + 1, _WRONG, np.uint8)
        table[list(self.ignored)] = IGNORED
        table[list(self.values)] = np.arange(self.count)
        table.flags.writeable = False
        return table

    @property
    def record(self) -> dict[str, Any]:
        """This numbering as plain data, ready for JSON; `from_record` is the way back."""
        return {**asdict(self), "values": list(self.values), "ignored": list(self.ignored)}

    def text(self, number: int) -> str:
        """A number as a person writes it: a value, or a colour such as #804080."""
        return colour_text(number) if self.in_colour else str(number)

    def wrong(self, numbers: Iterable[int]) -> list[int]:
        """Those of the numbers that label files with this numbering must not hold."""
        return [number for number in numbers if number >= len(self.table) or self.table[number] == _WRONG]

    def read(self, file: Path) -> np.ndarray:
        """The numbers in a label file, (H, W). Raises ValueError as `read_values` and `read_colours` do."""
        return read_colours(file) if self.in_colour else read_values(file)

    def classes(self, numbers: np.ndarray, file: Path) -> np.ndarray:
        """Numbers (H, W) -> class indices (H, W) uint8, or IGNORED.

        Raises ValueError, naming the file and the number, for a number that stands for nothing.
        """
        classes = self.table[numbers]
        if (classes == _WRONG).any():
            wrong = np.unique(numbers[classes == _WRONG])
            kind, last = "colour" if self.in_colour else "value", self.text(int(wrong[-1]))
            smeared = f"; it holds {len(wrong)} that stand for nothing, as if resized or smoothed like a picture"
            raise ValueError(
                f"{file} holds the {kind} {last}, which is none of the {self.count} classes: {self.meaning}"
                f"{smeared if len(wrong) > _SMEARED else ''}"
            )
        return classes


def from_record(record: Mapping[str, Any]) -> Numbering:
    """The numbering that `Numbering.record` describes. Raises ValueError as the class does."""
    return Numbering(tuple(record["values"]), tuple(record["ignored"]), record["meaning"], record["in_colour"])


def from_zero(count: int, ignored: Sequence[int] = ()) -> Numbering:
    """Value 0 is the first of `count` classes; 255 is ignored, and what else is given."""
    others = _others(ignored)
    return Numbering(tuple(range(count)), others, f"0..{count - 1} number them, {_are_ignored(others)}")


def from_one(count: int, ignored: Sequence[int] = ()) -> Numbering:
    """Value 1 is the first of `count` classes; 0 is ignored, as in ADE20K, so is 255, and what else is given."""
    others = _others([0, *ignored])
    return Numbering(tuple(range(1, count + 1)), others, f"1..{count} number them, {_are_ignored(others)}")


def from_values(values: Sequence[int], ignored: Sequence[int] = (), source: str = "") -> Numbering:
    """Each class has a value of its own. 255 is ignored unless it is one of them. source: who says so, for the rule."""
    others = _others(ignored) if IGNORED not in values else tuple(sorted(set(ignored)))
    rule = f"{listed(values)} stand for them{source}" if len(values) <= _MAX_LISTED else f"each has its value{source}"
    return Numbering(tuple(values), others, f"{rule}, {_are_ignored(others)}" if others else rule)


def from_colours(colours: Sequence[int], ignored: Sequence[int] = (), source: str = "") -> Numbering:
    """Each class has a colour, red + 256 green + 65536 blue."""
    return Numbering(tuple(colours), tuple(sorted(set(ignored))), f"each has its colour{source}", in_colour=True)


def from_ids(ids: Sequence[int], others: Iterable[int]) -> Numbering:
    """Each class has the number of its place in `ids`; the `others`, and 255, are ignored."""
    ignored = _others([value for value in others if value not in ids])
    meaning = f"{listed(ids)} stand for them, the others up to {ignored[-2]} and 255 are ignored"
    return Numbering(tuple(ids), ignored, meaning)


def coco_stuff() -> Numbering:
    """The published COCO-Stuff maps: 0..181 without the eleven numbers that COCO never used, in order; 255 is ignored.

    Source: mmsegmentation 0.30, tools/convert_datasets/coco_stuff164k.py.
    """
    used = tuple(value for value in range(_COCO_NUMBERS) if value not in _COCO_UNUSED)
    return Numbering(used, (IGNORED,), "0..181 without COCO's unused numbers stand for them, 255 is ignored")


def read_values(file: Path) -> np.ndarray:
    """The values in a label file, (H, W), uint8 where they fit, else uint16.

    They are those of a single channel, of channels that are all equal, or the indices of a palette; an alpha channel
    that is opaque everywhere does not count.

    Raises ValueError, naming the file, if it is missing or damaged, has colours, is transparent somewhere, or holds
    fractions or values outside 0..MAX_VALUE.
    """
    values = _stored(file)
    if values.ndim == 3 and all(np.array_equal(values[..., 0], values[..., c]) for c in range(1, values.shape[2])):
        values = values[..., 0]
    if values.ndim != 2:
        raise ValueError(f"{file} has colours: a label file must hold one number, the class, for each pixel")
    if values.dtype.kind not in "bui":
        raise ValueError(f"{file} holds fractions: a label file must hold one whole number for each pixel")
    if values.dtype.itemsize == 1:
        return values.astype(np.uint8, copy=False)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > MAX_VALUE:
        wrong = low if low < 0 else high
        raise ValueError(f"{file} holds the value {wrong}: label files number classes from 0 up to {MAX_VALUE}")
    return values.astype(np.uint8 if high < 256 else np.uint16)


def read_colours(file: Path) -> np.ndarray:
    """The colours in a label file, (H, W) int32: red + 256 green + 65536 blue. Greys and palettes have colours too.

    Raises ValueError, naming the file, if it is missing or damaged, is transparent somewhere, or has no 8-bit colours.
    """
    colours = _stored(file, in_colour=True)
    if colours.dtype != np.uint8 or colours.ndim != 3:
        raise ValueError(f"{file} has no 8-bit colours, which the classes are given by")
    return packed(colours)


def colour_text(colour: int) -> str:
    """red + 256 green + 65536 blue -> such as #804080."""
    return "#" + colour.to_bytes(3, "little").hex()


def is_coloured(stored: np.ndarray) -> bool:
    """Whether what a file stores are colours, not one number for each pixel."""
    if stored.ndim < 3 or stored.shape[2] < 3:
        return False
    return any(not np.array_equal(stored[..., 0], stored[..., channel]) for channel in (1, 2))


def listed(things: Iterable[object]) -> str:
    """Some things in a sentence: "0, 1 and 255"."""
    *some, last = map(str, things)
    return f"{', '.join(some)} and {last}" if some else last


def value_counts(values: np.ndarray) -> np.ndarray:
    """How often each of the values 0..255 occurs, (256,) int64."""
    return np.bincount(values.ravel(), minlength=256)


def number_counts(numbers: np.ndarray) -> dict[int, int]:
    """How often each number occurs in an array of any integers, which are mostly the same as their neighbours."""
    if numbers.dtype == np.uint8:
        counts = value_counts(numbers)
        return {int(number): int(counts[number]) for number in np.flatnonzero(counts)}
    flat = numbers.ravel()
    starts = np.flatnonzero(np.concatenate(([True], flat[1:] != flat[:-1])))
    lengths = np.diff(np.append(starts, flat.size))
    found, places = np.unique(flat[starts], return_inverse=True)
    return dict(zip(found.tolist(), np.bincount(places, lengths).astype(int).tolist(), strict=True))


def _stored(file: Path, in_colour: bool = False) -> np.ndarray:
    """What a label file stores, without an alpha channel, which must be opaque."""
    if not file.exists():
        raise ValueError(f"there is no label file {file}")
    stored = read_stored(file, in_colour)
    if stored.ndim == 3 and stored.shape[2] in (2, 4):
        if stored[..., -1].min() < 255:
            raise ValueError(f"{file} is transparent somewhere, which no class is: save it without transparency")
        stored = stored[..., :-1]
    return stored


def _others(ignored: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted({*ignored, IGNORED}))


def _are_ignored(numbers: Sequence[int]) -> str:
    return f"{listed(numbers)} {'are' if len(numbers) > 1 else 'is'} ignored"

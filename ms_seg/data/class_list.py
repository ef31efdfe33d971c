"""Lists of classes beside a person's own pictures: `labels.txt`, or what the tool wrote that the labels come from.

| file             | of                          | says                        |
| ---------------- | --------------------------- | --------------------------- |
| labels.txt       | a person                    | names; values and colours   |
| labelmap.txt     | CVAT, its segmentation mask | names and colours           |
| class_names.txt  | labelme, its VOC export     | names, whose values are 0.. |
| _classes.csv     | Roboflow, its masks         | names and values            |
| class_dict.csv   | CamVid, as it is passed on  | names and colours           |
| label_colors.txt | CamVid, as it is published  | names and colours           |
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ms_seg.data.numbering import MAX_VALUE, colour_text
from ms_seg.label_sets import LabelSet, check_names, numbered_labels

OWN_LIST = "labels.txt"
IGNORE_NAME = "ignore"  # in a list of values or colours: what is neither learned nor scored

_VALUE = re.compile(r"(\d+)(?:\s+|\s*[:,]\s*)(?=\S)")
_COLOUR = re.compile(r"\s+#([0-9a-fA-F]{6})$")
_BACKGROUND, _BACKGROUND_COLOUR = "background", (64, 64, 64)  # black is what is ignored
_HIDDEN_BY_LABELME = "__ignore__"


@dataclass(frozen=True)
class Row:
    """A line of a list: a name, and the value and the colour (red + 256 green + 65536 blue), where they are given."""

    name: str
    value: int | None = None
    colour: int | None = None


@dataclass(frozen=True)
class ClassList:
    """The classes that a list names, in its order, and what the list wants ignored.

    values, colours: of each class, or empty where the list has none. ignored_values, ignored_colours: likewise of what
    is ignored. file: which list it is.
    """

    file: Path
    names: tuple[str, ...]
    values: tuple[int, ...] = ()
    colours: tuple[int, ...] = ()
    ignored_values: tuple[int, ...] = ()
    ignored_colours: tuple[int, ...] = ()

    @property
    def label_set(self) -> LabelSet:
        """Names and colours: the list's own, or others that are easily told apart, dull for what is background."""
        if not self.colours:
            palette = numbered_labels(len(self.names)).palette
            palette[[name.strip("_").lower() == _BACKGROUND for name in self.names]] = _BACKGROUND_COLOUR
            return LabelSet(self.names, palette)
        given = [list(colour.to_bytes(3, "little")) for colour in self.colours]
        return LabelSet(self.names, np.array(given, np.uint8))

    def without(self, numbers: Sequence[int], in_colour: bool) -> ClassList:
        """The same list with the classes of these values or colours ignored."""
        own = self.colours if in_colour else self.values
        kept = [place for place, number in enumerate(own) if number not in numbers]

        def picked(column: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(column[place] for place in kept) if column else ()

        return replace(self, names=picked(self.names), values=picked(self.values), colours=picked(self.colours))


def find_class_list(root: Path, *below: Path) -> ClassList:
    """The list of classes in the folder of a dataset, or in one below it; a person's own goes before those of tools.

    Raises ValueError, naming the file, if there is none, and for one that cannot be read as what it is.
    """
    for name, parse in _LISTS.items():
        for folder in (root, *below):
            if (folder / name).exists():
                return read_class_list(folder / name, parse)
    raise ValueError(f"there is no {root / OWN_LIST}: write the classes' names into it, one a line")


def read_class_list(file: Path, parse: Callable[[Sequence[str]], list[Row]] | None = None) -> ClassList:
    """A list of classes from a file of the name that such a list has. Raises as `find_class_list` does."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not UTF-8 text") from None
    try:
        rows = (parse or _LISTS[file.name])([line for line in lines if line.strip()])
    except ValueError as error:
        raise ValueError(f"{file} cannot be read as a list of classes: {error}") from None
    if not rows:
        raise ValueError(f"{file} is empty: write the classes' names into it, one a line")
    _check_columns(rows, file)
    numbered = any(row.value is not None or row.colour is not None for row in rows)
    ignored = [row for row in rows if numbered and row.name == IGNORE_NAME]
    learned = [row for row in rows if row not in ignored]
    check_names([row.name for row in learned], str(file))
    return ClassList(
        file,
        tuple(row.name for row in learned),
        values=_given(learned, "value"),
        colours=_given(learned, "colour"),
        ignored_values=_given(ignored, "value"),
        ignored_colours=_given(ignored, "colour"),
    )


def _given(rows: Sequence[Row], key: str) -> tuple[int, ...]:
    return tuple(number for number in (getattr(row, key) for row in rows) if number is not None)


def _check_columns(rows: Sequence[Row], file: Path) -> None:
    """Raise ValueError where only some lines have a colour, or two have the same value or colour."""
    for key, written in (("value", str), ("colour", colour_text)):
        given = _given(rows, key)
        if given and len(given) < len(rows):
            raise ValueError(
                f"{file} gives a {key} on {len(given)} of {len(rows)} lines: give all of them one, or none"
            )
        if (twice := next((number for number in given if given.count(number) > 1), None)) is not None:
            raise ValueError(f"{file} gives the {key} {written(twice)} twice")


def _own_rows(lines: Sequence[str]) -> list[Row]:
    """`name`, `7 name`, `name #804080` or `7 name #804080`. Where not every line begins with a number, none is one."""
    numbered = all(_VALUE.match(line.strip()) for line in lines)
    rows = []
    for line in map(str.strip, lines):
        value = None
        if numbered and (begin := _VALUE.match(line)):
            value, line = _value(begin[1]), line[begin.end() :]
        end = _COLOUR.search(line)
        rows.append(Row(line[: end.start()] if end else line, value, _packed(bytes.fromhex(end[1])) if end else None))
    return rows


def _cvat_rows(lines: Sequence[str]) -> list[Row]:
    """`name:red,green,blue:parts:actions` below a comment."""
    rows = []
    for line in lines:
        if line.startswith("#"):
            continue
        name, colour, *_ = _fields(line.rsplit(":", 3), 2, "name:red,green,blue::")
        rows.append(Row(name.strip(), None, _packed(_bytes(colour.split(",")))))
    return rows


def _labelme_rows(lines: Sequence[str]) -> list[Row]:
    """Names, `_background_` first. What labelme ignores is 255 in its files, and has no number of its own."""
    names = [line.strip() for line in lines if line.strip() != _HIDDEN_BY_LABELME]
    return [Row(name, value) for value, name in enumerate(names)]


def _roboflow_rows(lines: Sequence[str]) -> list[Row]:
    """`Pixel Value, Class` and rows of these two."""
    _, *rows = csv.reader(lines, skipinitialspace=True)
    return [Row(name.strip(), _value(value)) for value, name, *_ in (_fields(row, 2, "value,name") for row in rows)]


def _table_rows(lines: Sequence[str]) -> list[Row]:
    """`name,r,g,b` and rows of these four, in any order of the columns."""
    titles, *rows = csv.reader(lines, skipinitialspace=True)
    places = {title.strip().lower(): place for place, title in enumerate(titles)}
    wanted = ("name", "r", "g", "b")
    if not set(wanted) <= set(places):
        raise ValueError("its first line must be name,r,g,b")
    picked = ([_fields(row, len(titles), ",".join(titles))[places[title]] for title in wanted] for row in rows)
    return [Row(name.strip(), None, _packed(_bytes(colour))) for name, *colour in picked]


def _camvid_rows(lines: Sequence[str]) -> list[Row]:
    """`red green blue name`."""
    rows = []
    for line in lines:
        *colour, name = _fields(line.split(None, 3), 4, "red green blue name")
        rows.append(Row(name.strip(), None, _packed(_bytes(colour))))
    return rows


def _fields(parts: Sequence[str], count: int, form: str) -> Sequence[str]:
    """The parts of a line, of which there must be so many or more."""
    if len(parts) < count:
        raise ValueError(f"the line {','.join(parts)[:60]!r} is not {form}")
    return parts


def _value(text: str) -> int:
    if not text.strip().isdecimal() or int(text) > MAX_VALUE:
        raise ValueError(f"{text[:20]!r} is no value from 0 to {MAX_VALUE}")
    return int(text)


def _bytes(texts: Sequence[str]) -> bytes:
    if len(texts) != 3 or not all(text.strip().isdecimal() and int(text) < 256 for text in texts):
        raise ValueError(f"{','.join(texts)[:40]!r} is no colour of three numbers from 0 to 255")
    return bytes(map(int, texts))


def _packed(colour: bytes) -> int:
    return int.from_bytes(colour, "little")


_LISTS: dict[str, Callable[[Sequence[str]], list[Row]]] = {
    OWN_LIST: _own_rows,
    "labelmap.txt": _cvat_rows,
    "class_names.txt": _labelme_rows,
    "_classes.csv": _roboflow_rows,
    "class_dict.csv": _table_rows,
    "label_colors.txt": _camvid_rows,
}

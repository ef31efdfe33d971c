"""Which numbering a person's own label files have: as it is said, or inferred where one reading alone is possible."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ms_seg.data.class_list import ClassList
from ms_seg.data.distribution import Distribution
from ms_seg.data.numbering import (
    IGNORED,
    MAX_CLASSES,
    Numbering,
    colour_text,
    from_colours,
    from_one,
    from_values,
    from_zero,
    is_coloured,
    listed,
    number_counts,
    read_colours,
    read_values,
)
from ms_seg.data.picture import read_stored, stored_mode
from ms_seg.label_sets import LabelSet

_SAMPLE = 300  # label files; more are read where these do not show every class
_MAX_ROWS = 40  # of a table in a message
_MAX_SHOWN = 6  # colours or names that a sentence lists
_SMEARED = 8  # more values than classes: these were not painted
_PAINTED = (0, 255)  # black and white, as every painting program writes a mask


@dataclass(frozen=True)
class LabelOptions:
    """What a person says of label files.

    values: of the classes, in the order of their names. ignored: values, or colours where the list of classes gives
    colours, as "11" or "#000000". reduce_zero_label: whether 0 is ignored and 1 the first class, or 0 the first class;
    None for unsaid. numbering: what was decided before, of the dataset's other split. recorded: how a model was trained
    to read labels of this kind. skip_damaged: whether files that cannot be read are passed over.
    """

    values: tuple[int, ...] = ()
    ignored: tuple[str, ...] = ()
    reduce_zero_label: bool | None = None
    numbering: Numbering | None = None
    recorded: Numbering | None = None
    skip_damaged: bool = False

    def __bool__(self) -> bool:
        """Whether a person says anything."""
        return bool(self.values or self.ignored or self.reduce_zero_label is not None)


@dataclass(frozen=True)
class Reading:
    """A numbering that label files may have, in words, and the option by which a person says that they do."""

    numbering: Numbering
    title: str
    option: str


UNSAID = LabelOptions()


class AmbiguousLabels(ValueError):
    """Label files that can be read in several ways. file: one that shows it; it is drawn for the person who decides."""

    def __init__(self, message: str, readings: Sequence[Reading], label_set: LabelSet, file: Path):
        super().__init__(message)
        self.readings, self.label_set, self.file = readings, label_set, file


def decide(classes: ClassList, files: Sequence[Path], said: LabelOptions) -> tuple[LabelSet, Numbering]:
    """The classes of label files and their numbering.

    What a person says goes first, then what the list of classes says, then what was recorded. Otherwise the numbering
    is inferred from the values: where one reading alone accounts for all of them and for every class.

    Args:
        classes: the list beside the files. files: of both splits, so that the two agree.

    Raises ValueError where a single class is named, for a file that cannot be read or holds what no reading accounts
    for, and where options contradict the list; AmbiguousLabels where several readings are possible.
    """
    if len(classes.names) == 1:
        raise ValueError(_one_name(classes, files))
    from_zero(len(classes.names))  # refuses too many classes before any file is read
    if said.numbering is not None:
        return _kept(classes, said.numbering), said.numbering
    in_colour = _in_colour(classes, files, said)
    numbers = _numbers(said.ignored, in_colour)
    if in_colour or (classes.values and not said.values and said.reduce_zero_label is None):
        return _as_listed(classes, numbers, in_colour)
    if said.values or said.reduce_zero_label is not None:
        numbering = _as_said(classes, said, numbers)
        return classes.label_set, numbering
    return classes.label_set, _inferred(classes, files, numbers, said)


def _one_name(classes: ClassList, files: Sequence[Path]) -> str:
    """Why one name is not enough, and what to write, where the values show it."""
    (name,), found = classes.names, Distribution()
    sentence = f"{classes.file} names {name!r} alone, and nothing to tell it from"
    for file, values in _read_all(spread(files, _SAMPLE), read_values, LabelOptions(skip_damaged=True)):
        found.add(values, file)
    if len(found.pixels) == 2:
        low, high = sorted(found.pixels)
        return (
            f"{sentence}: the label files hold {low} and {high}; write '{low} background' and '{high} {name}' into it"
        )
    return f"{sentence}: name what the other pixels are too, such as background, on a line of its own"


def _kept(classes: ClassList, numbering: Numbering) -> LabelSet:
    """The classes of a list that a numbering of the same list has."""
    own = classes.colours if numbering.in_colour else classes.values
    if own and numbering.count < len(own):
        return classes.without([n for n in own if n not in numbering.values], numbering.in_colour).label_set
    return classes.label_set


def _as_listed(classes: ClassList, ignored: Sequence[int], in_colour: bool) -> tuple[LabelSet, Numbering]:
    """The numbering that the list of classes gives."""
    kept, source = classes.without(ignored, in_colour), f" in {classes.file.name}"
    if in_colour:
        return kept.label_set, from_colours(kept.colours, [*kept.ignored_colours, *ignored], source)
    return kept.label_set, from_values(kept.values, [*kept.ignored_values, *ignored], source)


def _as_said(classes: ClassList, said: LabelOptions, ignored: Sequence[int]) -> Numbering:
    """The numbering that options give."""
    count = len(classes.names)
    if said.values:
        if said.reduce_zero_label is not None:
            raise ValueError("--label-values and --reduce-zero-label both say which value is which class: pass one")
        if len(said.values) != count:
            raise ValueError(
                f"--label-values must give a value for each of the {count} classes of {classes.file}: there are "
                f"{len(said.values)}"
            )
        return from_values(said.values, ignored, ", as --label-values says")
    first = 1 if said.reduce_zero_label else 0
    if clash := sorted(set(ignored) & set(range(first, count + first))):
        raise ValueError(
            f"--ignore-label {clash[0]} is the value of {classes.names[clash[0] - first]}, which {classes.file} names: "
            "take its line away, or give every line its value"
        )
    return from_one(count, ignored) if first else from_zero(count, ignored)


def _numbers(texts: Sequence[str], in_colour: bool) -> list[int]:
    """What a person wants ignored: values, or colours."""
    numbers = []
    for text in texts:
        is_colour = text.startswith("#")
        if is_colour != in_colour:
            kind = "colours: write it as #000000" if in_colour else "values: write it as a number"
            raise ValueError(f"--ignore-label {text} does not fit: the label files are read by {kind}")
        numbers.append(int.from_bytes(bytes.fromhex(text[1:]), "little") if is_colour else int(text))
    return numbers


# ------------------------------------------------------------------------------------------- by colours or by values


def _in_colour(classes: ClassList, files: Sequence[Path], said: LabelOptions) -> bool:
    """Whether label files are to be read by their colours.

    They are where one of them has any; and, where the list gives colours and no values, where those of palettes and
    greys are all in the list. Where it gives both, palettes are read by the one that accounts for them.
    """
    sample = spread(files, _SAMPLE)
    coloured = next((file for file, has in _read_all(sample, _has_colours, said) if has), None)
    if coloured is not None:
        if not classes.colours:
            raise ValueError(_unnamed_colours(coloured, classes))
        return True
    if not classes.colours or said.values or said.reduce_zero_label is not None:
        return False
    if classes.values:
        return _palettes_need_colours(classes, sample, said)
    known = {*classes.colours, *classes.ignored_colours}
    return all(set(number_counts(colours)) <= known for _, colours in _read_all(sample, read_colours, said))


def _palettes_need_colours(classes: ClassList, files: Sequence[Path], said: LabelOptions) -> bool:
    """Whether palettes hold the list's colours and not its values. Raises ValueError where both fit and disagree."""
    by_value, by_colour = (_as_listed(classes, [], in_colour)[1] for in_colour in (False, True))
    palettes = [file for file, mode in _read_all(files, stored_mode, said) if mode == "P"]
    for file, (values, colours) in _read_all(palettes, lambda file: (read_values(file), read_colours(file)), said):
        if by_colour.wrong(number_counts(colours)):
            return False
        if by_value.wrong(number_counts(values)):
            return True
        if not np.array_equal(by_value.classes(values, file), by_colour.classes(colours, file)):
            raise ValueError(
                f"{file} means one thing by its values and another by the colours of its palette, and {classes.file} "
                "gives both: leave the values or the colours in it, whichever says what the pixels are"
            )
    return False


def _read_all(files: Iterable[Path], read: Callable[[Path], Any], said: LabelOptions) -> Iterator[tuple[Path, Any]]:
    """Each file and what is read of it. Raises ValueError for one that cannot be, unless these are passed over."""
    for file in files:
        try:
            yield file, read(file)
        except ValueError:
            if not said.skip_damaged:
                raise


def _has_colours(file: Path) -> bool:
    return stored_mode(file) in ("RGB", "RGBA") and is_coloured(read_stored(file))


def _unnamed_colours(file: Path, classes: ClassList) -> str:
    counts = number_counts(read_colours(file))
    if len(counts) > MAX_CLASSES:
        return (
            f"{file} has {len(counts)} colours, as photographs and smoothed label files have: no class is each of them"
        )
    most = [colour_text(colour) for colour in sorted(counts, key=lambda colour: -counts[colour])[:_MAX_SHOWN]]
    others = f" and {len(counts) - len(most)} more" if len(counts) > len(most) else ""
    return (
        f"{file} has colours ({', '.join(most)}{others}), and {classes.file} does not say which class each is: write "
        f"it behind the name, such as {classes.names[0]} {most[0]}"
    )


# ---------------------------------------------------------------------------------------------------------- inferred


def _inferred(classes: ClassList, files: Sequence[Path], ignored: Sequence[int], said: LabelOptions) -> Numbering:
    """The one numbering that the values allow, see `decide`.

    Beyond a sample, files are read until every class is met.
    """
    sample = spread(files, _SAMPLE)
    found, rest = Distribution(), sorted(set(files) - set(sample))
    for files_read in (sample, *batched(rest, _SAMPLE)):
        for file, values in _read_all(files_read, read_values, said):
            found.add(values, file)
        readings = _readings(len(classes.names), found, ignored)
        possible = [reading for reading in readings if not reading.numbering.wrong(found.pixels)]
        possible = [
            reading for reading in possible if not set(found.pixels) <= set(reading.numbering.ignored)
        ] or possible
        complete = [reading for reading in possible if not found.missing(reading.numbering)]
        if complete or len(possible) < 2:
            break
    alone = possible
    if len(possible) > 1:  # black and white is so often one class and what is void that it is asked after
        alone = complete if len(complete) == 1 and set(found.pixels) != set(_PAINTED) else []
    recorded = said.recorded
    if recorded is not None and recorded.count == len(classes.names) and not recorded.in_colour:
        return _as_recorded(recorded, alone, found, classes)
    if not possible:
        raise ValueError(_unexplained(classes, found, ignored))
    if not alone:
        raise _ambiguous(possible, classes, found)
    return alone[0].numbering


def _readings(count: int, found: Distribution, ignored: Sequence[int]) -> list[Reading]:
    """What label files of so many classes are usually numbered like, and may be in view of what is ignored."""
    if count == 2 and set(found.pixels) == set(_PAINTED) and not ignored:
        return [
            Reading(from_values(_PAINTED), "0 and 255 are the classes", "--label-values 0,255"),
            Reading(from_zero(2), "255 is ignored", "--ignore-label 255"),
        ]
    usual = [
        (from_zero, ignored, "0 is the first class", "--reduce-zero-label false"),
        (from_one, ignored, "0 is ignored, 1 is the first class", "--reduce-zero-label true"),
    ]
    if count in found.pixels and count not in ignored:
        last = f"0 is the first class, {count} is ignored"
        usual.append((from_zero, [count, *ignored], last, f"--ignore-label {count}"))
    readings = []
    for numbering, also_ignored, title, option in usual:
        try:
            readings.append(Reading(numbering(count, also_ignored), title, option))
        except ValueError:
            continue  # what is ignored would be a class
    return readings


def _as_recorded(recorded: Numbering, alone: Sequence[Reading], found: Distribution, classes: ClassList) -> Numbering:
    """What a model was trained to read, unless the files are numbered in another way without doubt."""
    if wrong := recorded.wrong(found.pixels):
        raise ValueError(
            f"{found.first[wrong[-1]]} holds the value {wrong[-1]}, and the model was trained on labels of which "
            f"{recorded.meaning}: say how these are to be read by --label-values, --ignore-label or --reduce-zero-label"
        )
    if alone and alone[0].numbering.values != recorded.values:
        raise ValueError(
            f"the label files that {classes.file} is beside can be read in one way, {alone[0].numbering.meaning}, and "
            f"the model was trained on labels of which {recorded.meaning}: pass {alone[0].option} for the first, or "
            f"--label-values with the value of each class"
        )
    return recorded


def _unexplained(classes: ClassList, found: Distribution, ignored: Sequence[int]) -> str:
    """Why no reading accounts for the values."""
    count, name = len(classes.names), classes.file.name
    values = sorted(set(found.pixels) - set(ignored))
    others = [value for value in values if value != IGNORED]
    wrong = max(value for value in others if value > count) if max(others) > count else max(others)
    holds = f"{found.first[wrong]} holds the value {wrong}"
    if len(values) >= count + _SMEARED:
        return (
            f"{holds}, and the label files hold {len(values)} different values for the {count} classes of {name}: they "
            "seem to be resized or smoothed like pictures; make them again without interpolation"
        )
    if len(values) == count:
        return (
            f"{holds}, but {name} names {count} classes: if {listed(values)} are their values in this order, pass "
            f"--label-values {','.join(map(str, values))}; else write each class's value before its name in {name}"
        )
    return (
        f"{holds}, but {name} names {count} classes: number them 0..{count - 1}, or 1..{count} with 0 for nothing, and "
        f"mark what is to be ignored by 255; or write each class's value before its name in {name}"
    )


def _ambiguous(readings: Sequence[Reading], classes: ClassList, found: Distribution) -> AmbiguousLabels:
    marks = [f"{chr(ord('A') + place)}: {reading.title}" for place, reading in enumerate(readings)]
    table = found.table([(m, r.numbering) for m, r in zip(marks, readings, strict=True)], classes.names, _MAX_ROWS)
    missing = [
        f"; without {_some([classes.names[index] for index in lost])}"
        if (lost := found.missing(reading.numbering))
        else ""
        for reading in readings
    ]
    ways = [f"{mark}{lost}: {reading.option}" for mark, lost, reading in zip(marks, missing, readings, strict=True)]
    lines = [
        f"the label files that {classes.file} is beside can be read in {len(readings)} ways; say which it is:",
        *table,
        *ways,
        f"or write each class's value before its name in {classes.file.name}",
        *(["to train without what no label file shows, add --allow missing-classes"] if all(missing) else []),
    ]
    shown = max((number for number in found.pixels if number != IGNORED), default=IGNORED)
    return AmbiguousLabels("\n".join(lines), readings, classes.label_set, found.first[shown])


def _some(names: Sequence[str]) -> str:
    return listed(names) if len(names) <= _MAX_SHOWN else f"{len(names)} of the classes"


def spread(items: Sequence, count: int) -> list:
    """At most `count` of the items, evenly from the first to the last."""
    chosen = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[index] for index in chosen]


def batched(items: Sequence, size: int) -> Iterator[Sequence]:
    return (items[start : start + size] for start in range(0, len(items), size))

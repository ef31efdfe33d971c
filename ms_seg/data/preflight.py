"""A look at a dataset before training, so that a wrong numbering stops a run instead of spoiling it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ms_seg.data.distribution import Distribution
from ms_seg.data.instance import InstanceDataset
from ms_seg.data.numbering import IGNORED, listed, value_counts
from ms_seg.data.panoptic import VOID, PanopticDataset
from ms_seg.data.readings import batched, spread
from ms_seg.data.semantic import LabelledFolder, SemanticDataset

_SAMPLE = 100  # pictures that are read with their label files
_AHEAD = 64  # pictures that are read before they are counted
_MAX_NAMED = 8  # classes that a line lists by name
_MAX_ROWS = 30  # of the table of what is met
_NAMES_OF_NOTHING = ("void", "unlabeled", "unlabelled", "unknown", "ignored")

ALLOWED = ("missing-classes", "shared-pictures")  # what a person may allow that would be refused


def preflight(
    dataset: SemanticDataset,
    outputs: int,
    sample: int = _SAMPLE,
    learned: bool = True,
    allowed: Sequence[str] = (),
    table: bool = True,
) -> list[str]:
    """Read a sample of pictures and label maps, evenly from the first to the last, and describe the labels.

    Of a person's own dataset, all label files are read until every class is met.

    Args:
        outputs: how many classes the model tells apart.
        sample: how many pictures to read.
        learned: whether a model is to learn from it, not only to be scored on it.
        allowed: of ALLOWED; without "missing-classes", a class that no label file of a person's own shows is refused.
        table: whether the lines have one of the values.

    Returns: lines to print: the values and the number of classes, what is ignored, which classes were not met.

    Raises: ValueError, naming the file: for a picture or label file that cannot be read; for a label file of another
        size than its picture, with a value out of range or a class that the model has no output for; if everything is
        ignored; and for what a model cannot learn from, a single class.
    """
    indices = spread(range(len(dataset)), sample)
    seen = Seen(dataset, outputs)
    for index in indices:
        seen.add(index)
        if isinstance(dataset, LabelledFolder):
            dataset.picture(index)  # raises if it cannot be read
    if isinstance(dataset, LabelledFolder) and dataset.own:
        for more in batched(sorted(set(range(len(dataset))) - set(indices)), sample):
            if seen.counts[: len(dataset.label_set)].all():
                break
            for index in more:
                seen.add(index)
    check_contents(seen, learned, allowed)
    return seen.lines(table)


class Seen:
    """What was met in the label maps of a dataset."""

    def __init__(self, dataset: SemanticDataset, outputs: int):
        self.dataset, self.outputs = dataset, outputs
        self.files = dataset if isinstance(dataset, LabelledFolder) else None
        self.stored, self.counts, self.read = Distribution(), np.zeros(256, np.int64), 0

    def add(self, index: int) -> None:
        """Read a label map. Raises ValueError as `preflight` does."""
        self.update(index, self.look(index))

    def look(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of a label file and the label map (the latter twice where nothing is a file); any thread may."""
        if not self.files:
            label_map = self.dataset.label_map(index)
            return label_map, label_map
        values = self.files.values(index)
        return values, self.files.numbering.classes(values, self.files.label_file(index))

    def update(self, index: int, seen: tuple[np.ndarray, np.ndarray]) -> None:
        """Count what `look` saw. Raises ValueError for a class that the model has no output for."""
        values, label_map = seen
        if self.files:
            self.stored.add(values, self.files.label_file(index))
        found = value_counts(label_map)
        highest = int(np.flatnonzero(found[:IGNORED]).max(initial=-1))
        if highest >= self.outputs:
            raise ValueError(
                f"{source_of(self.dataset, index)} holds class {highest} ({self.dataset.label_set.names[highest]}), "
                f"but the model has {self.outputs} classes"
            )
        self.counts += found
        self.read += 1

    @property
    def missing(self) -> list[str]:
        """The classes that were not met."""
        return [name for name, count in zip(self.dataset.label_set.names, self.counts, strict=False) if not count]

    def lines(self, table: bool = True) -> list[str]:
        """What to print; see `preflight`."""
        classes = len(self.dataset.label_set)
        lines = [f"{len(self.dataset)} pictures, {classes} classes; labels of {self.read} read"]
        if self.files:
            lines += _numbering_lines(self.files, self.stored, _MAX_ROWS if table else 0)
        lines.append(f"{self.counts[IGNORED] / self.counts.sum():.1%} of the pixels are ignored")
        return lines + _missing_line(self.missing, classes) + _outputs_line(self.outputs, classes)


def look_at_all(seen: Seen, report: Callable[[str | None], None]) -> list[int]:
    """Read every picture of a dataset and its labels, on all cores, and count them.

    report: is told of each, in their order; of one that cannot be read the sentence why.
    Returns the indices of those that can be read.
    """
    dataset = seen.dataset

    def look(index: int) -> tuple[np.ndarray, np.ndarray] | str:
        try:
            dataset.picture(index)
            return seen.look(index)
        except (ValueError, OSError) as error:
            return str(error)

    whole = []
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for indices in batched(range(len(dataset)), _AHEAD):  # few label maps at a time are in memory
            for index, found in zip(indices, threads.map(look, indices), strict=True):
                if not isinstance(found, str):
                    whole.append(index)
                    seen.update(index, found)
                report(found if isinstance(found, str) else None)
    return whole


def check_splits(training: Any, validation: Any, allowed: Sequence[str] = ()) -> None:
    """Raise ValueError, naming both files, for a picture that is in the training and the validation split."""
    if "shared-pictures" in allowed:
        return
    by_size: dict[int, list[Path]] = {}
    for picture in _pictures(training):
        by_size.setdefault(picture.stat().st_size, []).append(picture)
    for picture in _pictures(validation):
        for other in by_size.get(picture.stat().st_size, ()):
            if _digest(other) == _digest(picture):
                raise ValueError(
                    f"{other} and {picture} are the same picture: what a model has learned from does not measure it; "
                    "take it out of one split, or pass --allow shared-pictures"
                )


def _pictures(dataset: Any) -> list[Path]:
    files = dataset if isinstance(dataset, LabelledFolder) else None
    return [files.paths(index)[0] for index in range(len(files))] if files else []


def _digest(file: Path) -> bytes:
    return hashlib.blake2b(file.read_bytes(), digest_size=16).digest()


def check_contents(seen: Seen, learned: bool = True, allowed: Sequence[str] = ()) -> None:
    """Raise ValueError where everything is ignored, and for what cannot be learned; see `preflight`."""
    if not seen.counts[:IGNORED].any():
        raise ValueError(
            f"{source_of(seen.dataset, 0)} and the other {seen.read - 1} label files read hold nothing that is not "
            f"ignored: there is nothing to {'learn from' if learned else 'score on'} them"
        )
    if learned and seen.files and seen.files.own:
        _check_learnable(seen.files, seen, allowed)


def _check_learnable(dataset: LabelledFolder, seen: Seen, allowed: Sequence[str]) -> None:
    """Raise ValueError where a person's own label files do not show two classes, or not all that the list names."""
    met, rule = np.flatnonzero(seen.counts[:IGNORED]), dataset.numbering.meaning
    if met.size == 1:
        raise ValueError(
            f"the {len(dataset)} label files in {dataset.annotations} show {dataset.label_set.names[met[0]]} and "
            f"nothing else ({rule}): there is nothing to tell it from"
        )
    if seen.missing and "missing-classes" not in allowed:
        raise ValueError(
            f"no label file of the {len(dataset)} in {dataset.annotations} shows {_named(seen.missing)} ({rule}), "
            "which cannot be learned then: take it out of the list of classes, or pass --allow missing-classes"
        )


def preflight_panoptic(dataset: PanopticDataset, outputs: int, sample: int = _SAMPLE) -> list[str]:
    """Read a sample of pictures and panoptic maps, evenly from the first to the last, and describe the segments.

    Args and returns: as `preflight`.

    Raises: ValueError for a picture or map that cannot be read or does not fit its annotation; for a segment of a class
        that the model has no output for; if there is nothing but void and crowds.
    """
    indices, classes = spread(range(len(dataset)), sample), len(dataset.label_set)
    segments, crowds, void, pixels = np.zeros(classes, np.int64), 0, 0, 0
    for index in indices:
        dataset.picture(index)  # raises if it cannot be read
        panoptic = dataset.panoptic(index)
        for segment in panoptic.segments:
            if segment.label >= outputs:
                raise ValueError(
                    f"{dataset.name(index)} holds class {segment.label} ({dataset.label_set.names[segment.label]}), "
                    f"but the model has {outputs} classes"
                )
            segments[segment.label] += not segment.iscrowd
            crowds += segment.iscrowd
        void += np.count_nonzero(panoptic.ids == VOID)
        pixels += panoptic.ids.size
    if not segments.any():
        raise ValueError(
            f"{dataset.name(indices[0])} and the other {len(indices) - 1} pictures read hold nothing but void and "
            f"crowds: there is nothing to learn from them"
        )
    things = sum(dataset.label_set.isthing)
    return [
        f"{len(dataset)} pictures, {things} classes of things and {classes - things} of stuff; {len(indices)} read",
        f"{segments.sum() / len(indices):.1f} segments a picture; {void / pixels:.1%} of the pixels are void",
        *([f"{crowds} crowds, which are no target"] if crowds else []),
        *_missing_line([n for n, s in zip(dataset.label_set.names, segments, strict=True) if not s], classes),
        *_outputs_line(outputs, classes),
    ]


def preflight_instance(dataset: InstanceDataset, outputs: int, sample: int = _SAMPLE) -> list[str]:
    """Read a sample of pictures and the masks of their things, evenly from the first to the last, and describe them.

    Args and returns: as `preflight`.

    Raises: ValueError for a picture or an outline that cannot be read; for a thing of a class that the model has no
        output for; if there is nothing but crowds.
    """
    indices, classes = spread(range(len(dataset)), sample), len(dataset.label_set)
    things, crowds = np.zeros(classes, np.int64), 0
    for index in indices:
        dataset.picture(index)  # raises if it cannot be read
        dataset.run_lengths(index)
        for thing in dataset.things(index):
            if thing.label >= outputs:
                name = dataset.label_set.names[thing.label]
                raise ValueError(
                    f"{dataset.name(index)} holds class {thing.label} ({name}), but the model has {outputs} classes"
                )
            things[thing.label] += not thing.iscrowd
            crowds += thing.iscrowd
    if not things.any():
        raise ValueError(f"the {len(indices)} pictures read hold no thing that is no crowd: there is nothing to learn")
    return [
        f"{len(dataset)} pictures, {classes} classes of things; {len(indices)} read",
        f"{things.sum() / len(indices):.1f} things a picture",
        *([f"{crowds} crowds, which are no target"] if crowds else []),
        *_missing_line([n for n, t in zip(dataset.label_set.names, things, strict=True) if not t], classes),
        *_outputs_line(outputs, classes),
    ]


def _missing_line(missing: Sequence[str], classes: int) -> list[str]:
    """Which classes were not met, if any."""
    which = f": {', '.join(missing)}" if len(missing) <= _MAX_NAMED else ""
    return [f"{len(missing)} of {classes} classes were not met in this sample{which}"] if missing else []


def _named(names: Sequence[str]) -> str:
    return listed(names) if len(names) <= _MAX_NAMED else f"{len(names)} of the classes"


def _outputs_line(outputs: int, classes: int) -> list[str]:
    """That the model has outputs without a class, if so."""
    return [f"the model has {outputs} outputs: no label asks for those from {classes} on"] if outputs > classes else []


def _numbering_lines(dataset: LabelledFolder, found: Distribution, rows: int) -> list[str]:
    """What the numbers found say about the numbering, and a table of them of at most so many rows, if any."""
    numbering, names = dataset.numbering, dataset.label_set.names
    values = [value for value in found.pixels if value != IGNORED or IGNORED in numbering.values]
    if not values:
        line = f"255 alone with {len(names)} classes: {numbering.meaning}"
    elif numbering.in_colour:
        line = f"{len(found.pixels)} colours with {len(names)} classes: {numbering.meaning}"
    else:
        shown = f"values {min(values)}..{max(values)}" + (" and 255" if set(found.pixels) > set(values) else "")
        reduced = "on" if numbering.zero_is_ignored else "off"
        line = f"{shown} with {len(names)} classes: {numbering.meaning}; reduce_zero_label is {reduced}"
    lines = [line, *(found.table([("class", numbering)], names, rows) if rows else [])]
    for name, number in zip(names, numbering.values, strict=True):
        if dataset.own and name.lower() in _NAMES_OF_NOTHING:
            text = numbering.text(number)
            line = f"a line '{text} ignore', and a value on the others,"
            how = f"--ignore-label {text}" if numbering.in_colour else line
            lines.append(f"{name} is a class like any other: {how} leaves it out")
    if not dataset.own and IGNORED in found.pixels and 0 in found.pixels and len(names) not in found.pixels:
        if numbering.zero_is_ignored:
            lines.append(
                f"255 occurs and {len(names)} does not: if these files were renumbered from 0 before, undo that"
            )
    return lines


def source_of(dataset: SemanticDataset, index: int) -> str:
    """The label file, or what is drawn, that a sentence is about."""
    return str(dataset.label_file(index)) if isinstance(dataset, LabelledFolder) else dataset.name(index)

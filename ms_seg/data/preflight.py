"""A look at a dataset before training, so that a wrong numbering stops a run instead of spoiling it."""

from __future__ import annotations

import numpy as np

from ms_seg.data.numbering import IGNORED, value_counts
from ms_seg.data.panoptic import VOID, PanopticDataset
from ms_seg.data.semantic import LabelledFolder, SemanticDataset, spread
from ms_seg.label_sets import LabelSet

_SAMPLE = 100  # pictures that are read with their label files
_MAX_NAMED = 8  # classes that a line lists by name


def preflight(dataset: SemanticDataset, outputs: int, sample: int = _SAMPLE) -> list[str]:
    """Read a sample of pictures and label maps, evenly from the first to the last, and describe the labels.

    Args:
        outputs: how many classes the model tells apart.
        sample: how many pictures to read.

    Returns: lines to print: the values and the number of classes, what is ignored, which classes were not met.

    Raises: ValueError, naming the file: for a picture or label file that cannot be read; for a label file of another
        size than its picture, with a value out of range or a class that the model has no output for; if everything is
        ignored.
    """
    indices = spread(range(len(dataset)), sample)
    files = dataset if isinstance(dataset, LabelledFolder) else None
    stored, counts = np.zeros(256, np.int64), np.zeros(256, np.int64)
    for index in indices:
        if files:
            values = files.values(index)
            stored += value_counts(values)
            label_map = files.numbering.classes(values, files.label_file(index))
            files.picture(index)  # raises if it cannot be read
        else:
            label_map = dataset.label_map(index)
        found = value_counts(label_map)
        highest = int(np.flatnonzero(found[:IGNORED]).max(initial=-1))
        if highest >= outputs:
            raise ValueError(
                f"{_source(dataset, index)} holds class {highest} ({dataset.label_set.names[highest]}), "
                f"but the model has {outputs} classes"
            )
        counts += found
    if not counts[:IGNORED].any():
        raise ValueError(
            f"{_source(dataset, indices[0])} and the other {len(indices) - 1} label files read hold nothing that is "
            f"not ignored: there is nothing to learn from them"
        )
    classes = len(dataset.label_set)
    lines = [f"{len(dataset)} pictures, {classes} classes; labels of {len(indices)} read"]
    if files:
        lines += _numbering_lines(files, np.flatnonzero(stored))
    lines.append(f"{counts[IGNORED] / counts.sum():.1%} of the pixels are ignored")
    return lines + _missing_line(dataset.label_set, counts) + _outputs_line(outputs, classes)


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
        *_missing_line(dataset.label_set, segments),
        *_outputs_line(outputs, classes),
    ]


def _missing_line(label_set: LabelSet, counts: np.ndarray) -> list[str]:
    """Which classes were not met, if any."""
    missing = [name for name, count in zip(label_set.names, counts, strict=False) if not count]
    which = f": {', '.join(missing)}" if len(missing) <= _MAX_NAMED else ""
    return [f"{len(missing)} of {len(label_set)} classes were not met in this sample{which}"] if missing else []


def _outputs_line(outputs: int, classes: int) -> list[str]:
    """That the model has outputs without a class, if so."""
    return [f"the model has {outputs} outputs: no label asks for those from {classes} on"] if outputs > classes else []


def _numbering_lines(dataset: LabelledFolder, values: np.ndarray) -> list[str]:
    """What the values found say about the numbering."""
    numbering, classes = dataset.numbering, len(dataset.label_set)
    shown = values[values != IGNORED]
    found = f"values {shown.min()}..{shown.max()}" + (" and 255" if IGNORED in values else "")
    if not numbering.zero_is_ignored:
        lines = [f"{found} with {classes} classes: {numbering.meaning}; reduce_zero_label is off"]
        if 0 not in values:
            lines.append(f"0 ({dataset.label_set.names[0]}) was not met: if these files count from 1, this is wrong")
        return lines
    if 0 in values:
        lines = [f"{found} with {classes} classes: this is ADE20K's numbering, reduce_zero_label is on (0 is ignored)"]
    else:
        lines = [f"{found} with {classes} classes: numbered from 1, reduce_zero_label is on"]
    if IGNORED in values and 0 in values and classes not in values:
        lines.append(f"255 occurs and {classes} does not: if these files were renumbered from 0 before, undo that")
    return lines


def _source(dataset: SemanticDataset, index: int) -> str:
    return str(dataset.label_file(index)) if isinstance(dataset, LabelledFolder) else dataset.name(index)

"""The classes of transformers' config.json, which stand there as a table of numbers and names.

Source: transformers 4.57 PretrainedConfig.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from convert.reading.entry import shown
from ms_seg.checkpoints.fields import MAX_COUNT, Fields, brief
from ms_seg.checkpoints.metadata import named_labels
from ms_seg.label_sets import LabelSet, numbered_labels

_NUMBER = re.compile("[0-9]{1,6}")
_MAX_SHOWN = 8


def num_classes(config: Fields) -> dict[str, int]:
    """Of a file that says it: by its names, or by their number. The classes of one that does not are in its weights."""
    count = count_classes(config)
    return {} if count is None else {"num_classes": count}


def count_classes(config: Fields) -> int | None:
    names = config.values.get("id2label")
    count = len(names) if isinstance(names, dict) else config.values.get("num_labels")
    if count is not None and (type(count) is not int or not 0 < count <= MAX_COUNT):
        raise config.error("num_labels", f"{shown(str(count))}: it must be a number of classes")
    return count


def read_labels(config: Fields) -> tuple[str | LabelSet | None, tuple[str, ...]]:
    """The classes that a file names: a published label set where they are one's, or None where they have no names; and
    what a person is to be told of them.

    As in transformers there are as many outputs as names, each with the name of its own number: where numbers are left
    out, an output may have no name and a name no output.
    """
    names = config.values.get("id2label")
    if names is None:
        return None, ()
    if not isinstance(names, dict):
        raise config.error("id2label", f"{brief(names)}: it must be a table of the classes' numbers and names")
    kept = ((key, name) for key, name in names.items() if _NUMBER.fullmatch(key) and isinstance(name, str | int))
    table = {int(key): str(name).strip() for key, name in kept}
    count = len(names)
    if len(table) != count:
        raise config.error("id2label", f"a table of {count} entries: each must be a number with a name")
    if all(name == f"LABEL_{index}" for index, name in table.items()):
        return None, ()
    rows = [table.get(index, unnamed) for index, unnamed in enumerate(numbered_labels(count).names)]
    return named_labels(rows, f"{config.title} (id2label)"), _gaps(config, table)


def _gaps(config: Fields, table: Mapping[int, str]) -> tuple[str, ...]:
    """What is to be said of names whose numbers are not those of the outputs."""
    beyond = ", ".join(f"{name} ({index})" for index, name in table.items() if index >= len(table))
    if not beyond:
        return ()
    missing = ", ".join([str(index) for index in range(len(table)) if index not in table][:_MAX_SHOWN])
    return (
        f"{config.title} has {len(table)} names in id2label and, as in transformers, so many outputs: there is no name "
        f"for output {missing}, and {shown(beyond)} is of no output",
    )

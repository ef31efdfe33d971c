"""What a checkpoint says of itself beside its tensors: texts that `describe` writes and the `noted_*` functions read.

    model          the preset's name
    arithmetic     what shapes cannot tell, by the preset's names for it: epsilons, numbers of heads, the spatial block
    preprocessing  the fields of `Preprocessing`
    ask_task       true where nobody knows which of the tasks the weights were trained for
    tasks          what the weights were trained to answer, such as "semantic", the first of them by default
    window         the fields of `Window`, null for inputs that are looked at at once
    labels         a published label set's name, or null, or [name, "#rrggbb"] for each output; where things are told
                   from stuff [name, "#rrggbb", true for a thing, what annotations call it]
    label_values   how the label files were numbered that the weights learned from: the values of the classes, what is
                   ignored, whether they are colours, and the rule in words; nothing where a dataset's name says it

A file is anybody's: what is read is checked, and whatever is wrong with it is a CheckpointError in one sentence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from convert import CheckpointError
from convert.reading.entry import shown
from ms_seg.label_sets import LabelSet, check_names, known_labels, numbered_labels, read_labels
from ms_seg.presets import MAX_SIDE, RESIZES, TASKS, Preprocessing, Preset, Window

_MAX_CHARACTERS = 1 << 20  # of one text: 254 names of 200 characters take 60,000
_MAX_FLOAT = 3e38  # of float32
_EPSILONS = ("norm_eps", "conv_norm_eps")
_WORDS = ("head_block", "activation", "concat_order")
_FLAGS = ("add_query",)
_COUNTS = {"block_depth": 100} | dict.fromkeys(
    ("heads", "strides", "text_heads", "decoder_heads", "deform_heads", "points"), 1024
)  # at most
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_MAX_ID = 2**31 - 1


def describe(preset: Preset, part: str = "") -> dict[str, str]:
    """What a file of this model says of itself; that of a part, such as a backbone, nothing of pictures and classes."""
    arithmetic = {key: preset.sizes[key] for key in preset.arithmetic if key in preset.sizes}
    notes = {"model": preset.name, "arithmetic": json.dumps(arithmetic)}
    if not part:
        notes["preprocessing"] = json.dumps(asdict(preset.preprocessing))
        notes["tasks"] = json.dumps(preset.tasks)
        notes["window"] = json.dumps(asdict(preset.window) if preset.window else None)
        if preset.ask_task:
            notes["ask_task"] = json.dumps(True)
        notes["labels"] = json.dumps(_rows(preset.label_set))
        if preset.label_values is not None:
            notes["label_values"] = json.dumps(preset.label_values)
    return notes


def noted_arithmetic(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Constructor arguments that came with the weights; none where nothing is noted."""
    values = _read(metadata, "arithmetic", {})
    if not isinstance(values, dict):
        raise _wrong("arithmetic", "it must be a table")
    for key, value in values.items():
        if key in _WORDS:
            if type(value) is not str:
                raise _wrong("arithmetic", f"{shown(key)} must be a word")
        elif key in _FLAGS:
            if type(value) is not bool:
                raise _wrong("arithmetic", f"{shown(key)} must be true or false")
        elif key in _COUNTS:
            counts = value if key in ("heads", "strides") and isinstance(value, list) else [value]
            if not counts or not all(type(count) is int and 1 <= count <= _COUNTS[key] for count in counts):
                raise _wrong("arithmetic", f"{shown(key)} must be 1 to {_COUNTS[key]}")
        elif key not in _EPSILONS or not _is_number(value) or not 0 < value < 1:
            raise _wrong("arithmetic", f"{shown(key)} must be an epsilon between 0 and 1")
    return values


def noted_preprocessing(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Fields of the Preprocessing that the weights were validated with; none where nothing is noted."""
    values = _read(metadata, "preprocessing", {})
    if not isinstance(values, dict):
        raise _wrong("preprocessing", "it must be a table")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    some = Preprocessing(RESIZES[0])
    kinds = {key: type(value) for key, value in asdict(some).items()}
    for key, value in values.items():
        kind = kinds.get(key)
        if type(value) is not kind or (kind is tuple and not all(map(_is_number, value))):
            raise _wrong("preprocessing", f"{shown(key)} is no field of it, or of another type")
    try:
        replace(some, **values)
    except ValueError as error:
        raise _wrong("preprocessing", str(error)) from None
    return values


def noted_tasks(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The preset's fields `tasks` and `ask_task`; nothing where nothing is noted."""
    tasks = _read(metadata, "tasks", None)
    if tasks is None:
        return {}
    if not isinstance(tasks, list) or not tasks or any(task not in TASKS for task in tasks):
        raise _wrong("tasks", f"it must list some of {', '.join(TASKS)}")
    asks = {"ask_task": True} if _read(metadata, "ask_task", False) is True else {}
    return {"tasks": tuple(tasks), **asks}


def noted_window(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The preset's field `window`; nothing where nothing is noted."""
    if "window" not in metadata:
        return {}
    values = _read(metadata, "window", None)
    if values is None:
        return {"window": None}
    across = values.pop("across", None) if isinstance(values, dict) else None
    kinds = {"crop": int, "stride": int, "exact": bool}
    if not isinstance(values, dict) or {key: type(value) for key, value in values.items()} != kinds:
        raise _wrong("window", "it must be a table of crop, stride and exact")
    if across is not None:
        if not isinstance(across, list) or [type(side) for side in across] != [int, int]:
            raise _wrong("window", "its across must be a crop and a stride")
        values["across"] = tuple(across)
    if max([values["crop"], *values.get("across", ())]) > MAX_SIDE:
        raise _wrong("window", f"its crop must be at most {MAX_SIDE}")
    try:
        return {"window": Window(**values)}
    except ValueError as error:
        raise _wrong("window", str(error)) from None


def noted_label_values(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The preset's field `label_values`; nothing where nothing is noted."""
    record = _read(metadata, "label_values", None)
    if record is None:
        return {}
    if not isinstance(record, dict) or record.keys() != {"values", "ignored", "meaning", "in_colour"}:
        raise _wrong("label_values", "it must be a table of values, ignored, meaning and in_colour")
    for key in ("values", "ignored"):
        numbers = record[key]
        if not isinstance(numbers, list) or not all(type(n) is int and 0 <= n < 1 << 24 for n in numbers):
            raise _wrong("label_values", f"its {key} must list numbers of label files")
    if not isinstance(record["meaning"], str) or not isinstance(record["in_colour"], bool):
        raise _wrong("label_values", "its meaning must be text and its in_colour true or false")
    return {"label_values": record}


def noted_labels(metadata: Mapping[str, str], told: int | None) -> str | LabelSet | None:
    """The classes of a file whose model tells so many apart (None: unknown): what `Preset.label_set` can be.

    None also where nothing is noted.
    """
    rows = _read(metadata, "labels", None)
    if rows is None:
        return None
    labels = _published(rows) if isinstance(rows, str) else _own(rows)
    # A published model may have outputs that no class has, as EasyCV's 172nd.
    if told is not None and (len(labels) > told if isinstance(rows, str) else len(labels) != told):
        raise _wrong("labels", f"it has {len(labels)} classes, and the model {told}")
    return rows if isinstance(rows, str) else labels


def recorded_labels(metadata: Mapping[str, str]) -> str | LabelSet | None:
    """The classes of "CLASSES" and "PALETTE", which `convert` reads of mmcv's and mmengine's checkpoints: a published
    label set's name where they are one's; None where there are none. Names that will not do are a CheckpointError."""
    rows, colours = _read(metadata, "CLASSES", None), _read(metadata, "PALETTE", None)
    if not isinstance(rows, list) or not rows or not all(isinstance(row, str) for row in rows):
        return None
    labels = named_labels(rows, "the checkpoint's note on its classes")
    try:
        palette = np.array(colours, np.uint8)
    except (TypeError, ValueError, OverflowError):
        return labels
    if isinstance(labels, LabelSet) and palette.shape == (len(rows), 3):
        return replace(labels, palette=palette)
    return labels


def named_labels(names: Sequence[str], source: str) -> str | LabelSet:
    """Classes of these names, which may be a published label set's; of equal names, the second is told from the first
    by its number. Raises CheckpointError, beginning with the source, for names that will not do."""
    met: dict[str, None] = {}
    for index, name in enumerate(name.strip() for name in names):
        met[f"{name} ({index})" if name in met else name] = None
    if (known := known_labels(tuple(met))) is not None:
        return known
    try:
        check_names(tuple(met), source)
    except ValueError as error:
        raise CheckpointError(f"{error}.") from None
    return LabelSet(tuple(met), numbered_labels(len(names)).palette)


def _rows(labels: str | LabelSet | None) -> str | list[list[Any]] | None:
    if labels is None or isinstance(labels, str):
        return labels
    colours = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in labels.palette.tolist()]
    columns: list[Sequence[Any]] = [labels.names, colours]
    columns += [labels.things, labels.numbers] if labels.things else []
    return [list(row) for row in zip(*columns, strict=True)]


def _published(name: str) -> LabelSet:
    try:
        return read_labels(name)
    except ValueError as error:
        raise _wrong("labels", str(error)) from None


def _own(rows: Any) -> LabelSet:
    if not isinstance(rows, list) or not rows:
        raise _wrong("labels", "it is neither a name nor a list of classes")
    lengths = {len(row) if isinstance(row, list) else 0 for row in rows}
    if lengths not in ({2}, {4}):
        raise _wrong(
            "labels", "a class in it is not a name and a colour, nor all of them these with a kind and a number"
        )
    names, colours, *kinds = zip(*rows, strict=True)
    if not all(isinstance(text, str) for text in (*names, *colours)):
        raise _wrong("labels", "a class in it is not a name and a colour")
    if not all(map(_COLOUR.fullmatch, colours)):
        raise _wrong("labels", "a colour in it is not written as #rrggbb")
    try:
        check_names(names, "it")
    except ValueError as error:
        raise _wrong("labels", str(error)) from None
    palette = np.array([list(bytes.fromhex(colour[1:])) for colour in colours], np.uint8)
    if not kinds:
        return LabelSet(names, palette)
    _check_kinds(*kinds)
    return LabelSet(names, palette, *kinds)


def _check_kinds(things: tuple[Any, ...], ids: tuple[Any, ...]) -> None:
    if not all(isinstance(thing, bool) for thing in things):
        raise _wrong("labels", "it does not say of every class whether it is a thing")
    if not all(type(number) is int and 0 <= number <= _MAX_ID for number in ids):
        raise _wrong("labels", f"the number of a class in it is none from 0 to {_MAX_ID}")
    if len(set(ids)) < len(ids):
        raise _wrong("labels", "two classes in it have the same number")


def _read(metadata: Mapping[str, str], key: str, absent: Any) -> Any:
    text = metadata.get(key)
    if text is None:
        return absent
    if len(text) > _MAX_CHARACTERS:
        raise _wrong(key, f"it has {len(text)} characters")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong(key, f"it is no JSON ({error})") from None


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _MAX_FLOAT  # NaN is not


def _wrong(key: str, problem: str) -> CheckpointError:
    problem = problem if len(problem) <= 300 else problem[:297] + "..."  # it may quote the file
    return CheckpointError(f"the checkpoint's note on its {key} cannot be used: {problem}")

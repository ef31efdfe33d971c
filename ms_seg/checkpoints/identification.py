"""Which model a checkpoint is, by its keys and shapes, and by what is said of it in it and beside it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from convert import CheckpointError
from convert.layouts.row import NATIVE
from convert.plan import Source
from ms_seg.checkpoints.metadata import (
    noted_arithmetic,
    noted_label_values,
    noted_labels,
    noted_preprocessing,
    noted_tasks,
    noted_window,
    recorded_labels,
)
from ms_seg.checkpoints.modelscope import read_modelscope
from ms_seg.checkpoints.notes import Notes
from ms_seg.checkpoints.openmmlab.config import read_recorded
from ms_seg.checkpoints.smp import read_smp
from ms_seg.checkpoints.transformers.config import read_transformers
from ms_seg.label_sets import OBJECT, LabelSet, labels_of, with_background
from ms_seg.presets import PRESETS, Preset, Window, find_preset, nearest_preset, preset_for

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def identify(
    source: Source,
    metadata: Mapping[str, str],
    name: str = "auto",
    overrides: Mapping[str, Any] = _NOTHING,
    beside: Notes | None = None,
) -> Preset:
    """The preset of a checkpoint with the arithmetic that its weights were trained in, and with these overrides.

    Keys and shapes tell the structure. The arithmetic that shapes cannot tell comes from the layout, or from what
    `metadata.describe` wrote into a file of ours, as do the preprocessing, tasks and labels of a model that was trained
    here. beside: what the folder says that the checkpoint is in; then the model need not be a published one.

    Raises ValueError when no published model has these shapes or several have, CheckpointError for a model of
    another system than the file's, for metadata that cannot be used, and where a folder contradicts its weights.
    """
    native = source.layout.name == NATIVE
    notes = beside or Notes()
    arithmetic = {**(source.layout.arithmetic or noted_arithmetic(metadata)), **notes.arithmetic}
    if name != "auto":
        preset = find_preset(name)
        if "backbone" in overrides:
            preset = preset.override(backbone=overrides["backbone"])
        if source.layout.system and preset.system != source.layout.system:
            raise CheckpointError(f"the file holds {source.layout.title}: {preset.name} is a {preset.system}")
        check_part(source, preset)
    elif native and metadata.get("model") in PRESETS:
        preset = _own_preset(source, PRESETS[metadata["model"]], arithmetic)
    elif notes.arguments:
        preset = _described(source, notes)
    else:
        preset = _published(source, metadata if not notes.model else {"model": notes.model})
    preset = _with_arithmetic(preset, source, arithmetic)
    noted = dict(notes.fields)
    if native:
        noted = {**noted_preprocessing(metadata), **noted_tasks(metadata), **noted_window(metadata)}
        noted |= noted_label_values(metadata)
    if "tasks" in overrides:  # a model may learn again what a file no longer answers
        noted = {field: value for field, value in noted.items() if field not in ("tasks", "ask_task")}
    preset, noted = _with_tasks(preset, noted, named=name != "auto")
    if not native and source.arguments.get("num_classes") == 1:
        noted.setdefault("threshold", source.layout.threshold)
    if "window" in noted:  # before the overrides, of which one of that name may be Swin's
        preset = preset.override(window=_window(preset, noted.pop("window"), native))
    preset = preset.override(**{**noted, **overrides})
    labels, outputs = told_labels(source, metadata, notes, preset.output), source.arguments.get("num_classes")
    if preset.num_classes != outputs and "label_values" not in overrides:  # which are those of other classes
        preset = preset.override(label_values=None)
    if preset.told_apart != preset.num_classes == outputs and preset.label_set is None:
        labels = labels or OBJECT
    if labels is None or "label_set" in overrides or preset.num_classes != outputs:
        return preset
    return preset.override(label_set=labels)


def _with_tasks(preset: Preset, noted: Mapping[str, Any], named: bool) -> tuple[Preset, dict[str, Any]]:
    """What a model was trained to answer is said by a file or folder, and where neither knows it, by the name that a
    person gives the model: the preset, and what of the notes is left for it."""
    fields = dict(noted)
    tasks = fields.pop("tasks", None)
    if tasks is None:
        return preset, fields
    if not named:
        return replace(preset, tasks=tasks), fields
    if fields.pop("ask_task", False) or not set(tasks) <= set(preset.tasks):
        return preset, fields
    return preset.override(tasks=tasks), fields


def _window(preset: Preset, window: Window | None, native: bool) -> Window | None:
    """A window that is noted; others' notes do not know that some networks take windows of one size alone."""
    if native or preset.window is None or not preset.window.exact:
        return window
    return replace(window, exact=True) if window else preset.window


def notes_beside(source: Source, folder: Path | None, metadata: Mapping[str, str]) -> Notes:
    """What the folder of a checkpoint says of it, or a configuration that it records; nothing for one of ours, which
    describes itself.

    Raises CheckpointError where it cannot be used, and where it contradicts the weights.
    """
    if source.layout.name == NATIVE:
        return Notes()
    notes = (_of_folder(folder) if folder else None) or read_recorded(metadata) or Notes()
    if part_of(source):  # of the whole network that is described, a part has the arithmetic alone
        return Notes(notes.title, arithmetic=notes.arithmetic, blue_first=notes.blue_first)
    _check_notes(notes, source)
    return notes


def _of_folder(folder: Path) -> Notes | None:
    """What the configurations of a folder say: transformers' or segmentation_models.pytorch's before ModelScope's."""
    notes = read_transformers(folder) or read_smp(folder)
    if notes is None:
        return read_modelscope(folder)
    try:
        other = read_modelscope(folder)
    except CheckpointError as error:
        return notes.having(lines=(*notes.lines, f"{notes.title} is followed, and not another beside it: {error}"))
    if other is None or not (keys := _contradictions(notes, other)):
        return notes
    line = f"{notes.title} is followed, and not {other.title}, which says other {', '.join(keys)}"
    return notes.having(lines=(*notes.lines, line))


def _contradictions(notes: Notes, other: Notes) -> list[str]:
    """What two descriptions of one model both say, and not alike."""
    tables = []
    for said in (notes, other):
        system = said.system or (find_preset(said.model).system if said.model else None)
        labels = labels_of(said.labels)
        tables.append(
            {
                "system": system,
                "backbone": said.backbone[0] if said.backbone else None,
                "classes": labels.names if labels else None,
                **(said.backbone[1] if said.backbone else {}),
                **said.arguments,
                **said.fields,
            }
        )
    ours, theirs = tables
    return [key for key, value in theirs.items() if None not in (value, ours.get(key)) and ours[key] != value]


def part_of(source: Source) -> str:
    """What of a model a file holds, such as "backbone"; empty for all of it."""
    return source.layout.covers.rstrip(".") or ("network without its classifier" if source.layout.lacks else "")


def check_part(source: Source, preset: Preset) -> None:
    """Raise CheckpointError for a backbone that is not the model's."""
    if part_of(source) and source.backbone and source.backbone[0] != preset.backbone[0]:
        raise CheckpointError(
            f"the file holds {source.layout.title}: {preset.name} has the backbone {preset.backbone[0]}"
        )


def _published(source: Source, metadata: Mapping[str, str]) -> Preset:
    """The published model that a file holds, or the first one that it holds a part of."""
    layout, name = source.layout, metadata.get("model", "")
    if source.backbone is None and not layout.covers:
        raise CheckpointError(
            f"the file holds {layout.title} without tensors of its backbone: is it one part of several?"
        )
    part = layout.title if part_of(source) else ""
    return preset_for(layout.system, source.backbone, source.arguments, name, part, layout.found_at)


def _check_notes(notes: Notes, source: Source) -> None:
    """Raise CheckpointError where notes contradict the weights."""
    if notes.system and notes.system != source.layout.system:
        raise CheckpointError(f"{notes.title} describes a {notes.system}, and its weights are {source.layout.title}.")
    if notes.model:
        row, kind = find_preset(notes.model), source.backbone[0] if source.backbone else ""
        if (row.system, row.backbone[0]) != (source.layout.system, kind):
            raise CheckpointError(
                f"{notes.title} is {row.name}'s, and its weights are {source.layout.title}, on {kind}."
            )
    said, found = dict(notes.arguments), dict(source.arguments)
    if notes.backbone and source.backbone:
        said |= {"backbone": notes.backbone[0], **notes.backbone[1]}
        found |= {"backbone": source.backbone[0], **source.backbone[1]}
    for key, value in said.items():
        if key in found and found[key] != value:
            raise CheckpointError(f"{notes.title} says {key}={value}, and its weights have {key}={found[key]}.")


def _described(source: Source, notes: Notes) -> Preset:
    """The model that a folder describes, with what it does not say from the published one that comes nearest."""
    kind, sizes = notes.backbone or source.backbone or ("", {})
    arguments = {**source.arguments, **notes.arguments}
    try:
        row = _published(source, {})
    except ValueError:  # none, or several
        row = nearest_preset(source.layout.system, kind, {**sizes, **arguments})
    rest = row.backbone[1] if row.backbone[0] == kind else {}
    labels = row.label_set if row is notes.published else None  # which of a model's own classes nobody knows
    return row.override(backbone=(kind, {**rest, **sizes}), label_set=labels, **arguments)


def _own_preset(source: Source, row: Preset, arithmetic: Mapping[str, Any]) -> Preset:
    """The row that a file of ours names, with the sizes that its shapes tell: any of them may have been overridden."""
    if row.system != source.layout.system:
        return _published(source, {})
    changes = {key: value for key, value in source.arguments.items() if row.arguments[key] != value}
    if source.backbone:
        kind, sizes = source.backbone
        heads = {"heads": arithmetic["heads"]} if "heads" in arithmetic else {}
        changes["backbone"] = (kind, {**(row.backbone[1] if kind == row.backbone[0] else heads), **sizes})
    return row.override(**changes)


def _with_arithmetic(preset: Preset, source: Source, arithmetic: Mapping[str, Any]) -> Preset:
    """The preset with what comes with the weights; of a backbone also what its row leaves at the default."""
    preset = preset.override(**{key: value for key, value in arithmetic.items() if key in preset.sizes})
    name, sizes = preset.backbone
    if source.backbone and source.backbone[0] == name and source.layout.arithmetic:
        return preset.override(backbone=(name, {**sizes, **source.layout.arithmetic}))
    return preset


def told_labels(source: Source, metadata: Mapping[str, str], notes: Notes, output: str) -> str | LabelSet | None:
    """The classes that a file of ours, a folder, or mmcv's or mmengine's meta say a model tells apart. output: the
    preset's."""
    outputs = source.arguments.get("num_classes")
    told = 2 if outputs == 1 and output == "logits" else outputs  # background and object
    if source.layout.name == NATIVE:  # another's "labels" could be anything
        return noted_labels(metadata, told)
    labels = notes.labels or recorded_labels(metadata)
    if isinstance(labels, LabelSet) and notes.things is not None:
        labels = replace(labels, things=tuple(index < notes.things for index in range(len(labels))))
    known = labels_of(labels)
    if known is None or told is None:
        return None
    if told != outputs and len(known) == 1:
        return with_background(known)
    # A published model may have outputs that no class has, as EasyCV's 172nd.
    if len(known) == told or (isinstance(labels, str) and len(known) < told):
        return labels
    logging.getLogger("ms_seg").warning(
        "the %d class names that came with the weights are not used: the model tells %d apart", len(known), told
    )
    return None

"""From a checkpoint to a model: which preset a file holds, and where each of its tensors goes."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mindspore import Tensor, nn
from mindspore.nn.utils import no_init_parameters

from convert import CheckpointError, open_checkpoint
from convert.layouts.row import NATIVE
from convert.plan import Plan, Source
from convert.reading import Checkpoint
from convert.recognition import recognise
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
from ms_seg.hub import on_this_machine
from ms_seg.label_sets import OBJECT, LabelSet, labels_of, with_background
from ms_seg.presets import PRESETS, Preset, Window, find_preset, nearest_preset, preset_for
from ms_seg.systems import Model, build

Shapes = Mapping[str, tuple[int, ...]]

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Match:
    """A checkpoint and the model that it is for.

    model: has its names and shapes, and no numbers yet. plan: from the file's tensors to the model's parameters. part:
    what of the model the file holds, such as "backbone"; empty for all of it. notes: what is said beside the tensors.
    fresh: parameters of the classifier that are not taken from the file, and other_classes why not.
    """

    source: Source
    preset: Preset
    model: Model
    plan: Plan
    part: str
    notes: Notes
    fresh: frozenset[str] = frozenset()
    other_classes: str = ""

    @property
    def lines(self) -> list[str]:
        """What a person is to be told of the model."""
        return [*self.notes.lines, *_advice(self.preset, self.notes)]


@dataclass(frozen=True)
class Choice:
    """What of a checkpoint is the model. weights: of several sets, which; drop: patterns of names that are not its."""

    weights: str = ""
    drop: tuple[str, ...] = ()


def match(
    tensors: Checkpoint,
    name: str = "auto",
    overrides: Mapping[str, Any] = _NOTHING,
    fine_tune: bool = False,
    chosen: Choice = Choice(),  # noqa: B008, it cannot change
) -> Match:
    """What an open checkpoint is for, by a model's name or, for "auto", by what the file holds.

    Raises CheckpointError for a file of no known layout or of another system, and for metadata that cannot be used;
    ValueError where the name, or what the file can be, is not clear. Whether all tensors fit, the plan says.
    """
    source = recognise(tensors, "" if tensors.taken == chosen.weights else chosen.weights, chosen.drop)
    notes = notes_beside(source, tensors.folder, tensors.metadata)
    if _of_run(tensors):
        notes = notes.having(lines=(f"of the run's checkpoints {tensors.file} is taken", *notes.lines))
    preset = identify(source, tensors.metadata, name, overrides, notes)
    model = outline(preset)
    shapes, fresh = shapes_of(model), frozenset[str]()
    other_classes = _other_classes(source, tensors.metadata, preset, notes) if fine_tune else ""
    if other_classes:
        shapes, fresh = classifier_of(preset, source.arguments["num_classes"])
    plan = source.plan(shapes)
    plan = plan if plan.complete else replace(plan, hint=_hint(source, preset))
    return Match(source, preset, model, plan, _part(source), notes, fresh, other_classes)


def load_model(
    name: str,
    checkpoint: str | os.PathLike[str],
    overrides: Mapping[str, Any] = _NOTHING,
    fine_tune: bool = False,
    chosen: Choice = Choice(),  # noqa: B008, it cannot change
) -> Model:
    """The model of that name, or of the file's own kind for "auto", with the file's weights. See `create_model`."""
    name, checkpoint = on_this_machine(name, checkpoint)
    with open_checkpoint(checkpoint, chosen.weights) as tensors:
        found = match(tensors, name, overrides, fine_tune, chosen)
        if name == "auto":
            _check_whole(found, checkpoint)
        _take_over(found.model, found.plan, tensors, checkpoint, found.fresh)
        file = tensors.file if _of_run(tensors) else None
    found.model.init_parameters_data()  # whatever was not taken from the checkpoint
    found.model.checkpoint = os.fspath(file or checkpoint)
    log = logging.getLogger("ms_seg")
    for line in (*_choices(found.source, tensors), *found.lines):
        log.warning("%s: %s", checkpoint, line)
    if found.part:
        log.warning("%s fills the %s; the rest is freshly initialised", checkpoint, found.part)
    if found.other_classes:
        log.warning(
            "%s %s: the classifier (%s) is freshly initialised; everything else is taken over",
            checkpoint, found.other_classes, ", ".join(sorted(found.fresh)),
        )  # fmt: skip
    return found.model


def _of_run(tensors: Checkpoint) -> bool:
    """Whether a folder was opened whose weights are in a folder of its own, as a training's are."""
    return tensors.folder is not None and tensors.file is not None and tensors.file.parent != tensors.folder


def preset_of(checkpoint: str | os.PathLike[str], chosen: Choice) -> Preset:
    """The preset of the model that a file holds. Raises as `load_model` does for "auto"."""
    with open_checkpoint(checkpoint, chosen.weights) as tensors:
        found = match(tensors, chosen=chosen)
    _check_whole(found, checkpoint)
    return found.preset


def _check_whole(found: Match, checkpoint: str | os.PathLike[str]) -> None:
    """Raise ValueError for a file that holds a part alone: it can be any model's."""
    if found.part:
        raise ValueError(f"{checkpoint} holds a {found.part} alone: name the model that it is meant for (--model)")


def _choices(source: Source, tensors: Checkpoint) -> list[str]:
    """What was decided for a person who may have meant something else, a line each."""
    lines = [f"{source.prefix} was taken off the names"] if source.prefix else []
    if tensors.others:
        lines.append(f"of several sets of weights {tensors.taken}; --weights {tensors.others[0]} for others")
    by_reason: dict[str, list[str]] = {}
    for name, reason in source.dropped.items():
        by_reason.setdefault(reason, []).append(name)
    return lines + [f"dropped {len(names)} ({names[0]}, ...): {reason}" for reason, names in by_reason.items()]


def _advice(preset: Preset, notes: Notes) -> list[str]:
    """Which options give the published score, where a folder asks for pictures of another size."""
    row, keys = notes.published, ("resize", "short_side", "long_side", "pad_multiple")
    if row is None or not row.score:
        return []
    own, wanted = asdict(preset.preprocessing), asdict(row.preprocessing)
    if all(own[key] == wanted[key] for key in keys):
        return []
    options = " ".join(f"--override {key}={wanted[key]}" for key in keys)
    way = f"{own['resize']}, {own['short_side']}"
    return [f"pictures are resized as the folder says ({way}); the published {row.score} takes {options}"]


def load_part(model: Model, checkpoint: str | os.PathLike[str]) -> None:
    """Put the weights of a file that holds a part of a model, such as a text transformer, into that part.

    Raises CheckpointError for a file that cannot be read, holds a whole model or does not fit.
    """
    _, checkpoint = on_this_machine("auto", checkpoint)
    with open_checkpoint(checkpoint) as tensors:
        source = recognise(tensors)
        part = _part(source)
        if not part:
            raise CheckpointError(
                f"{checkpoint} must hold a part of a model, such as its backbone: it holds a whole one"
            )
        _check_part(source, model.preset)
        _take_over(model, source.plan(shapes_of(model)), tensors, checkpoint)
    logging.getLogger("ms_seg").warning("%s fills the %s", checkpoint, part)


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
        _check_part(source, preset)
        if not _part(source) and preset.system != source.layout.system:
            raise CheckpointError(f"the file holds {source.layout.title}: {preset.name} is a {preset.system}")
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
    labels, outputs = _labels(source, metadata, notes, preset.output), source.arguments.get("num_classes")
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
    notes = (read_transformers(folder) or read_smp(folder) or read_modelscope(folder)) if folder else None
    notes = notes or read_recorded(metadata) or Notes()
    if _part(source):  # of the whole network that is described, a part has the arithmetic alone
        return Notes(notes.title, arithmetic=notes.arithmetic)
    _check_notes(notes, source)
    return notes


def outline(preset: Preset) -> Model:
    """The network without numbers in its parameters: drawing those of B5 only to overwrite them takes 5 s."""
    with no_init_parameters():
        return build(preset)


def classifier_of(preset: Preset, num_classes: int) -> tuple[dict[str, tuple[int, ...]], frozenset[str]]:
    """The model with another number of classes: its names and shapes, and the names of those that depend on it."""
    shapes, others = (shapes_of(outline(preset.override(num_classes=n))) for n in (num_classes, num_classes + 1))
    return shapes, frozenset(name for name, shape in shapes.items() if others[name] != shape)


def shapes_of(model: nn.Cell) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a model's parameters, running statistics included."""
    return {parameter.name: tuple(parameter.shape) for parameter in model.get_parameters()}


def _take_over(
    model: nn.Cell,
    plan: Plan,
    tensors: Checkpoint,
    checkpoint: str | os.PathLike[str],
    fresh: frozenset[str] = frozenset(),
) -> None:
    """Put a file's numbers into the parameters that its plan names, but those that are to be fresh."""
    if not plan.complete:
        raise CheckpointError(f"{checkpoint}: {plan.explain()}")
    parameters = {parameter.name: parameter for parameter in model.get_parameters()}
    for target, entry in plan.apply(tensors).items():
        if target not in fresh:
            parameters[target].set_data(Tensor(entry.numpy()))


def _part(source: Source) -> str:
    """What of a model a file holds, such as "backbone"; empty for all of it."""
    return source.layout.covers.rstrip(".")


def _check_part(source: Source, preset: Preset) -> None:
    """Raise CheckpointError for a backbone that is not the model's."""
    if _part(source) and source.backbone and source.backbone[0] != preset.backbone[0]:
        raise CheckpointError(
            f"the file holds {source.layout.title}: {preset.name} has the backbone {preset.backbone[0]}"
        )


def _published(source: Source, metadata: Mapping[str, str]) -> Preset:
    """The published model that a file holds, or the first one that it holds a part of."""
    layout, name = source.layout, metadata.get("model", "")
    return preset_for(
        layout.system, source.backbone, source.arguments, name, part=bool(_part(source)), found_at=layout.found_at
    )


def _check_notes(notes: Notes, source: Source) -> None:
    """Raise CheckpointError where notes contradict the weights."""
    if notes.system and notes.system != source.layout.system:
        raise CheckpointError(f"{notes.title} describes a {notes.system}, and its weights are {source.layout.title}.")
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


def _labels(source: Source, metadata: Mapping[str, str], notes: Notes, output: str) -> str | LabelSet | None:
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


def _hint(source: Source, preset: Preset) -> str:
    """What a person may have meant who named a model of other classes than the file's, or no spatial block for one."""
    if preset.arguments.get("head_block") == "none" and "word_pixel.block.conv.weight" in source.plan(None).shapes:
        return "The file has a spatial block and does not tell which: pass head_block=bottleneck or depthwise"
    has, wants = source.arguments.get("num_classes"), preset.num_classes
    if None in (has, wants) or has == wants:
        return ""
    return f"The file has {has} classes and {preset.name} {wants}: without a name the model is the file's own"


def _other_classes(source: Source, metadata: Mapping[str, str], preset: Preset, notes: Notes) -> str:
    """Why the file's classifier is of no use for the classes of this preset; empty if it is, as far as the file tells.

    A file without names of its own may be of these classes or not: the number of outputs is all there is to compare.
    """
    has, wants = source.arguments.get("num_classes"), preset.num_classes
    if has is None or wants is None:
        return ""
    if has != wants:
        return f"has {has} classes and the model is to have {wants}"
    theirs, ours = labels_of(_labels(source, metadata, notes, preset.output)), labels_of(preset.label_set)
    if theirs is None and isinstance(preset.label_set, LabelSet):
        logging.getLogger("ms_seg").warning(
            "the file has %d classes, as the model is to have, and does not name them: its classifier is taken over",
            has,
        )
    if theirs is None or ours is None or theirs.names == ours.names:
        return ""
    pairs = zip_longest(theirs.names, ours.names, fillvalue="nothing")
    their, our = next(pair for pair in pairs if pair[0] != pair[1])
    return f"has the class {their} where the model is to have {our}"

"""From a checkpoint to a model: which preset a file holds, and where each of its tensors goes."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from types import MappingProxyType
from typing import Any

from mindspore import Tensor, nn
from mindspore.nn.utils import no_init_parameters

from convert import CheckpointError, open_checkpoint
from convert.plan import Plan, Source
from convert.reading import Checkpoint
from convert.recognition import recognise
from ms_seg.checkpoints.identification import check_part, identify, notes_beside, part_of, told_labels
from ms_seg.checkpoints.notes import Notes
from ms_seg.hub import on_this_machine
from ms_seg.label_sets import LabelSet, labels_of
from ms_seg.presets import Preset
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
    source = recognise(tensors, chosen.weights, chosen.drop)
    notes = notes_beside(source, tensors.folder, tensors.metadata)
    if _of_run(tensors):
        notes = notes.having(lines=(f"of the run's checkpoints {tensors.file} is taken", *notes.lines))
    if tensors.passed_over and tensors.file:
        line = f"of the folder's weights {tensors.file.name} is taken, and not {', '.join(tensors.passed_over)}"
        notes = notes.having(lines=(line, *notes.lines))
    preset = identify(source, tensors.metadata, name, overrides, notes)
    model = outline(preset)
    shapes, fresh = shapes_of(model), frozenset[str]()
    other_classes = _other_classes(source, tensors.metadata, preset, notes) if fine_tune else ""
    if other_classes:
        shapes, fresh = classifier_of(preset, source.arguments["num_classes"])
    plan = source.plan(shapes)
    if notes.blue_first:
        plan = plan.with_red_first
        line = "its network sees blue before red: in the weights that take a picture the two are exchanged, for RGB"
        notes = notes.having(lines=(*notes.lines, f"{notes.title}: {line}"))
    plan = plan if plan.complete else replace(plan, hint=_hint(source, preset))
    return Match(source, preset, model, plan, part_of(source), notes, fresh, other_classes)


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
        part = part_of(source)
        if not part:
            raise CheckpointError(
                f"{checkpoint} must hold a part of a model, such as its backbone: it holds a whole one"
            )
        check_part(source, model.preset)
        _take_over(model, source.plan(shapes_of(model)), tensors, checkpoint)
    logging.getLogger("ms_seg").warning("%s fills the %s", checkpoint, part)


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
    theirs, ours = labels_of(told_labels(source, metadata, notes, preset.output)), labels_of(preset.label_set)
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

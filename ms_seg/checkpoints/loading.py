"""From a checkpoint to a model: which preset a file holds, and its tensors in the model's parameters."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from itertools import zip_longest
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from convert import CheckpointError, open_checkpoint
from convert.layouts.row import NATIVE
from convert.plan import Plan, Source, recognise
from ms_seg.checkpoints.metadata import noted_arithmetic, noted_labels, noted_preprocessing
from ms_seg.label_sets import labels_of
from ms_seg.presets import Preset, find_preset, preset_for

if TYPE_CHECKING:
    from mindspore import nn

    from ms_seg.label_sets import LabelSet


def load_model(
    name: str, checkpoint: str | os.PathLike[str], overrides: Mapping[str, Any], fine_tune: bool = False
) -> nn.Cell:
    """The model of that name, or of the file's own kind for "auto", with the file's weights. See `create_model`."""
    from mindspore import Tensor

    with open_checkpoint(checkpoint) as tensors:
        source = recognise(tensors)
        part = source.layout.covers.rstrip(".")
        if name == "auto" and part:
            raise ValueError(f"{checkpoint} holds a {part} alone: name the model that it is meant for")
        preset = identify(source, tensors.metadata, name, overrides)
        model = outline(preset)
        shapes, fresh = shapes_of(model), frozenset()
        other_classes = _other_classes(source, tensors.metadata, preset) if fine_tune else ""
        if other_classes:
            shapes, fresh = classifier_of(preset, source.arguments["num_classes"])
        parameters = {parameter.name: parameter for parameter in model.get_parameters()}
        plan = plan_for(source, preset, shapes)
        if not plan.complete:
            raise CheckpointError(f"{checkpoint}: {plan.explain()}")
        for target, entry in plan.apply(tensors).items():
            if target not in fresh:
                parameters[target].set_data(Tensor(entry.numpy()))
    model.init_parameters_data()  # whatever was not taken from the checkpoint
    model.checkpoint = os.fspath(checkpoint)
    log = logging.getLogger("ms_seg")
    if part:
        log.warning("%s fills the %s; the rest is freshly initialised", checkpoint, part)
    if other_classes:
        log.warning(
            "%s %s: the classifier (%s) is freshly initialised; everything else is taken over",
            checkpoint, other_classes, ", ".join(sorted(fresh)),
        )  # fmt: skip
    return model


def fill(model: nn.Cell, checkpoint: str | os.PathLike[str]) -> None:
    """Put the weights of a file that holds a part of a model, such as a text transformer, into that part.

    Raises CheckpointError for a file that cannot be read, holds a whole model or does not fit.
    """
    from mindspore import Tensor

    with open_checkpoint(checkpoint) as tensors:
        source = recognise(tensors)
        part = source.layout.covers.rstrip(".")
        if not part:
            raise CheckpointError(f"{checkpoint} holds a whole model, where one of a part can be added")
        plan = source.plan(shapes_of(model))
        if not plan.complete:
            raise CheckpointError(f"{checkpoint}: {plan.explain()}")
        parameters = {parameter.name: parameter for parameter in model.get_parameters()}
        for target, entry in plan.apply(tensors).items():
            parameters[target].set_data(Tensor(entry.numpy()))
    logging.getLogger("ms_seg").warning("%s fills the %s", checkpoint, part)


def outline(preset: Preset) -> nn.Cell:
    """The network without numbers in its parameters: drawing those of B5 only to overwrite them takes 5 s."""
    from mindspore.nn.utils import no_init_parameters

    with no_init_parameters():
        return preset.build()


def identify(
    source: Source,
    metadata: Mapping[str, str],
    name: str = "auto",
    overrides: Mapping[str, Any] = MappingProxyType({}),
) -> Preset:
    """The preset of a checkpoint with the arithmetic that its weights were trained in, and with these overrides.

    Keys and shapes tell the structure. The arithmetic that shapes cannot tell comes from the layout, or from what
    `notes.describe` wrote into a file of ours, as do the preprocessing and the labels of a model that was trained here.
    Raises ValueError when no published model has these shapes, CheckpointError for a model of another system than the
    file's, and for notes that cannot be used.
    """
    arithmetic = source.layout.arithmetic or noted_arithmetic(metadata)
    if name == "auto":
        system = None if source.layout.covers else source.layout.system
        preset = preset_for(system, source.arguments, metadata.get("model"), source.backbone)
    else:
        preset = find_preset(name)
        if preset.system != source.layout.system and not source.layout.covers:
            raise CheckpointError(f"the file holds {source.layout.title}: {preset.name} is a {preset.system}")
    noted = {key: value for key, value in arithmetic.items() if key in preset.arguments}
    if source.layout.name == NATIVE:
        noted |= noted_preprocessing(metadata)
    preset = preset.override(**{**noted, **overrides})
    labels, outputs = _labels(source, metadata), source.arguments.get("num_classes")
    if labels is None or "label_set" in overrides or preset.arguments.get("num_classes") != outputs:
        return preset
    return preset.override(label_set=labels)


def plan_for(source: Source, preset: Preset, shapes: Mapping[str, tuple[int, ...]]) -> Plan:
    """The plan that carries a checkpoint to the model of this preset, which has these parameters."""
    plan = source.plan(shapes)
    return plan if plan.complete else replace(plan, hint=_hint(source, preset))


def classifier_of(preset: Preset, num_classes: int) -> tuple[dict[str, tuple[int, ...]], frozenset[str]]:
    """The model with another number of classes: its names and shapes, and the names of those that depend on it."""
    shapes, others = (shapes_of(outline(preset.override(num_classes=n))) for n in (num_classes, num_classes + 1))
    return shapes, frozenset(name for name, shape in shapes.items() if others[name] != shape)


def shapes_of(model: nn.Cell) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a model's parameters, running statistics included."""
    return {parameter.name: tuple(parameter.shape) for parameter in model.get_parameters()}


def _labels(source: Source, metadata: Mapping[str, str]) -> str | LabelSet | None:
    """The classes that a file of ours says it tells apart; another's "labels" could be anything."""
    return noted_labels(metadata, source.arguments.get("num_classes")) if source.layout.name == NATIVE else None


def _hint(source: Source, preset: Preset) -> str:
    """What a person may have meant who named a model of other classes than the file's, or no spatial block for one."""
    if preset.arguments.get("head_block") == "none" and "word_pixel.block.conv.weight" in source.plan(None).shapes:
        return "The file has a spatial block and does not tell which: pass head_block=bottleneck or depthwise"
    has, wants = (arguments.get("num_classes") for arguments in (source.arguments, preset.arguments))
    if None in (has, wants) or has == wants:
        return ""
    return f"The file has {has} classes and {preset.name} {wants}: without a name the model is the file's own"


def _other_classes(source: Source, metadata: Mapping[str, str], preset: Preset) -> str:
    """Why the file's classifier is of no use for the classes of this preset; empty if it is, as far as the file tells.

    A file without names of its own may be of these classes or not: the number of outputs is all there is to compare.
    """
    has, wants = (arguments.get("num_classes") for arguments in (source.arguments, preset.arguments))
    if has is None or wants is None:
        return ""
    if has != wants:
        return f"has {has} classes and the model is to have {wants}"
    theirs, ours = labels_of(_labels(source, metadata)), labels_of(preset.label_set)
    if theirs is None or ours is None or theirs.names == ours.names:
        return ""
    pairs = zip_longest(theirs.names, ours.names, fillvalue="nothing")
    their, our = next(pair for pair in pairs if pair[0] != pair[1])
    return f"has the class {their} where the model is to have {our}"

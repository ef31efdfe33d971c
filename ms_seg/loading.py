"""From a checkpoint to a model: which preset a file holds, and its tensors in the model's parameters."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from convert import CheckpointError, open_checkpoint
from convert.plan import Source, recognise
from ms_seg.presets import Preset, find_preset, preset_for

if TYPE_CHECKING:
    from mindspore import nn


def load_model(name: str, checkpoint: str | os.PathLike[str], overrides: Mapping[str, Any]) -> nn.Cell:
    """The model of that name, or of the file's own kind for "auto", with the file's weights. See `create_model`."""
    from mindspore import Tensor

    with open_checkpoint(checkpoint) as tensors:
        source = recognise(tensors)
        part = source.layout.covers.rstrip(".")
        if name == "auto" and part:
            raise ValueError(f"{checkpoint} holds a {part} alone: name the model that it is meant for")
        model = outline(identify(source, tensors.metadata, name).override(**overrides))
        parameters = {parameter.name: parameter for parameter in model.get_parameters()}
        for target, entry in source.plan(shapes_of(model)).apply(tensors).items():
            parameters[target].set_data(Tensor(entry.numpy()))
    model.init_parameters_data()  # whatever the checkpoint does not hold
    if part:
        logging.getLogger("ms_seg").warning("%s fills the %s; the rest is freshly initialised", checkpoint, part)
    return model


def outline(preset: Preset) -> nn.Cell:
    """The network without numbers in its parameters: drawing those of B5 only to overwrite them takes 5 s."""
    from mindspore.nn.utils import no_init_parameters

    with no_init_parameters():
        return preset.build()


def identify(source: Source, metadata: Mapping[str, str], name: str = "auto") -> Preset:
    """The preset of a checkpoint with the arithmetic that its weights were trained in.

    Keys and shapes tell the structure. The arithmetic that shapes cannot tell comes from the layout, or from what
    `describe` wrote into a converted file. Raises ValueError when no published model has these shapes.
    """
    arithmetic = source.layout.arithmetic or _arithmetic(metadata)
    if name == "auto":
        preset = preset_for(source.layout.system, source.arguments, metadata.get("model"))
    else:
        preset = find_preset(name)
    return preset.override(**{key: value for key, value in arithmetic.items() if key in preset.arguments})


def describe(preset: Preset) -> dict[str, str]:
    """What a converted file says of itself, beside its tensors."""
    arithmetic = {key: value for key, value in preset.arguments.items() if key.endswith("_eps")}
    return {"model": preset.name, "arithmetic": json.dumps(arithmetic)}


def shapes_of(model: nn.Cell) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a model's parameters, running statistics included."""
    return {parameter.name: tuple(parameter.shape) for parameter in model.get_parameters()}


def _arithmetic(metadata: Mapping[str, str]) -> dict[str, float]:
    try:
        values = json.loads(metadata.get("arithmetic", "{}"))
        return {str(key): float(value) for key, value in values.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"the checkpoint's note on its arithmetic is unreadable: {error}") from error

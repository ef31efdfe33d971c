"""The same picture through the reference and through ours, compared stage by stage.

Ours gets its weights the way a user's do: from a PyTorch file, through the converter.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import drawn
import mask2former_reference
import mindspore as ms
import numpy as np
import references
from errors import LABELS_LIMIT, MASKED_LIMIT, STAGE_LIMIT, relative_error
from mindspore import nn

import ms_seg
from ms_seg.inference.execution import Runner
from ms_seg.presets import Preset, find_preset

Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Stage:
    """One stage's output in both: relative error, and where float64 was asked for, each one's error against it."""

    name: str
    error: float
    ours_against_float64: float | None = None
    theirs_against_float64: float | None = None


@dataclass(frozen=True)
class Comparison:
    preset: Preset
    shape: tuple[int, ...]
    stages: tuple[Stage, ...]  # in the order of the forward pass, the last of them the logits
    labels_differ: float  # share of pixels, of the label map at the logits' size

    @property
    def first_diverging(self) -> str | None:
        """The first stage beyond its limit, or None if all are within."""
        beyond = [stage.name for stage in self.stages if not stage.error <= _limit(stage.name)]
        if not self.labels_differ <= LABELS_LIMIT:
            beyond.append("label map")
        return beyond[0] if beyond else None


def compare(name: str, shape: tuple[int, ...], seed: int = 0, float64: bool = False, **overrides: Any) -> Comparison:
    """shape: of the input, (N, 3, H, W). Stages are taken in PyNative mode, the logits in graph mode."""
    preset = find_preset(name).override(**overrides)
    reference = references.build_reference(preset, seed)
    inputs = drawn.inputs(preset, shape, seed + 1)
    names = references.stages(preset)

    with tempfile.TemporaryDirectory() as folder:
        checkpoint = references.save_checkpoint(reference, Path(folder, "reference.pth"))
        model = ms_seg.create_model(name, checkpoint, **overrides)
    ours = _recorded(model, list(names), inputs)
    ours |= _answer(model, inputs)

    theirs = references.outputs(reference, names, *inputs)
    exact = references.outputs(reference.double(), names, *inputs) if float64 else None
    labels_differ = float((_label_map(ours) != _label_map(theirs)).mean())
    return Comparison(preset, shape, tuple(_stage(name, ours, theirs, exact) for name in ours), labels_differ)


def _limit(stage: str) -> float:
    """After masked attention a larger one."""
    masked = stage.startswith(("query_decoder", "class_logits", "mask_logits")) and not stage.endswith("_logits.0")
    return MASKED_LIMIT if masked else STAGE_LIMIT


def _answer(model: nn.Cell, inputs: tuple[np.ndarray, ...]) -> Outputs:
    """What the model gives in graph mode, by the names that `references.outputs` has for it."""
    tensors = tuple(map(ms.Tensor, inputs))
    if model.preset.system == "mask2former":
        return mask2former_reference.named(Runner(AllLayers(model), "graph")(*tensors))
    return {"logits": Runner(model, "graph")(*tensors)[0].asnumpy()}


class AllLayers(nn.Cell):
    """A Mask2Former that gives the predictions of all layers of its decoder."""

    def __init__(self, model: nn.Cell):
        super().__init__(auto_prefix=False)
        self.model = model

    def construct(self, images: ms.Tensor) -> list[tuple[ms.Tensor, ms.Tensor]]:
        return self.model(images, return_all_layers=True)


def _label_map(outputs: Outputs) -> np.ndarray:
    """The class of each pixel; of queries, that of which their masks give it most."""
    if "logits" in outputs:
        return outputs["logits"].argmax(1)
    *_, classes, masks = outputs.values()
    classes = np.exp(classes - classes.max(-1, keepdims=True))
    classes = classes[..., :-1] / classes.sum(-1, keepdims=True)
    return np.einsum("nqc,nqhw->nchw", classes, 1 / (1 + np.exp(-masks))).argmax(1)


def _stage(name: str, ours: Outputs, theirs: Outputs, exact: Outputs | None) -> Stage:
    if exact is None:
        return Stage(name, relative_error(ours[name], theirs[name]))
    return Stage(
        name,
        relative_error(ours[name], theirs[name]),
        relative_error(ours[name], exact[name]),
        relative_error(theirs[name], exact[name]),
    )


def _recorded(model: nn.Cell, names: list[str], inputs: tuple[np.ndarray, ...]) -> Outputs:
    """Outputs of the named cells in a forward pass."""
    cells, kept = dict(model.cells_and_names()), {}

    def keep(name: str):
        def hook(_cell, _inputs, output):
            kept[name] = (output[0] if isinstance(output, tuple) else output).asnumpy()

        return hook

    handles = [cells[name].register_forward_hook(keep(name)) for name in names]
    model(*map(ms.Tensor, inputs))
    for handle in handles:
        handle.remove()
    return kept

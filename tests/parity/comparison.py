"""The same picture through the reference and through ours, compared stage by stage.

Ours gets its weights the way a user's do: from a PyTorch file, through the converter.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, MutableMapping
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

Outputs = Mapping[str, np.ndarray]


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
    ours = run_ours(name, shape, seed, **overrides)
    theirs = run_theirs(name, shape, seed, **overrides)
    exact = run_theirs(name, shape, seed, float64=True, **overrides) if float64 else None
    return compare_outputs(find_preset(name).override(**overrides), shape, ours, theirs, exact)


def run_ours(
    name: str, shape: tuple[int, ...], seed: int, folder: Path | None = None, **overrides: Any
) -> MutableMapping[str, np.ndarray]:
    """Outputs of the stages and the logits, in the order of the forward pass; kept in files if there is a folder."""
    preset, kept = find_preset(name).override(**overrides), _kept(folder)
    inputs, names = drawn.inputs(preset, shape, seed + 1), references.stages(preset)
    with tempfile.TemporaryDirectory() as scratch:
        reference = references.build_reference(preset, seed)
        checkpoint = references.save_checkpoint(reference, Path(scratch, "reference.pth"))
        del reference  # at full size memory is short
        model = ms_seg.create_model(name, checkpoint, **overrides)
    _record(model, list(names), inputs, kept)
    kept.update(_answer(model, inputs))
    return kept


def run_theirs(
    name: str,
    shape: tuple[int, ...],
    seed: int,
    folder: Path | None = None,
    float64: bool = False,
    **overrides: Any,
) -> MutableMapping[str, np.ndarray]:
    """The same of the reference, in float32 or in float64."""
    preset = find_preset(name).override(**overrides)
    reference = references.build_reference(preset, seed)
    reference = reference.double() if float64 else reference
    inputs = drawn.inputs(preset, shape, seed + 1)
    return references.outputs(reference, references.stages(preset), *inputs, kept=_kept(folder))


def compare_outputs(
    preset: Preset, shape: tuple[int, ...], ours: Outputs, theirs: Outputs, exact: Outputs | None
) -> Comparison:
    labels_differ = float((_label_map(ours) != _label_map(theirs)).mean())
    return Comparison(preset, shape, tuple(_stage(name, ours, theirs, exact) for name in ours), labels_differ)


class Stored(MutableMapping[str, np.ndarray]):
    """Arrays in the files of a folder, in the order in which they were put there."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.names = [path.name.split("-", 1)[1].removesuffix(".npy") for path in sorted(folder.iterdir())]

    def __setitem__(self, name: str, array: np.ndarray) -> None:
        if name not in self.names:
            self.names.append(name)
        np.save(self._path(name), array)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.names:
            raise KeyError(name)
        return np.load(self._path(name), mmap_mode="r")

    def __delitem__(self, name: str) -> None:
        raise TypeError("what was stored stays")

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def _path(self, name: str) -> Path:
        return self.folder / f"{self.names.index(name):04}-{name}.npy"


def _kept(folder: Path | None) -> MutableMapping[str, np.ndarray]:
    return {} if folder is None else Stored(folder)


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


def _record(
    model: nn.Cell, names: list[str], inputs: tuple[np.ndarray, ...], kept: MutableMapping[str, np.ndarray]
) -> None:
    """Keep the outputs of the named cells in a forward pass."""
    cells = dict(model.cells_and_names())

    def keep(name: str):
        def hook(_cell, _inputs, output):
            kept[name] = (output[0] if isinstance(output, tuple) else output).asnumpy()

        return hook

    handles = [cells[name].register_forward_hook(keep(name)) for name in names]
    model(*map(ms.Tensor, inputs))
    for handle in handles:
        handle.remove()

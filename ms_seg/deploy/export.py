"""A network as a MindIR file, which is kept only if it gives what the network gives."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from convert.atomic import naming
from ms_seg.cells import native
from ms_seg.cells.interrupts import interruptible
from ms_seg.cells.precision import compute_dtype
from ms_seg.checkpoints.loading import outline
from ms_seg.deploy.description import Description, TensorNote, beside, write_description
from ms_seg.deploy.loading import load_graph, run_graph
from ms_seg.deploy.parts import PARTS, DeployedNetwork
from ms_seg.deploy.pictures import choose_fit, example, fitted, pads
from ms_seg.inference.networks import WordsNetwork, open_network
from ms_seg.inference.words import word_labels
from ms_seg.label_sets import LabelSet
from ms_seg.presets import Preset
from ms_seg.systems import Model
from ms_seg.systems.lseg import FixedWords, GivenWords

MAX_ERROR = 1e-5  # relative
MAX_PIXELS = 1e-4  # share of pixels whose classes differ, where two are equally probable
PRECISIONS = {"float32": ms.float32, "float16": ms.float16}

_OUTPUTS = {  # what comes out, and its axes
    "logits": (("logits", "N C H W"),),
    "queries": (("class_logits", "N Q C+1"), ("mask_logits", "N Q H W")),
    "scores": (("scores", "N C H W"),),
    "label_map": (("label_map", "N H W"),),
}


@dataclass(frozen=True)
class Choices:
    """How a network is to be exported.

    size: (height, width) of its input. batch: pictures at once. fit: how they come to the size, see
    `pictures.choose_fit`; None where there is one way alone. inside: of `parts.PARTS`. precision: of convolutions and
    products, "float32" or "float16"; the rest is computed in float32. words: of a model that takes words, how many it
    tells apart by their vectors, an input beside the images; 0 for words that are in the graph.
    """

    size: tuple[int, int]
    batch: int = 1
    fit: str | None = None
    inside: tuple[str, ...] = ()
    precision: str = "float32"
    words: int = 0


@dataclass(frozen=True)
class Comparison:
    """The graph and the network on one picture: the largest relative error of an output, in Frobenius norm; of label
    maps the share of pixels that differ.

    error: from the network computed in the graph's precision. float32_error: from the network in float32.
    """

    picture: str
    error: float
    float32_error: float


def check_choices(preset: Preset, choices: Choices) -> str:
    """How pictures come to the graph's size. Raises ValueError for choices that do not go together."""
    inside = choices.inside
    if unknown := [part for part in inside if part not in PARTS]:
        raise ValueError(f"there is no part {unknown[0]!r} to include: choose from {', '.join(PARTS)}")
    if choices.precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}: {choices.precision!r} is not")
    if choices.batch < 1:
        raise ValueError(f"batch must be 1 or more: {choices.batch} is not")
    if "semantic" in inside and preset.output != "queries":
        raise ValueError(f"semantic makes scores of queries: {preset.name} gives logits of classes already")
    if "semantic" in inside and "semantic" not in preset.tasks:
        raise ValueError(f"{preset.name} answers {', '.join(preset.tasks)} and has no semantic scores to include")
    if "argmax" in inside and preset.output == "queries" and "semantic" not in inside:
        raise ValueError("argmax needs scores of classes: include semantic too")
    if "argmax" in inside and preset.num_classes == 1:
        raise ValueError(f"{preset.name} has one output, of which argmax is always the first: leave argmax out")
    fit = choose_fit(preset, choices.size, choices.fit)
    if fit == "windows" and preset.output == "queries" and "semantic" not in inside:
        raise ValueError("windows answer semantic segmentation alone: include semantic")
    if fit == "windows" and "argmax" in inside:
        raise ValueError("where windows overlap their scores are averaged, which needs them: leave argmax out")
    if "normalize" in inside and pads(preset, choices.size, fit):
        raise ValueError(
            f"normalize can't be included for {preset.name} at this size: its pictures are padded with zeros after "
            "normalisation, and no colour becomes zero; --fit stretch pads nothing"
        )
    return fit


Build = Callable[[Model], nn.Cell]


def with_words(
    model: Model, choices: Choices, labels: Sequence[str] | None, vocab: str | os.PathLike[str] | None
) -> tuple[Preset, Build, tuple[np.ndarray, ...]]:
    """The preset of a model as one of logits of classes; what makes of a model the network to be exported; and examples
    of what that takes beside images.

    Of a model with classes of its own the preset, the model and nothing. Of one that takes words: with labels, a
    network of these words; with `choices.words`, one that takes the vectors of so many, (K, D).

    vocab: see `text.vocabulary.find_vocabulary`. Raises ValueError as a `Segmenter` does for words that are missing or
    will not do, or that the model does not take, and for a number of words below 0.
    """
    if choices.words < 0:
        raise ValueError(f"words must be 1 or more: {choices.words} is not")
    if choices.words and (model.preset.output != "words" or labels is not None):
        why = "its words are given" if labels is not None else "it takes none"
        raise ValueError(f"words as an input are not for {model.preset.name}: {why}")
    if choices.words:
        width = model.text.proj.shape[1]
        vectors = np.random.default_rng(0).standard_normal((choices.words, width)).astype(np.float32)
        return _of_classes(model.preset, choices.words, None), GivenWords, (vectors,)
    network = open_network(model, "pynative", vocab)
    words = network.check_labels(labels)
    if words is None:
        return model.preset, lambda own: own, ()
    assert isinstance(network, WordsNetwork)
    features = network.reader.features(words)
    return _of_classes(model.preset, len(words), word_labels(words)), lambda own: FixedWords(own, features), ()


def _of_classes(preset: Preset, count: int, labels: LabelSet | None) -> Preset:
    arguments = {**preset.arguments, "num_classes": count}
    return replace(preset, output="logits", arguments=arguments, label_set=labels)


def export_mindir(
    model: Model,
    target: str | os.PathLike[str],
    choices: Choices,
    pictures: Mapping[str, np.ndarray],
    origin: Mapping[str, Any],
    labels: Sequence[str] | None = None,
    vocab: str | os.PathLike[str] | None = None,
) -> list[Comparison]:
    """Write a model as MindIR, and beside it what the graph takes and gives.

    The graph is made of MindSpore's own operators. It is loaded again, and must give what the model gives on these
    pictures, RGB (H, W, 3) uint8. Weights of more than a gigabyte lie in a folder beside the file. Nothing appears
    under the target's name unless it is whole and agrees.

    origin: what made it, for a person to read. labels, vocab: of a model that takes words, see `with_words`.

    Raises ValueError for choices that do not go together and where the graph does not agree; RuntimeError where
    MindSpore cannot export the network or run the graph; OSError where the files cannot be written.
    """
    target, size = Path(target), choices.size
    preset, build, others = with_words(model, choices, labels, vocab)
    fit = check_choices(preset, choices)
    preset = fitted(preset, size, fit)
    if "semantic" in choices.inside:
        preset = replace(preset, tasks=("semantic",), ask_task=False)
    examples = [example(own, preset, size, choices.batch, choices.inside) for own in pictures.values()]
    inputs = {name: (images, *others) for name, images in zip(pictures, examples, strict=True)}
    first = next(iter(inputs.values()))
    as_it_is, portable = (
        DeployedNetwork(build(own), preset, size, choices.inside).set_train(False) for own in (model, _portable(model))
    )
    try:
        in_float32 = [run_graph(as_it_is, *own) for own in inputs.values()]
    except Exception as error:  # MindSpore's are of any type, and pages long
        shown, reason = "{}x{}".format(*size), str(error).strip().split("\n")[0]
        raise RuntimeError(f"{preset.name} could not be run on an input of {shown}: {reason}") from error
    with compute_dtype(PRECISIONS[choices.precision]), _draft(target) as draft:
        wanted = (
            in_float32 if choices.precision == "float32" else [run_graph(portable, *own) for own in inputs.values()]
        )
        with interruptible():
            ms.export(portable, *map(Tensor, first), file_name=str(draft.with_suffix("")), file_format="MINDIR")
        _join_names(draft)
        graph = load_graph(draft)
        found = [run_graph(graph, *own) for own in inputs.values()]
        compared = [
            Comparison(name, *(max(map(_error, got, theirs)) for theirs in (own, exact)))
            for name, got, own, exact in zip(inputs, found, wanted, in_float32, strict=True)
        ]
        _check_agreement(compared, target, choices)
        origin = {**origin, "verified": [vars(each) for each in compared]}
        described = Description(
            preset, size, choices.batch, fit, choices.inside, choices.precision, _input_notes(*first), (), origin
        )
        outputs = [_note(*named, got) for named, got in zip(_OUTPUTS[described.output], found[0], strict=True)]
        write_description(beside(draft), draft, replace(described, outputs=tuple(outputs)))
    return compared


def _portable(model: Model) -> Model:
    """The same network, with the same weights, of MindSpore's own operators alone."""
    with native.disabled():
        twin = outline(model.preset)
    weights = {parameter.name: parameter for parameter in model.get_parameters()}
    for parameter in twin.get_parameters():
        parameter.set_data(weights[parameter.name].value())
    return twin


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """A file of the target's name in a folder of its own beside it; at the end of the block what is there takes its
    place, the target last, after an error it is removed."""
    folder = target.absolute().with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with naming(target):
            folder.mkdir()
            yield folder / target.name
            for path in sorted(folder.iterdir(), key=lambda path: path.name == target.name):
                _move(path, target.absolute().parent / path.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _move(path: Path, target: Path) -> None:
    """Onto what may be there, with the rights that a new file has: MindSpore lets its owner alone read it."""
    mask = os.umask(0)
    os.umask(mask)
    for own in (path, *path.rglob("*")):
        own.chmod((0o777 if own.is_dir() else 0o666) & ~mask)
    for own in (path, *path.rglob("*")):
        if own.is_file():
            with own.open("rb") as file:
                os.fsync(file.fileno())
    if target.is_dir():
        shutil.rmtree(target)
    os.replace(path, target)


def _join_names(draft: Path) -> None:
    """Of a graph whose weights lie in a folder of their own, MindSpore calls the file otherwise."""
    split = draft.with_name(f"{draft.stem}_graph.mindir")
    if split.exists():
        split.rename(draft)


def _error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Relative, in Frobenius norm; of label maps the share of pixels that differ; infinite for other shapes or NaN."""
    if ours.shape != theirs.shape:
        return float("inf")
    if theirs.dtype == np.int32:
        return float((ours != theirs).mean())
    difference = np.linalg.norm((ours.astype(np.float64) - theirs).ravel())
    error = float(difference / max(np.linalg.norm(theirs.astype(np.float64).ravel()), np.finfo(np.float32).tiny))
    return error if np.isfinite(error) else float("inf")


def _check_agreement(compared: list[Comparison], target: Path, choices: Choices) -> None:
    most = MAX_PIXELS if "argmax" in choices.inside else MAX_ERROR
    for each in compared:
        if each.error > most:
            raise ValueError(
                f"{target} is not kept: on {each.picture} the graph is off by {each.error:.1e} from the network, and "
                f"{most:.0e} is the most that is taken"
            )


def _input_notes(images: np.ndarray, *words: np.ndarray) -> tuple[TensorNote, ...]:
    axes = "N H W C, RGB" if images.dtype == np.uint8 else "N C H W"
    return _note("images", axes, images), *(_note("words", "K D", vectors) for vectors in words)


def _note(name: str, axes: str, values: np.ndarray) -> TensorNote:
    return TensorNote(name, values.shape, str(values.dtype), axes)

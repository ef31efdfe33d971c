"""The three kinds of networks behind one door: pictures, and words, in; outputs that answer a task out.

A network keeps no state between two calls. It takes several pictures of one input size at once, shows them to its model
whole or by windows, and gives one output for each.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from mindspore import Tensor

from ms_seg.answers import Answer, InstanceAnswer, PanopticAnswer
from ms_seg.answers.semantic import Embeddings
from ms_seg.data.coco.annotations import things_only
from ms_seg.data.preprocessing import Geometry, network_input
from ms_seg.inference.execution import Mode, Runner, to_numpy
from ms_seg.inference.windows import slide
from ms_seg.inference.words import OTHERS, WordReader, check_words, word_labels
from ms_seg.label_sets import LabelSet, labels_of, numbered_labels
from ms_seg.postprocessing.instance import instance_inference
from ms_seg.postprocessing.logits import Logits, label_by_mask, label_pixels
from ms_seg.postprocessing.panoptic import panoptic_inference
from ms_seg.postprocessing.queries import Queries
from ms_seg.postprocessing.rules import RULES
from ms_seg.postprocessing.semantic import semantic_inference, semantic_scores
from ms_seg.presets import Preprocessing, Preset, Window
from ms_seg.systems import Model
from ms_seg.systems.lseg import MAX_STRIDE, Pixels
from ms_seg.text import Tokenizer
from ms_seg.text.vocabulary import find_vocabulary

AnyAnswer = Answer | PanopticAnswer | InstanceAnswer
Words = tuple[str, ...] | None  # None for a network that has classes of its own


@dataclass(frozen=True, eq=False)
class Input:
    """A picture on its way into a network.

    picture: RGB (H, W, 3) uint8. image: (3, h, w) float32, what the network sees of it. geometry: the sizes in between.
    source: the picture's file, if there is one.
    """

    picture: np.ndarray
    image: np.ndarray
    geometry: Geometry
    source: str | None = None

    @classmethod
    def of(cls, picture: np.ndarray, rule: Preprocessing, source: str | None = None, mirrored: bool = False) -> Input:
        """The picture preprocessed; mirrored after resizing, as mmsegmentation does: padding stays right and below."""
        (image,), geometry = network_input(picture, rule)
        if mirrored:
            height, width = geometry.resized
            image[:, :height, :width] = image[:, :height, :width][..., ::-1].copy()
        return cls(picture, image, geometry, source)


class Output(Protocol):
    """What a network said of one picture. label_set: the classes, or the words, that it told apart."""

    @property
    def label_set(self) -> LabelSet: ...

    def answer(self, task: str) -> AnyAnswer:
        """What it means: "semantic", "panoptic" or "instance", one of the preset's tasks."""

    def logits(self) -> Logits:
        """A score of every class at every pixel, whose softmax can be averaged with that of other views."""


class Network(Protocol):
    """What a Segmenter asks of a model. `preset` is the model's."""

    preset: Preset

    def check_labels(self, labels: Sequence[str] | None) -> Words:
        """The words that a call with these labels tells apart. Raises ValueError where they will not do."""

    def check_window(self, window: Window, task: str) -> None:
        """Raise ValueError for a window that the model cannot be shown, or a task that windows cannot answer."""

    def check_embeddings(self) -> None:
        """Raise ValueError unless answers hold the features of pixels and words."""

    def for_dataset(self, dataset: Any, task: str) -> tuple[Any, Words, Callable[[AnyAnswer], AnyAnswer]]:
        """A dataset as the model is to be scored on it, the words to ask for, and what makes its classes of an answer.

        Raises ValueError where the model's classes are not the dataset's.
        """

    def __call__(self, inputs: Sequence[Input], words: Words = None, window: Window | None = None) -> Sequence[Output]:
        """Outputs of inputs of one size. Raises ValueError for values that are not finite, RuntimeError when MindSpore
        cannot run the model."""


def open_network(model: Model, mode: Mode = "graph", vocab: str | os.PathLike[str] | None = None) -> Network:
    """The network of a model, by what its preset says that it gives.

    vocab: of a model that takes words, its vocabulary, see `text.vocabulary.find_vocabulary`.
    """
    return NETWORKS[model.preset.output](model, mode, vocab)


def fitting_window(model: Model, window: Window | None = None) -> Window | None:
    """The window that a model is shown its input in: this one, or the preset's; None for the whole input at once.

    Raises ValueError where the model takes images of one size alone (`side` of its backbone) and this is another.
    """
    window = window or model.preset.window
    side = getattr(getattr(model, "backbone", None), "side", None)
    if side is None:
        return window
    if window is None or window.crop != side:
        other = f"windows of {window.crop}" if window else "a whole picture at once"
        raise ValueError(f"{model.preset.name} takes windows of {side}x{side} alone: it cannot be shown {other}")
    return replace(window, exact=True)


@dataclass(frozen=True, eq=False)
class LogitsOutput:
    """values: (C, h, w) float32 of the classes of label_set. embeddings: of words and pixels, if they were compared."""

    values: np.ndarray
    input: Input
    preset: Preset
    label_set: LabelSet
    embeddings: Embeddings | None = None

    def logits(self) -> Logits:
        return Logits(self.values, self.input.geometry, self.preset.preprocessing.logits_via_input)

    def answer(self, task: str) -> Answer:
        logits = self.logits()
        labels, scores = label_by_mask(logits) if self.preset.preprocessing.resize_mask else label_pixels(logits)
        return Answer(
            self.input.picture,
            labels,
            self.label_set,
            scores,
            self.preset.name,
            self.input.source,
            logits,
            self.embeddings,
        )


class OwnClasses:
    """What networks have in common that have classes of their own."""

    def __init__(self, model: Model, mode: Mode = "graph", vocab: str | os.PathLike[str] | None = None):
        self.preset, self._run = model.preset, Runner(model, mode)

    def check_labels(self, labels: Sequence[str] | None) -> Words:
        if labels is not None:
            raise ValueError(
                f"{self.preset.name} has classes of its own: labels are for a model that takes words, as lseg_*"
            )
        return None

    def check_embeddings(self) -> None:
        raise ValueError(f"{self.preset.name} has no embeddings to save: that is for models that take words")

    def for_dataset(self, dataset: Any, task: str) -> tuple[Any, Words, Callable[[AnyAnswer], AnyAnswer]]:
        """The dataset as it is."""
        preset = self.preset
        check_classes(preset.label_set, preset.num_classes or 0, dataset.label_set, task, preset.name)
        return dataset, None, lambda answer: answer


class LogitsNetwork(OwnClasses):
    """A model that gives logits of its own classes, (N, C, h, w)."""

    def check_window(self, window: Window, task: str) -> None:
        """Any will do."""

    def __call__(
        self, inputs: Sequence[Input], words: Words = None, window: Window | None = None
    ) -> list[LogitsOutput]:
        images = _stacked(inputs)
        logits = slide(self._logits, images, window) if window else self._logits(images)
        known = _label_set(self.preset, logits.shape[1])
        return [LogitsOutput(values, item, self.preset, known) for values, item in zip(logits, inputs, strict=True)]

    def _logits(self, images: np.ndarray) -> np.ndarray:
        (logits,) = _run(self._run, self.preset, images)
        return logits


class WordsNetwork:
    """A model that compares pixels with words: LSeg, in its three parts, each compiled for itself, so that a picture
    and a list of words are each looked at once."""

    def __init__(self, model: Model, mode: Mode = "graph", vocab: str | os.PathLike[str] | None = None):
        self.preset = model.preset
        vocabulary = find_vocabulary(vocab, model.checkpoint, self.preset.embedded)
        self.reader = WordReader(model.text, Tokenizer(vocabulary), mode)
        self._pixels, self._compare = Runner(Pixels(model), mode), Runner(model.word_pixel, mode)

    def check_labels(self, labels: Sequence[str] | None) -> tuple[str, ...]:
        if labels is None:
            raise ValueError(f"{self.preset.name} takes words: pass the labels that it is to tell apart")
        words = check_words(labels)
        if self.preset.preprocessing.resize_mask and (len(words) != 2 or words[0] != OTHERS):
            raise ValueError(
                f"{self.preset.name} tells one text from everything else: pass one label, not {len(words)}"
            )
        self.reader.features(words)  # whatever is wrong with them is not the picture's fault
        return words

    def check_window(self, window: Window, task: str) -> None:
        if window.crop % MAX_STRIDE:
            raise ValueError(
                f"a window of {self.preset.name} must be a multiple of {MAX_STRIDE} pixels: {window.crop} is not"
            )

    def check_embeddings(self) -> None:
        """There are."""

    def for_dataset(self, dataset: Any, task: str) -> tuple[Any, Words, Callable[[AnyAnswer], AnyAnswer]]:
        """By the names of its classes, of which one may stand twice, as lang-seg's list has "screen": to the model they
        are the same, and the first of them is the answer."""
        dataset = dataset.in_words()
        labels = dataset.label_set
        words = self.check_labels(tuple(dict.fromkeys(labels.names)))
        classes = np.array([labels.names.index(word) for word in words], np.int32)
        return dataset, words, lambda answer: replace(answer, label_map=classes[answer.label_map], label_set=labels)

    def __call__(
        self, inputs: Sequence[Input], words: Words = None, window: Window | None = None
    ) -> list[LogitsOutput]:
        assert words is not None, "what check_labels gives of a model that takes words"
        images, known, asked = _stacked(inputs), word_labels(words), words
        if window:
            values = slide(lambda part: self.compare(part, asked)[0], images, window)
            return [LogitsOutput(v, item, self.preset, known) for v, item in zip(values, inputs, strict=True)]
        values, pixels = self.compare(images, words)
        features = self.reader.features(words)
        return [
            LogitsOutput(
                values[place],
                item,
                self.preset,
                known,
                Embeddings(words, item.geometry, _reading(pixels, place), _reading(features)),
            )
            for place, item in enumerate(inputs)
        ]

    def compare(self, images: np.ndarray, words: tuple[str, ...]) -> tuple[np.ndarray, Tensor]:
        """Images (N, 3, h, w) -> logits (N, K, h, w) of K words, and the pixels' features (N, D, h / 2, w / 2)."""
        features = self.reader.features(words)
        pixels: list[Tensor] = []

        def forward(images: np.ndarray) -> tuple[Tensor, ...]:
            pixels.extend(self._pixels(images))
            return self._compare(*pixels, features)

        (logits,) = _run(forward, self.preset, images)
        return logits, pixels[0]


@dataclass(frozen=True, eq=False)
class QueriesOutput:
    """class_logits: (Q, C + 1) float32, the last being no object. mask_logits: (Q, h, w) float32."""

    class_logits: np.ndarray
    mask_logits: np.ndarray
    input: Input
    preset: Preset
    label_set: LabelSet

    def logits(self) -> Logits:
        values = semantic_scores(self.class_logits, self.mask_logits)
        return Logits(values, self.input.geometry, self.preset.preprocessing.logits_via_input)

    def answer(self, task: str) -> AnyAnswer:
        queries = Queries(self.class_logits, self.mask_logits, self.input.geometry)
        rule, known = RULES[self.preset.preprocessing.query_rule], self.label_set
        things = known.isthing
        picture, name, source = self.input.picture, self.preset.name, self.input.source
        if task == "panoptic":
            return PanopticAnswer(picture, known, name, source, panoptic=panoptic_inference(queries, things, rule))
        if task == "instance":
            return InstanceAnswer(picture, known, name, source, instances=instance_inference(queries, things, rule))
        labels, scores = semantic_inference(queries, rule)
        return Answer(picture, labels, known, scores, name, source)


class QueriesNetwork(OwnClasses):
    """A model that gives classes and masks of queries, (N, Q, C + 1) and (N, Q, h, w)."""

    def check_window(self, window: Window, task: str) -> None:
        if task != "semantic":
            raise ValueError(f"windows answer semantic segmentation alone: {task} is asked of {self.preset.name}")

    def __call__(
        self, inputs: Sequence[Input], words: Words = None, window: Window | None = None
    ) -> Sequence[LogitsOutput] | Sequence[QueriesOutput]:
        images = _stacked(inputs)
        if window:
            # What the windows say is put together as scores of classes: queries of two windows have nothing in common.
            scores = slide(self._scores, images, window)
            known = _label_set(self.preset, scores.shape[1])
            return [LogitsOutput(values, item, self.preset, known) for values, item in zip(scores, inputs, strict=True)]
        class_logits, mask_logits = _run(self._run, self.preset, images)
        known = _label_set(self.preset, class_logits.shape[2] - 1)
        return [
            QueriesOutput(classes, masks, item, self.preset, known)
            for classes, masks, item in zip(class_logits, mask_logits, inputs, strict=True)
        ]

    def _scores(self, images: np.ndarray) -> np.ndarray:
        """(N, C, h, w)."""
        pairs = zip(*_run(self._run, self.preset, images), strict=True)
        return np.stack([semantic_scores(class_logits, mask_logits) for class_logits, mask_logits in pairs])


NETWORKS: dict[str, Callable[..., Network]] = {
    "logits": LogitsNetwork,
    "words": WordsNetwork,
    "queries": QueriesNetwork,
}


def _stacked(inputs: Sequence[Input]) -> np.ndarray:
    return np.stack([item.image for item in inputs]) if len(inputs) > 1 else inputs[0].image[None]


def _run(run: Callable[[np.ndarray], tuple[Tensor, ...]], preset: Preset, images: np.ndarray) -> list[np.ndarray]:
    """The arrays that a model gives for images (N, 3, h, w). Raises as `Network` does."""
    try:
        arrays = [to_numpy(tensor) for tensor in run(images)]
    except Exception as error:  # MindSpore's are of any type, and pages long
        size, reason = "{}x{}".format(*images.shape[2:]), str(error).strip().split("\n")[0]
        raise RuntimeError(f"{preset.name} could not be run on an input of {size}: {reason}") from error
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError(f"{preset.name} gave values that are not finite: is its checkpoint damaged?")
    return arrays


def _reading(tensor: Tensor, place: int | None = None) -> Callable[[], np.ndarray]:
    """Takes a tensor's values, or those of one sample, to NumPy when they are asked for."""
    return lambda: to_numpy(tensor) if place is None else to_numpy(tensor)[place]


def _label_set(preset: Preset, outputs: int) -> LabelSet:
    return labels_of(preset.label_set) or numbered_labels(outputs)


def check_classes(own: str | LabelSet | None, outputs: int, labels: LabelSet, task: str, name: str) -> None:
    """Raise ValueError unless a model's outputs mean the classes of a dataset.

    Args:
        own: the model's classes, or the name of their published label set; None if they have no names: then there must
            be as many outputs as classes. For instance segmentation only its things count.
        outputs: how many classes the model tells apart; may be more than are named, such as EasyCV's 172nd.
        labels: the dataset's classes.
        name: of the model.
    """
    classes = labels_of(own)
    if classes is None:
        if outputs != len(labels):
            raise ValueError(f"{name} has {outputs} classes, and the dataset has {len(labels)}")
        return
    if task == "instance" and classes.things:
        classes = things_only(classes)
    if classes.names != labels.names:
        whose = f"{own}'s {len(classes)}" if isinstance(own, str) else len(classes)
        raise ValueError(
            f"{name} tells {whose} classes apart ({_some(classes.names)}), "
            f"and the dataset has {len(labels)} others ({_some(labels.names)}): choose the one that fits the other"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")

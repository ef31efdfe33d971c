"""The kinds of networks behind one door: pictures, and words, in; outputs that answer a task out.

A network keeps no state between two calls. It takes several pictures of one input size at once, shows them to its model
whole or by windows, and gives one output for each.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from mindspore import Tensor

from ms_seg.answers.semantic import Embeddings
from ms_seg.inference.execution import Mode, Precision, Runner, to_numpy
from ms_seg.inference.outputs import (
    AnyAnswer,
    Input,
    LogitsOutput,
    Output,
    QueriesOutput,
    ScoresOutput,
    logits_of,
)
from ms_seg.inference.windows import Progress, slide
from ms_seg.inference.words import OTHERS, WordReader, check_words, word_labels
from ms_seg.label_sets import LabelSet, labels_of, numbered_labels, things_only
from ms_seg.postprocessing.logits import ClassMaps
from ms_seg.postprocessing.mosaic import Mosaic
from ms_seg.postprocessing.semantic import semantic_scores
from ms_seg.presets import Preset, Window
from ms_seg.systems import Model
from ms_seg.systems.lseg import MAX_STRIDE, Pixels
from ms_seg.text import Tokenizer
from ms_seg.text.vocabulary import find_vocabulary

Words = tuple[str, ...] | None  # None for a network that has classes of its own


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

    def __call__(
        self,
        inputs: Sequence[Input],
        words: Words = None,
        window: Window | None = None,
        progress: Progress | None = None,
    ) -> Sequence[Output]:
        """Outputs of inputs of one size. progress: of windows, see `slide`.

        Raises ValueError for values that are not finite, RuntimeError when MindSpore cannot run the model.
        """


def open_network(
    model: Model, mode: Mode = "graph", vocab: str | os.PathLike[str] | None = None, precision: Precision = "float32"
) -> Network:
    """The network of a model, by what its preset says that it gives.

    vocab: of a model that takes words, its vocabulary, see `text.vocabulary.find_vocabulary`. precision: Runner's, but
    for the features of words, which are float32.
    """
    return NETWORKS[model.preset.output](model, mode, vocab, precision)


def fitting_window(model: Model, window: Window | None = None) -> Window | None:
    """The window that a model is shown its input in: this one, or the preset's; None for the whole input at once.

    Raises ValueError where the model takes images of one size alone (`side` of its backbone) and this is another.
    """
    window = window or model.preset.window
    side = getattr(getattr(model, "backbone", None), "side", None)
    if side is None:
        return window
    if window is None or window.sides[0][0] != side or window.sides[1][0] != side:
        other = "windows of {}x{}".format(*(crop for crop, _ in window.sides)) if window else "a whole picture at once"
        raise ValueError(f"{model.preset.name} takes windows of {side}x{side} alone: it cannot be shown {other}")
    return replace(window, exact=True)


class OwnClasses:
    """What networks have in common that have classes of their own."""

    def __init__(
        self,
        model: Model,
        mode: Mode = "graph",
        vocab: str | os.PathLike[str] | None = None,
        precision: Precision = "float32",
    ):
        if vocab is not None:
            raise ValueError(
                f"{model.preset.name} has classes of its own: a vocabulary is for a model that takes words"
            )
        self.preset, self._run = model.preset, Runner(model, mode, precision)

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

    _output: type[LogitsOutput] | type[ScoresOutput] = LogitsOutput

    def check_window(self, window: Window, task: str) -> None:
        """Any will do."""

    def __call__(
        self,
        inputs: Sequence[Input],
        words: Words = None,
        window: Window | None = None,
        progress: Progress | None = None,
    ) -> Sequence[LogitsOutput | ScoresOutput]:
        maps = _slide(self._logits, inputs, window, progress) if window else self._at_once(inputs)
        known = _label_set(self.preset, maps[0].num_classes)
        return [self._output(own, item, self.preset, known) for own, item in zip(maps, inputs, strict=True)]

    def _at_once(self, inputs: Sequence[Input]) -> Sequence[ClassMaps]:
        logits = self._logits(_stacked(inputs))
        return [logits_of(values, item, self.preset) for values, item in zip(logits, inputs, strict=True)]

    def _logits(self, images: np.ndarray) -> np.ndarray:
        (logits,) = _run(self._run, self.preset, images)
        return _with_background(logits, self.preset.preprocessing.threshold) if logits.shape[1] == 1 else logits


class ScoresNetwork(LogitsNetwork):
    """A graph that has made scores of classes of its queries, (N, C, h, w)."""

    _output = ScoresOutput


class WordsNetwork:
    """A model that compares pixels with words: LSeg, in its three parts, each compiled for itself, so that a picture
    and a list of words are each looked at once."""

    def __init__(
        self,
        model: Model,
        mode: Mode = "graph",
        vocab: str | os.PathLike[str] | None = None,
        precision: Precision = "float32",
    ):
        self.preset = model.preset
        vocabulary = find_vocabulary(vocab, model.checkpoint, self.preset.embedded)
        self.reader = WordReader(model.text, Tokenizer(vocabulary), mode)
        self._pixels, self._compare = Runner(Pixels(model), mode, precision), Runner(model.word_pixel, mode)

    def check_labels(self, labels: Sequence[str] | None) -> tuple[str, ...]:
        if labels is None:
            raise ValueError(
                f"{self.preset.name} takes words: pass the labels that it is to tell apart (--labels A,B,C)"
            )
        words = check_words(labels)
        if self.preset.preprocessing.resize_mask and (len(words) != 2 or words[0] != OTHERS):
            raise ValueError(
                f"{self.preset.name} tells one text from everything else: pass one label, not {len(words)}"
            )
        self.reader.features(words)  # whatever is wrong with them is not the picture's fault
        return words

    def check_window(self, window: Window, task: str) -> None:
        for crop, _ in window.sides:
            if crop % MAX_STRIDE:
                raise ValueError(
                    f"a window of {self.preset.name} must be a multiple of {MAX_STRIDE} pixels: {crop} is not"
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
        self,
        inputs: Sequence[Input],
        words: Words = None,
        window: Window | None = None,
        progress: Progress | None = None,
    ) -> list[LogitsOutput]:
        assert words is not None, "what check_labels gives of a model that takes words"
        known, asked = word_labels(words), words
        if window:
            maps = _slide(lambda part: self.compare(part, asked)[0], inputs, window, progress)
            return [LogitsOutput(own, item, self.preset, known) for own, item in zip(maps, inputs, strict=True)]
        values, pixels = self.compare(_stacked(inputs), words)
        features = self.reader.features(words)
        return [
            LogitsOutput(
                logits_of(values[place], item, self.preset),
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


class QueriesNetwork(OwnClasses):
    """A model that gives classes and masks of queries, (N, Q, C + 1) and (N, Q, h, w)."""

    def check_window(self, window: Window, task: str) -> None:
        if task != "semantic":
            raise ValueError(f"windows answer semantic segmentation alone: {task} is asked of {self.preset.name}")

    def __call__(
        self,
        inputs: Sequence[Input],
        words: Words = None,
        window: Window | None = None,
        progress: Progress | None = None,
    ) -> Sequence[ScoresOutput] | Sequence[QueriesOutput]:
        if window:
            maps = _slide(self._scores, inputs, window, progress)
            known = _label_set(self.preset, maps[0].num_classes)
            return [ScoresOutput(own, item, self.preset, known) for own, item in zip(maps, inputs, strict=True)]
        class_logits, mask_logits = _run(self._run, self.preset, _stacked(inputs))
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
    "scores": ScoresNetwork,
}


def _with_background(logits: np.ndarray, threshold: float) -> np.ndarray:
    """Of one output (N, 1, h, w) two, of background and object: the object is chosen where its sigmoid is above the
    threshold, and a softmax gives its probability, which at a threshold other than 0.5 is shifted by it."""
    background = np.full_like(logits, np.log(threshold / (1 - threshold)))
    return np.concatenate([background, logits], axis=1)


def _slide(
    run: Callable[[np.ndarray], np.ndarray], inputs: Sequence[Input], window: Window, progress: Progress | None
) -> Sequence[Mosaic]:
    pieces = slide(run, _stacked(inputs), window, progress)
    return [Mosaic(own, item.geometry) for own, item in zip(pieces, inputs, strict=True)]


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

"""A model and a picture: the answer at the picture's own size."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

import numpy as np
from mindspore import Tensor, nn

from ms_seg.answers.query_answers import answer_queries
from ms_seg.answers.segments import SegmentsAnswer
from ms_seg.answers.semantic import Answer, Embeddings
from ms_seg.data.picture import Picture, read_picture
from ms_seg.data.preprocessing import Geometry, network_input
from ms_seg.inference.execution import runner
from ms_seg.inference.views import View, label_views
from ms_seg.inference.windows import Window, slide
from ms_seg.inference.words import OTHERS, WordModel, check_words, word_labels
from ms_seg.label_sets import labels_of, numbered_labels
from ms_seg.postprocessing.logits import Logits, label_by_mask, label_pixels
from ms_seg.postprocessing.queries import Queries
from ms_seg.systems.lseg import COARSEST
from ms_seg.text import Tokenizer
from ms_seg.text.vocabulary import find_vocabulary


class Segmenter:
    """Segments pictures, as the preset of the model says: resizing, normalisation and labels.

    Args:
        model: a Cell of `create_model` with its `preset`.
        mode: "graph" (compiled) or "pynative", see `execution.runner`.
        window: show the network the input in such windows, instead of at once.
        augment: average over several scales and mirror images of the picture, see `test_time`.
        vocab: of a model that takes words, its vocabulary, see `text.vocabulary.find_vocabulary`.
        task: "panoptic", "instance" or "semantic", one of the preset's `tasks`; None for the first of them.

    Raises ValueError where a model that takes words has no vocabulary, for a window that it cannot be shown, for a task
    that is not the model's, and for windows or several views of a model of queries.
    """

    def __init__(
        self,
        model: nn.Cell,
        mode: str = "graph",
        window: Window | None = None,
        augment: bool = False,
        vocab: str | os.PathLike[str] | None = None,
        task: str | None = None,
    ):
        self.preset, self.window, self.augment = model.preset, window, augment
        self.task = task or self.preset.tasks[0]
        if self.task not in self.preset.tasks:
            raise ValueError(f"{self.preset.name} gives {', '.join(self.preset.tasks)} answers and no {task} ones")
        if len(self.preset.tasks) > 1 and (window or augment):
            raise ValueError(f"{self.preset.name} sees a picture at once: windows and several views are not for it")
        if self.preset.takes_words:
            if window and window.crop % COARSEST:
                raise ValueError(
                    f"a window of {window.crop} pixels is not for {self.preset.name}: it takes multiples of {COARSEST}"
                )
            vocabulary = find_vocabulary(vocab, model.checkpoint, self.preset.embedded)
            self._network = WordModel(model, Tokenizer(vocabulary), mode)
        else:
            self._network = runner(model, mode)

    def __call__(self, picture: Picture, labels: Sequence[str] | None = None) -> Answer | SegmentsAnswer:
        """Segment a path, an RGB array (H, W, 3) uint8 or a Pillow image.

        labels: the words that a model which takes words tells apart, their features computed once for each list. One
        word alone is told from everything else, which is called "others" and is class 0.

        Raises ValueError for a picture that cannot be read (see `read_picture`) or is too large for the model, for
        labels that are missing, empty, twice there, too long or not asked for, and when the network's output is not
        finite; RuntimeError when MindSpore cannot run the network.
        """
        words = self.check_labels(labels)
        pixels = read_picture(picture)
        source = os.fspath(picture) if isinstance(picture, (str, os.PathLike)) else None
        try:
            return self._answer(pixels, words, source)
        except (ValueError, RuntimeError) as error:
            raise type(error)(f"{source or 'the picture'}: {error}") from error

    def check_labels(self, labels: Sequence[str] | None) -> tuple[str, ...] | None:
        """The words that a call with these labels tells apart; raises as it does where they will not do."""
        name = self.preset.name
        if not self.preset.takes_words:
            if labels is not None:
                raise ValueError(f"{name} has classes of its own: labels are for a model that takes words, as lseg_*")
            return None
        if labels is None:
            raise ValueError(f"{name} takes words: pass the labels that it is to tell apart")
        words = check_words(labels)
        if self.preset.preprocessing.resize_mask and (len(words) != 2 or words[0] != OTHERS):
            raise ValueError(f"{name} tells one text from everything else: pass one label, not {len(words)}")
        self._network.words(words)  # whatever is wrong with them is not the picture's fault
        return words

    def forget_words(self) -> None:
        """Let the words be read anew: a text transformer that is being trained reads them otherwise now."""
        self._network.words.cache_clear()

    def predict(
        self, pixels: np.ndarray, view: View | None = None, words: tuple[str, ...] | None = None
    ) -> tuple[np.ndarray | tuple[np.ndarray, np.ndarray], Geometry]:
        """The network alone: RGB (H, W, 3) uint8 -> its logits (C, h, w) float32, and the sizes they went through.

        Of a model of queries, class logits (Q, C + 1) and mask logits (Q, h, w) stand for the logits.

        A window gives logits as large as the network's input. The view is the preset's unless another is asked for.
        Raises as a call does.
        """
        view = view or View(self.preset.preprocessing)
        images, geometry = network_input(pixels, view.rule)
        if view.mirrored:  # after resizing, as mmsegmentation does; the padding stays right and below
            height, width = geometry.resized
            images[..., :height, :width] = images[..., :height, :width][..., ::-1].copy()
        run = partial(self.run, words=words)
        return slide(run, images, self.window) if self.window else run(images), geometry

    def _answer(self, pixels: np.ndarray, words: tuple[str, ...] | None, source: str | None) -> Answer | SegmentsAnswer:
        rule, logits = self.preset.preprocessing, None
        if len(self.preset.tasks) > 1:
            outputs, geometry = self.predict(pixels)
            return answer_queries(Queries(*outputs, geometry), self.task, self.preset, pixels, source)
        if self.augment:
            size = pixels.shape[:2]
            labels, scores = label_views(size, rule, lambda view: self.predict(pixels, view, words))
        else:
            logits = Logits(*self.predict(pixels, words=words), rule.logits_via_input)
            labels, scores = label_by_mask(logits) if rule.resize_mask else label_pixels(logits)
        known = word_labels(words) if words else labels_of(self.preset.label_set) or numbered_labels(len(scores))
        return Answer(pixels, labels, known, scores, self.preset.name, source, logits, self._embeddings(logits, words))

    def _embeddings(self, logits: Logits | None, words: tuple[str, ...] | None) -> Embeddings | None:
        """Of a picture that was seen at once."""
        if words is None or logits is None or self.window:
            return None
        return Embeddings(self._network.pixels, self._network.words(words), words, logits.geometry)

    def run(
        self, images: np.ndarray, words: tuple[str, ...] | None = None
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Images (1, 3, h, w) float32 -> what the network gives of it: (C, h', w') float32, or as `predict` says."""
        inputs = (Tensor(images),) if words is None else (Tensor(images), words)
        try:
            outputs = self._network(*inputs)
            several = isinstance(outputs, tuple)
            logits = [tensor.asnumpy()[0] for tensor in (outputs if several else (outputs,))]
        except Exception as error:  # MindSpore's are of any type, and pages long
            size, reason = "{}x{}".format(*images.shape[2:]), str(error).strip().split("\n")[0]
            raise RuntimeError(f"{self.preset.name} could not be run on an input of {size}: {reason}") from error
        if not all(np.isfinite(array).all() for array in logits):
            raise ValueError(f"{self.preset.name} gave values that are not finite: is its checkpoint damaged?")
        return tuple(logits) if several else logits[0]

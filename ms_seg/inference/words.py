"""A model that takes words: LSeg, run in parts, so that a picture and a set of words are each looked at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from mindspore import Tensor, nn

from ms_seg.inference.execution import runner
from ms_seg.label_sets import LabelSet, check_names, numbered_labels
from ms_seg.text import Tokenizer

if TYPE_CHECKING:
    from ms_seg.answers.semantic import Answer
    from ms_seg.inference.segmenter import Segmenter

OTHERS = "others"  # what a single label is told from; lang-seg's few-shot files and ModelScope write it so

_SETS_KEPT = 16
_WIDTH = 8  # tokens: texts are padded to a multiple


class WordModel:
    """LSeg's three parts, each compiled for itself: features of pixels, features of words, their comparison.

    model: an `LSeg` of `create_model`. mode: see `execution.runner`. `pixels` holds the features (1, D, h, w) of the
    images that were seen last. Raises ValueError for a tokenizer of another model.
    """

    def __init__(self, model: nn.Cell, tokenizer: Tokenizer, mode: str = "graph"):
        known = model.text.token_embedding.shape[0]
        if len(tokenizer) != known:
            raise ValueError(f"the vocabulary has {len(tokenizer)} symbols, and the model knows {known}: another's")
        self._tokenizer = tokenizer
        self._see = runner(_Pixels(model), mode)
        self._read = runner(model.text, mode)
        self._compare = runner(model.word_pixel, mode)
        self.words = lru_cache(_SETS_KEPT)(self._words)
        self.pixels: Tensor | None = None

    def __call__(self, images: Tensor, labels: tuple[str, ...]) -> Tensor:
        """Images (1, 3, h, w) and K labels -> logits (1, K, h, w)."""
        words = self.words(labels)
        self.pixels = self._see(images)
        return self._compare(self.pixels, words)

    def tokens(self, labels: tuple[str, ...]) -> np.ndarray:
        """What the text transformer reads of these labels: (K, L) int32.

        Raises ValueError for a label that is too long for the model, and for two that are the same to it.
        """
        tokens = self._tokenizer(labels)
        first: dict[bytes, str] = {}
        for label, row in zip(labels, tokens, strict=True):
            other = first.setdefault(row.tobytes(), label)
            if other != label:
                raise ValueError(f"the labels {other!r} and {label!r} are the same words to the model: leave one out")
        # What comes after the last end mark changes nothing, and costs time; few widths, for each is compiled.
        width = int(tokens.argmax(axis=1).max()) + 1
        return np.ascontiguousarray(tokens[:, : -(-width // _WIDTH) * _WIDTH])

    def _words(self, labels: tuple[str, ...]) -> Tensor:
        """Features (K, D) float32 of these labels, computed once for the latest lists. Raises as `tokens` does."""
        return self._read(Tensor(self.tokens(labels)))


def check_words(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels that a person gave, without the spaces around them; one alone is told from OTHERS, the first then.

    Raises ValueError for none, an empty one, one that stands twice, control characters, and over 200 characters.
    """
    if isinstance(labels, str):
        raise ValueError(f"labels is the text {labels!r}: pass a list of names")
    names = tuple(str(label).strip() for label in labels)
    if not names:
        raise ValueError("labels is empty: pass at least one name")
    check_names(names, "the list of labels")
    return (OTHERS, *names) if len(names) == 1 and names[0] != OTHERS else names


def word_labels(words: tuple[str, ...]) -> LabelSet:
    """The label set of these words, in colours that neighbours do not share."""
    return LabelSet(words, numbered_labels(len(words)).palette)


def by_names(segmenter: Segmenter, labels: LabelSet) -> Callable[[np.ndarray], Answer]:
    """Segments by the names of a label set, in which one may stand twice, as lang-seg's list has "screen".

    To the model such classes are the same; the first of them is the answer. Raises ValueError for names that the model
    cannot take.
    """
    names = segmenter.check_labels(tuple(dict.fromkeys(labels.names)))
    classes = np.array([labels.names.index(name) for name in names], np.int32)

    def segment(picture: np.ndarray) -> Answer:
        answer = segmenter(picture, labels=names)
        return replace(answer, label_map=classes[answer.label_map], label_set=labels)

    return segment


class _Pixels(nn.Cell):
    """Images (N, 3, H, W) -> features (N, D, H / 2, W / 2)."""

    def __init__(self, model: nn.Cell):
        super().__init__(auto_prefix=False)
        self.model = model

    def construct(self, images: Tensor) -> Tensor:
        return self.model.decoder(self.model.backbone(images))

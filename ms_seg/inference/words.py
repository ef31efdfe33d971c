"""Words that a person gives: checked, numbered and read, each list once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from mindspore import Tensor, nn

from ms_seg.inference.execution import Mode, Runner
from ms_seg.label_sets import LabelSet, check_names, numbered_labels
from ms_seg.text import Tokenizer

OTHERS = "others"  # what a single word is told from; lang-seg's few-shot files and ModelScope write it so

_CACHED_LISTS = 16
_MULTIPLE = 8  # tokens: texts are padded to a multiple


class WordReader:
    """A text transformer and its tokenizer. text: the `text` of an LSeg. mode: see `execution.Runner`.

    Raises ValueError for a tokenizer of another model.
    """

    def __init__(self, text: nn.Cell, tokenizer: Tokenizer, mode: Mode = "graph"):
        known = text.token_embedding.shape[0]
        if len(tokenizer) != known:
            raise ValueError(f"the vocabulary must be the model's, of {known} symbols: it has {len(tokenizer)}")
        self._tokenizer, self._text = tokenizer, Runner(text, mode)
        self.features = lru_cache(_CACHED_LISTS)(self._features)

    def tokens(self, words: tuple[str, ...]) -> np.ndarray:
        """What the text transformer reads of these words: (K, L) int32.

        Raises ValueError for a word that is too long for the model, and for two that are the same to it.
        """
        tokens = self._tokenizer(words)
        first: dict[bytes, str] = {}
        for word, row in zip(words, tokens, strict=True):
            other = first.setdefault(row.tobytes(), word)
            if other != word:
                raise ValueError(f"the labels {other!r} and {word!r} are the same words to the model: leave one out")
        return without_padding(tokens)

    def forget(self) -> None:
        """Let the words be read anew: a text transformer that is being trained reads them otherwise now."""
        self.features.cache_clear()

    def _features(self, words: tuple[str, ...]) -> Tensor:
        """Features (K, D) float32 of these words, computed once for the latest lists. Raises as `tokens` does."""
        (features,) = self._text(self.tokens(words))
        return features


def without_padding(tokens: np.ndarray) -> np.ndarray:
    """Tokens (K, 77) int32 -> (K, L), L a multiple of 8 or all: what comes after the last end mark changes no feature,
    and costs time. Few widths, for a graph is compiled for each."""
    width = int(tokens.argmax(axis=1).max()) + 1
    return np.ascontiguousarray(tokens[:, : -(-width // _MULTIPLE) * _MULTIPLE])


def check_words(labels: Sequence[str]) -> tuple[str, ...]:
    """The words that a person gave, without the spaces around them; one alone is told from OTHERS, the first then.

    Raises ValueError for none, an empty one, one that stands twice, control characters, and over 200 characters.
    """
    if isinstance(labels, str):
        raise ValueError(f"labels must be a list of names: {labels!r} is a text")
    names = tuple(str(label).strip() for label in labels)
    if not names:
        raise ValueError("labels is empty: pass at least one name")
    check_names(names, "the list of labels")
    return (OTHERS, *names) if len(names) == 1 and names[0] != OTHERS else names


def word_labels(words: tuple[str, ...]) -> LabelSet:
    """The label set of these words, in colours that neighbours do not share."""
    return LabelSet(words, numbered_labels(len(words)).palette)

"""CLIP's byte-pair tokenizer: text to the numbers that its transformer reads.

Equal to OpenAI's (clip/simple_tokenizer.py, `tokenize` of clip/clip.py) on every string; arXiv:1508.07909 has the idea.
"""

from __future__ import annotations

import html
import os
from collections.abc import Iterable
from functools import lru_cache
from heapq import heapify, heappop, heappush
from itertools import pairwise

import ftfy
import numpy as np
import regex

from ms_seg.text.vocabulary import BYTE_SYMBOLS, END_OF_WORD, MARKS, find_vocabulary, read_vocabulary

CONTEXT = 77  # tokens of a text, the two marks included
PADDING = 0

_CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
_LETTERS, _DIGIT, _OTHERS = r"\p{L}+", r"\p{N}", r"[^\s\p{L}\p{N}]+"
_WORD = regex.compile(
    "|".join([*map(regex.escape, MARKS), *_CONTRACTIONS, _LETTERS, _DIGIT, _OTHERS]), regex.IGNORECASE
)
_SPACES = regex.compile(r"\s+")
_KEPT_WORDS, _KEPT_LENGTH = 1 << 14, 32  # of words that need no second look, so that no text fills the memory


class Tokenizer:
    """tokenizer(["a cat"]) -> int32 (1, 77): the start mark, a number for each symbol, the end mark, zeros.

    vocab: OpenAI's file, any other list of merges, or a folder with vocab.json and merges.txt; None looks for CLIP's
    own where `find_vocabulary` does. `start` and `end` are the numbers of the marks, the last two of `len(tokenizer)`.
    Raises ValueError when there is no such file, or it is no vocabulary.
    """

    def __init__(self, vocab: str | os.PathLike[str] | None = None):
        vocabulary = read_vocabulary(find_vocabulary(vocab))
        self._merges, self._ids = vocabulary.merges, vocabulary.ids
        self._ranks = {pair: rank for rank, pair in enumerate(vocabulary.merges)}
        self._tokens_of_short_word = lru_cache(_KEPT_WORDS)(self._tokens_of_word)
        self.start, self.end = (self._ids[mark] for mark in MARKS)

    def __len__(self) -> int:
        return self.end + 1

    def __call__(self, texts: str | Iterable[str], truncate: bool = False) -> np.ndarray:
        """One text or several -> int32 (N, 77). truncate: cut texts that are longer, keeping the end mark.

        Raises ValueError without texts, for anything that is not a string, and for a text that is too long.
        """
        if not isinstance(texts, Iterable):
            raise ValueError(f"the texts to tokenize are {texts!r:.40}: pass a list of strings")
        rows = [self._row(text, truncate) for text in ([texts] if isinstance(texts, str) else texts)]
        if not rows:
            raise ValueError("there is no text to tokenize: pass at least one")
        return np.array(rows, np.int32)

    def encode(self, text: str) -> list[int]:
        """The tokens of a text of any length, without marks and padding."""
        clean = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
        clean = _SPACES.sub(" ", clean).strip().lower()
        tokens = []
        for word in _WORD.findall(clean):
            tokens += self._tokens_of_short_word(word) if len(word) <= _KEPT_LENGTH else self._tokens_of_word(word)
        return tokens

    def _row(self, text: str, truncate: bool) -> list[int]:
        if not isinstance(text, str):
            raise ValueError(f"a text to tokenize is {text!r:.40} of type {type(text).__name__}: pass strings")
        tokens = [self.start, *self.encode(text), self.end]
        if len(tokens) > CONTEXT and not truncate:
            shown = text if len(text) <= 40 else f"{text[:40]}..."
            raise ValueError(
                f"the text {shown!r} has {len(tokens)} tokens with its two marks, and CLIP reads {CONTEXT}: shorten it"
            )
        if len(tokens) > CONTEXT:
            tokens = [*tokens[: CONTEXT - 1], self.end]
        return tokens + [PADDING] * (CONTEXT - len(tokens))

    def _tokens_of_word(self, word: str) -> tuple[int, ...]:
        """The pair that comes first in the list of merges is joined wherever it stands, until no pair is listed."""
        if word in MARKS:
            return (self._ids[word],)
        symbols = [BYTE_SYMBOLS[byte] for byte in word.encode()]
        symbols[-1] += END_OF_WORD
        chain = _Chain(symbols)
        queue = [(self._ranks[pair], at) for at, pair in enumerate(pairwise(symbols)) if pair in self._ranks]
        heapify(queue)
        while queue:
            rank, joined = queue[0][0], []
            while queue and queue[0][0] == rank:  # from left to right, and before any pair that arises from these
                at = heappop(queue)[1]
                if chain.pair(at) == self._merges[rank]:
                    chain.join(at)
                    joined.append(at)
            for at in joined:
                for left in (chain.before[at], at):
                    if (found := self._ranks.get(chain.pair(left))) is not None:
                        heappush(queue, (found, left))
        return tuple(self._ids[symbol] for symbol in symbols if symbol)


class _Chain:
    """The symbols of a word, of which neighbours are joined: a word of n bytes takes n log n steps, not n squared."""

    def __init__(self, symbols: list[str]):
        self.symbols = symbols  # empty where a symbol has become a part of the one before
        self.before = list(range(-1, len(symbols) - 1))
        self.after = list(range(1, len(symbols) + 1))

    def pair(self, at: int) -> tuple[str, str] | None:
        """The symbol here and the next; None where there are no two."""
        if at < 0 or not self.symbols[at] or self.after[at] == len(self.symbols):
            return None
        return self.symbols[at], self.symbols[self.after[at]]

    def join(self, at: int) -> None:
        """Take the next symbol into the one here."""
        taken = self.after[at]
        self.symbols[at] += self.symbols[taken]
        self.symbols[taken] = ""
        self.after[at] = self.after[taken]
        if self.after[at] < len(self.symbols):
            self.before[self.after[at]] = at

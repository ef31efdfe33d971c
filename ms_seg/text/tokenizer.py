"""CLIP's byte-pair tokenizer: text to token ids.

Equal to OpenAI's (clip/simple_tokenizer.py, `tokenize` of clip/clip.py) on every string; see arXiv:1508.07909.
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

from ms_seg.text.vocabulary import BYTE_SYMBOLS, END_OF_WORD, SPECIAL_TOKENS, find_vocabulary, read_vocabulary

CONTEXT_LENGTH = 77  # tokens of a text, the start and the end token included
PADDING = 0

_CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
_LETTERS, _DIGIT, _OTHERS = r"\p{L}+", r"\p{N}", r"[^\s\p{L}\p{N}]+"
_WORD = regex.compile(
    "|".join([*map(regex.escape, SPECIAL_TOKENS), *_CONTRACTIONS, _LETTERS, _DIGIT, _OTHERS]), regex.IGNORECASE
)
_SPACES = regex.compile(r"\s+")
_CACHED_WORDS, _CACHED_LENGTH = 1 << 14, 32  # the cache's size and its longest word: no text fills the memory


class Tokenizer:
    """tokenizer(["a cat"]) -> int32 (1, 77): the start token, the text's tokens, the end token, zeros.

    vocab: OpenAI's file, any other list of merges, or a folder with vocab.json and merges.txt; None looks for CLIP's
    own where `find_vocabulary` does. `start` and `end` are the ids of these tokens, the last two of `len(tokenizer)`.
    Raises ValueError when there is no such file, or it is not a vocabulary.
    """

    def __init__(self, vocab: str | os.PathLike[str] | None = None):
        vocabulary = read_vocabulary(find_vocabulary(vocab))
        self._merges, self._ids = vocabulary.merges, vocabulary.ids
        self._ranks = {pair: rank for rank, pair in enumerate(vocabulary.merges)}
        self._cached_tokens_of_word = lru_cache(_CACHED_WORDS)(self._tokens_of_word)
        self.start, self.end = (self._ids[token] for token in SPECIAL_TOKENS)

    def __len__(self) -> int:
        return self.end + 1

    def __call__(self, texts: str | Iterable[str], truncate: bool = False) -> np.ndarray:
        """One text or several -> int32 (N, 77). truncate: cut longer texts, keeping the end token.

        Raises ValueError without texts, for anything that is not a string, and for a text that is too long.
        """
        if not isinstance(texts, Iterable):
            raise ValueError(f"the texts to tokenize are {texts!r:.40}: pass a list of strings")
        rows = [self._row(text, truncate) for text in ([texts] if isinstance(texts, str) else texts)]
        if not rows:
            raise ValueError("there is no text to tokenize: pass at least one")
        return np.array(rows, np.int32)

    def encode(self, text: str) -> list[int]:
        """The tokens of a text of any length, without start and end token and without padding."""
        clean = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
        clean = _SPACES.sub(" ", clean).strip().lower()
        tokens: list[int] = []
        for word in _WORD.findall(clean):
            tokens += self._cached_tokens_of_word(word) if len(word) <= _CACHED_LENGTH else self._tokens_of_word(word)
        return tokens

    def _row(self, text: str, truncate: bool) -> list[int]:
        if not isinstance(text, str):
            raise ValueError(f"a text to tokenize is {text!r:.40} of type {type(text).__name__}: pass strings")
        tokens = [self.start, *self.encode(text), self.end]
        if len(tokens) > CONTEXT_LENGTH and not truncate:
            shown = text if len(text) <= 40 else f"{text[:40]}..."
            raise ValueError(
                f"a text must have at most {CONTEXT_LENGTH} tokens, start and end included: {shown!r} has {len(tokens)}"
            )
        if len(tokens) > CONTEXT_LENGTH:
            tokens = [*tokens[: CONTEXT_LENGTH - 1], self.end]
        return tokens + [PADDING] * (CONTEXT_LENGTH - len(tokens))

    def _tokens_of_word(self, word: str) -> tuple[int, ...]:
        """The pair that comes first in the list of merges is merged wherever it occurs, until no pair is listed."""
        if word in SPECIAL_TOKENS:
            return (self._ids[word],)
        symbols = [BYTE_SYMBOLS[byte] for byte in word.encode()]
        symbols[-1] += END_OF_WORD
        chain = _Chain(symbols)
        queue = [(self._ranks[pair], at) for at, pair in enumerate(pairwise(symbols)) if pair in self._ranks]
        heapify(queue)
        while queue:
            rank, merged = queue[0][0], []
            while queue and queue[0][0] == rank:  # from left to right, and before any pair that arises from these
                at = heappop(queue)[1]
                if chain.pair(at) == self._merges[rank]:
                    chain.merge(at)
                    merged.append(at)
            for at in merged:
                for left in (chain.before[at], at):
                    pair = chain.pair(left)
                    if pair in self._ranks:
                        heappush(queue, (self._ranks[pair], left))
        return tuple(self._ids[symbol] for symbol in symbols if symbol)


class _Chain:
    """The symbols of a word, linked so that neighbours can be merged: n bytes take n log n steps, not n squared."""

    def __init__(self, symbols: list[str]):
        self.symbols = symbols  # empty where a symbol has been merged into the one before
        self.before = list(range(-1, len(symbols) - 1))
        self.after = list(range(1, len(symbols) + 1))

    def pair(self, at: int) -> tuple[str, str] | None:
        """This symbol and the next; None where there is no such pair."""
        if at < 0 or not self.symbols[at] or self.after[at] == len(self.symbols):
            return None
        return self.symbols[at], self.symbols[self.after[at]]

    def merge(self, at: int) -> None:
        """Merge the next symbol into this one."""
        taken = self.after[at]
        self.symbols[at] += self.symbols[taken]
        self.symbols[taken] = ""
        self.after[at] = self.after[taken]
        if self.after[at] < len(self.symbols):
            self.before[self.after[at]] = at

"""Our tokenizer against OpenAI's own, on thousands of strings and on vocabularies drawn at random."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import clip_original
import pytest

from ms_seg.text import Tokenizer, vocabulary

STORED = Path(__file__).parents[1] / "text" / "clip_tokens.json"
PIECES = (
    ["'s", "'T", "'re", "'VE", "'m", "'ll", "'D", "'ſ", "’s", "“", "…", "ﬁ", "ẞ", "İ", "K", "²", "½", "ⅷ", "٣", "数"]
    + ["&amp;", "&lt;", "&#39;", "&#x1F436;", "&amp;amp;lt;", "&nbsp;", "&", ";", "<", ">", "&eacute;", "&copy"]
    + ["🐶", "👨\u200d👩\u200d👧", "🇩🇪", "👍🏽", "\ufe0f", "\u200b", "\u2060", "\ufeff", "\u00ad", "\u0301", "e\u0308"]
    + ["Ã©", "â€™", "Ð¿", "Ã ", "\x9d", "\x1b[1m", "\x07", "\x85", "\u2028", "\u00a0", "\u3000", "\t", "\n", "\r\n"]
    + ["<|startoftext|>", "<|EndOfText|>", "<|", "|>", "_", "-", "!?", "1", "007", "a", "The", "photo", "CAT", "\ud83d"]
    + [" ", "  ", "か", "\u0323", "\U000e0041", "\x00"]
)


def drawn_texts(seed: int, count: int) -> Iterator[str]:
    """Pieces that cleaning and the pattern care for, words, characters of every plane, bytes read as text."""
    draw = random.Random(seed)
    kinds = (
        lambda n: "".join(draw.choices(PIECES, k=n)),
        lambda n: "".join(draw.choices("etaoin shrdlu ETAOIN.,'-", k=3 * n)),
        lambda n: "".join(chr(draw.randrange(sys.maxunicode + 1)) for _ in range(n)),
        lambda n: "".join(chr(draw.randrange(0x3000)) for _ in range(n)),
        lambda n: draw.randbytes(n).decode("latin-1"),
        lambda n: draw.randbytes(n).decode("utf-8", "surrogateescape"),
        lambda n: "".join(draw.choices("naïve café Ελλάδα Привет 汉字", k=n)).encode().decode("cp1252", "replace"),
    )
    for number in range(count):
        yield kinds[number % len(kinds)](draw.randrange(30))


@pytest.fixture(scope="module")
def clip() -> tuple[Tokenizer, object]:
    path = clip_original.vocabulary_file()
    return Tokenizer(path), clip_original.tokenizer(path)


def test_drawn_texts_get_the_originals_tokens(clip):
    ours, theirs = clip
    differing = [text for text in drawn_texts(1, 10_500) if ours.encode(text) != theirs.encode(text)]
    assert not differing


def test_every_character_of_the_basic_plane_gets_the_originals_tokens(clip):
    ours, theirs = clip
    texts = ["".join(map(chr, range(start, start + 16))) for start in range(0, 0x10000, 16)]
    texts += [f"a{chr(character)}b {chr(character)}'s" for character in range(0x3000)]
    assert not [text for text in texts if ours.encode(text) != theirs.encode(text)]


def test_the_stored_tokens_are_the_originals(clip):
    for text, tokens in json.loads(STORED.read_text()):
        assert clip[1].encode(text) == tokens, ascii(text)


@pytest.mark.parametrize("seed", range(20))
def test_any_list_of_merges_is_read_as_the_original_reads_it(seed: int, tmp_path: Path):
    draw = random.Random(seed)
    symbols = [letter + end for letter in "abc" for end in ("", "</w>")]
    merges: list[str] = []
    while len(merges) < 30:  # a text could hardly have taught these: some come too late, some make the same symbol
        left, right = draw.choice([s for s in symbols if "<" not in s]), draw.choice(symbols)
        if f"{left} {right}" not in merges and len(left + right) < 12:
            merges.append(f"{left} {right}")
            symbols.append(left + right)
    path = tmp_path / "merges.txt.gz"
    path.write_bytes(gzip.compress("\n".join(["#version", *merges]).encode()))
    ours, theirs = Tokenizer(path), clip_original.tokenizer(path)
    assert (ours.start, ours.end) == (theirs.encoder["<|startoftext|>"], theirs.encoder["<|endoftext|>"])
    texts = ["".join(draw.choices("abc", k=draw.randrange(1, 40))) for _ in range(300)]
    assert not [text for text in texts if ours.encode(text) != theirs.encode(text)]


def test_the_file_that_is_downloaded_is_the_originals():
    content = clip_original.vocabulary_file().read_bytes()
    assert hashlib.sha256(content).hexdigest() == vocabulary.SHA256


def test_transformers_files_are_read_as_the_same_vocabulary(clip, tmp_path: Path):
    lines = (
        gzip.decompress(clip_original.vocabulary_file().read_bytes()).decode().split("\n")[1 : vocabulary.MERGES + 1]
    )
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *lines, ""]), encoding="utf-8")
    (tmp_path / "vocab.json").write_text(json.dumps(clip[1].encoder), encoding="utf-8")
    ours = Tokenizer(tmp_path)
    assert len(ours) == len(clip[1].encoder)
    assert not [text for text in drawn_texts(2, 700) if ours.encode(text) != clip[1].encode(text)]

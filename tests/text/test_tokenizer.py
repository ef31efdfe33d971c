"""Byte pairs by hand, with vocabularies of a few merges; and CLIP's own, by tokens that the original gave."""

from __future__ import annotations

import json
import random
from pathlib import Path

import clip_original
import numpy as np
import pytest

from ms_seg.text import Tokenizer
from ms_seg.text.vocabulary import read_vocabulary
from tests.text.small_vocabulary import MARKS_AND_BYTES, byte, merge, spelt, tokenizer_of
from tests.work import bounded_work

CLIP_TOKENS = json.loads((Path(__file__).parent / "clip_tokens.json").read_text())


@pytest.fixture(scope="module")
def clip() -> Tokenizer:
    return Tokenizer(clip_original.vocabulary_file())


@pytest.fixture
def spelling(tmp_path: Path) -> Tokenizer:
    """A tokenizer that joins nothing."""
    return tokenizer_of(tmp_path)


# --------------------------------------------------------------------------------------------------------------- CLIP's


@pytest.mark.parametrize(("text", "tokens"), CLIP_TOKENS, ids=[ascii(text)[:40] for text, _ in CLIP_TOKENS])
def test_tokens_are_the_originals(clip: Tokenizer, text: str, tokens: list[int]):
    assert clip.encode(text) == tokens


def test_clips_marks_are_the_last_of_49408_tokens(clip: Tokenizer):
    assert (len(clip), clip.start, clip.end) == (49408, 49406, 49407)


def test_a_row_is_the_marks_around_the_tokens_then_zeros(clip: Tokenizer):
    rows = clip(["Hello World!", ""])
    assert rows.dtype == np.int32 and rows.shape == (2, 77)
    assert rows[0].tolist() == [49406, 3306, 1002, 256, 49407] + [0] * 72
    assert rows[1].tolist() == [49406, 49407] + [0] * 75


# ----------------------------------------------------------------------------------------------------------- byte pairs


def test_the_pair_that_is_listed_first_is_joined_first(tmp_path: Path):
    tokenizer = tokenizer_of(tmp_path, "b c</w>", "a b", "ab c</w>")
    assert tokenizer.encode("abc") == [byte("a"), merge(0)]
    assert tokenizer.encode("abd") == [merge(1), byte("d", last=True)]


def test_what_was_joined_is_joined_again(tmp_path: Path):
    tokenizer = tokenizer_of(tmp_path, "l o", "lo w</w>", "w e", "lo we", "lowe r</w>")
    assert tokenizer.encode("low lower") == [merge(1), merge(4)]


def test_a_pair_is_joined_wherever_it_stands_before_a_pair_that_arises_from_it(tmp_path: Path):
    tokenizer = tokenizer_of(tmp_path, "a b", "b c", "a bc", "abc ab", "ab c")
    assert tokenizer.encode("abcabcd") == [merge(4), merge(4), byte("d", last=True)]  # not "abcab", "c", "d"


def test_pairs_that_overlap_are_joined_from_the_left(tmp_path: Path):
    tokenizer = tokenizer_of(tmp_path, "a a")
    assert tokenizer.encode("aaaab") == [merge(0), merge(0), byte("b", last=True)]
    assert tokenizer.encode("aaab") == [merge(0), byte("a"), byte("b", last=True)]


def test_the_end_of_a_word_is_another_symbol(tmp_path: Path):
    tokenizer = tokenizer_of(tmp_path, "a t")
    assert tokenizer.encode("at ate") == [*spelt("at"), merge(0), byte("e", last=True)]


def test_a_small_vocabularys_marks_follow_its_merges(tmp_path: Path):
    tokenizer = tokenizer_of(tmp_path, "a t</w>", "c at</w>")
    assert (len(tokenizer), tokenizer.start, tokenizer.end) == (MARKS_AND_BYTES + 2, merge(2), merge(3))
    assert tokenizer("cat")[0, :4].tolist() == [merge(2), merge(1), merge(3), 0]


# ---------------------------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("we'll say it's mine", ["we", "'ll", "say", "it", "'s", "mine"]),
        ("rock'n'roll", ["rock", "'", "n", "'", "roll"]),
        ("route 66b", ["route", "6", "6", "b"]),
        ("no?! (yes)", ["no", "?!", "(", "yes", ")"]),
        ("The\tCAT \n sat ", ["the", "cat", "sat"]),
        ("fish &amp;amp; chips &lt;b&gt;", ["fish", "&", "chips", "<", "b", ">"]),
        ("<b> &amp;lt;", ["<", "b", ">", "<"]),  # ftfy leaves entities be beside a tag
        ("\u2018curly\u2019 \uff37\uff29\uff24\uff25", ["'", "curly", "'", "wide"]),
        ("\x00be\x07ll\x1b[0m", ["bell"]),
    ],
)
def test_words_are_told_apart_after_cleaning(spelling: Tokenizer, text: str, words: list[str]):
    assert spelling.encode(text) == [token for word in words for token in spelt(word)]


def test_a_character_beyond_ascii_is_its_bytes(spelling: Tokenizer):
    # 0xC3 is the 94 + 33rd of the visible bytes, which leave out 0x7F to 0xA0 and 0xAD; 0xA9 stands before that gap
    assert spelling.encode("é") == [0xC3 - 0x21 - 35, 256 + 0xA9 - 0x21 - 34]


def test_mojibake_reads_as_what_was_meant(spelling: Tokenizer):
    assert spelling.encode("cafÃ©") == spelling.encode("café")


def test_half_a_surrogate_pair_reads_as_the_replacement_character(spelling: Tokenizer):
    assert spelling.encode("a \ud800") == spelling.encode("a \ufffd")


def test_marks_written_in_a_text_are_marks(spelling: Tokenizer):
    assert spelling.encode("<|startoftext|>a<|EndOfText|>") == [spelling.start, byte("a", last=True), spelling.end]


def test_the_letters_of_a_long_word_take_no_more_work_than_those_of_a_short_one(clip: Tokenizer):
    """Joining pair by pair runs 166 lines a letter for a hundred letters, 649 for a thousand: minutes for this word."""
    word = "".join(random.Random(0).choices("etaoinshrdlu", k=100_000))
    symbols = {token: symbol for symbol, token in read_vocabulary(clip_original.vocabulary_file()).ids.items()}
    with bounded_work(lines=25 * len(word), memory=64 << 20):
        tokens = clip.encode(word)
    assert "".join(symbols[token] for token in tokens) == word + "</w>"


# -------------------------------------------------------------------------------------------------------------- lengths


def test_seventy_five_tokens_fit_between_start_and_end(spelling: Tokenizer):
    row = spelling("a " * 75)[0]
    assert row[0] == spelling.start and row[-1] == spelling.end and (row[1:-1] == byte("a", last=True)).all()
    with pytest.raises(ValueError, match=r"^a text must have at most 77 tokens, .*: 'a a .{36}\.\.\.' has 78$"):
        spelling(["short", "a " * 76])


def test_truncation_keeps_the_end_token(spelling: Tokenizer):
    rows = spelling(["a", "b " * 500], truncate=True)
    assert rows.shape == (2, 77)
    assert rows[1].tolist() == [spelling.start, *[byte("b", last=True)] * 75, spelling.end]


def test_a_single_text_is_a_list_of_one(spelling: Tokenizer):
    np.testing.assert_array_equal(spelling("a cat"), spelling(["a cat"]))


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        ([], "there is no text"),
        (None, "are None: pass a list of strings"),
        (["a", 3], "is 3 of type int: pass strings"),
        ([b"cat"], "is b'cat' of type bytes: pass strings"),
        ([["cat"]], "of type list: pass strings"),
    ],
)
def test_anything_but_texts_is_refused_with_a_sentence(spelling: Tokenizer, texts, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        spelling(texts)

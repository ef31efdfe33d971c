"""Vocabularies of a few merges, whose tokens can be counted by hand."""

from __future__ import annotations

from pathlib import Path

from ms_seg.text import Tokenizer

MARKS_AND_BYTES = 2 + 2 * 256


def write_merges(path: Path, *merges: str) -> Path:
    path.write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    return path


def tokenizer_of(folder: Path, *merges: str) -> Tokenizer:
    return Tokenizer(write_merges(folder / "merges.txt", *merges))


def byte(character: str, last: bool = False) -> int:
    """The token of a visible ASCII character, which CLIP counts from "!"; another one if it ends a word."""
    return ord(character) - ord("!") + 256 * last


def spelt(word: str) -> list[int]:
    """The tokens of an ASCII word of which nothing is joined."""
    return [*map(byte, word[:-1]), byte(word[-1], last=True)]


def merge(number: int) -> int:
    """The token of a merge, counted from 0."""
    return 2 * 256 + number

"""CLIP's byte-pair vocabulary: where its file is found, and what it holds.

A vocabulary numbers the symbols that words are made of: 256 bytes, the same at the end of a word, one more for each
merge of two symbols, and the tokens of a text's start and end. Only the merges need a file.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ms_seg.hub.transfer import Checksum, cache_folder, download

FILE = "bpe_simple_vocab_16e6.txt.gz"
SHA256 = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"
URLS = (
    f"https://raw.githubusercontent.com/openai/CLIP/main/clip/{FILE}",
    f"https://openaipublic.azureedge.net/clip/{FILE}",
)
VARIABLE = "MS_SEG_CLIP_VOCAB"

MERGES = 48_894  # CLIP reads so many of OpenAI's file, which has 262,144
END_OF_WORD = "</w>"
SPECIAL_TOKENS = ("<|startoftext|>", "<|endoftext|>")

_MAX_BYTES = 16 << 20  # unpacked; OpenAI's file has 3.2 MB
_OWN_NAMES = (FILE, FILE.removesuffix(".gz"))
_TRANSFORMERS_NAMES = ("vocab.json", "merges.txt")


def _byte_symbols() -> tuple[str, ...]:
    """A printable character for each byte: its own in Latin-1, or the next from U+0100 where that is not printable."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return tuple(chr(byte if byte in printable else next(spare)) for byte in range(0x100))


BYTE_SYMBOLS = _byte_symbols()


@dataclass(frozen=True)
class Vocabulary:
    """merges: pairs of symbols, in the order in which they are merged. ids: of every symbol and special token."""

    merges: tuple[tuple[str, str], ...]
    ids: dict[str, int]


def find_vocabulary(
    vocab: str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    embedded: Path | None = None,
    urls: Sequence[str] = URLS,
) -> Path:
    """The file or folder of a vocabulary, for `read_vocabulary`: the first that exists of

    `vocab` itself; the folder of the checkpoint, then that of the embedded checkpoint, if the model has one; what
    $MS_SEG_CLIP_VOCAB names; the cache; a download from one of `urls` into the cache. A folder holds OpenAI's file,
    compressed or not, or transformers' vocab.json and merges.txt.
    Raises ValueError when `vocab` or the variable does not name a vocabulary, and when none is found.
    """
    if vocab is not None:
        return _named(vocab)
    for file in (checkpoint, embedded):
        if file is not None:
            folder = Path(file) if Path(file).is_dir() else Path(file).parent
            if (beside := _inside(folder)) is not None:
                return beside
    if named := os.environ.get(VARIABLE):
        return _named(named, f"{VARIABLE} is set to ")
    if (kept := _inside(cache_folder())) is not None:
        return kept
    failures = []
    for url in urls:
        try:
            return download(url, cache_folder() / FILE, Checksum("sha256", SHA256), limit=_MAX_BYTES, seconds=60)
        except (ValueError, OSError) as error:
            failures.append(str(error))
    raise ValueError(
        f"CLIP's vocabulary {FILE} (1.3 MB) is not on this machine and could not be downloaded "
        f"({'; '.join(failures)}): get it from {URLS[0]} and pass it as --vocab, set {VARIABLE} to its path, "
        f"or put it into {cache_folder()}"
    )


def read_vocabulary(path: str | os.PathLike[str]) -> Vocabulary:
    """Read OpenAI's file, compressed or not, any other list of merges, or a folder that `find_vocabulary` accepts.

    The file's first line holds "#version", each other line a pair of symbols with a space between; those after the
    48,894th are ignored, as by CLIP. Symbols are numbered as in CLIP: bytes, bytes that end a word, merges, special
    tokens. Raises ValueError for anything else, and when a vocab.json numbers the symbols differently.
    """
    path = _named(path)
    if not path.is_dir():
        return _vocabulary(_text(path), path)
    numbers, merges = (path / name for name in _TRANSFORMERS_NAMES)
    vocabulary, text = _vocabulary(_text(merges), merges), _text(numbers)
    try:
        same = json.loads(text) == vocabulary.ids
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{numbers} is not JSON: {error}") from error
    if not same:
        raise ValueError(f"{numbers} does not number the symbols of {merges} as CLIP does: they are of another model")
    return vocabulary


def _named(path: str | os.PathLike[str], where: str = "") -> Path:
    """The vocabulary at a path that a person gave."""
    path = Path(path)
    found = path if path.is_file() else _inside(path)
    if found is None and path.is_dir():
        raise ValueError(f"{where}{path}, a folder without {FILE} and without {' and '.join(_TRANSFORMERS_NAMES)}")
    if found is None:
        raise ValueError(f"{where}{path}, which is no file and no folder")
    return found


def _inside(folder: Path) -> Path | None:
    """The vocabulary in a folder: OpenAI's file, or the folder itself if it has transformers' two."""
    for name in _OWN_NAMES:
        if (folder / name).is_file():
            return folder / name
    return folder if all((folder / name).is_file() for name in _TRANSFORMERS_NAMES) else None


def _text(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    try:
        if content.startswith(b"\x1f\x8b"):
            content = gzip.GzipFile(fileobj=io.BytesIO(content)).read(_MAX_BYTES + 1)
        elif path.suffix == ".gz":
            raise ValueError(f"{path} is not a gzip file, as its name says")
        if len(content) > _MAX_BYTES:
            raise ValueError(f"{path} holds more than {_MAX_BYTES >> 20} MB: it is no vocabulary of CLIP's kind")
        return content.decode("utf-8")
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8: {error.reason} at byte {error.start}") from error


def _vocabulary(text: str, path: Path) -> Vocabulary:
    head, *lines = text.rstrip("\r\n").split("\n", MERGES + 1)
    if "#version" not in head:
        raise ValueError(f"{path} does not begin with a line that holds #version, as a list of merges does")
    symbols = sorted(BYTE_SYMBOLS)  # CLIP counts the visible bytes first
    symbols += [symbol + END_OF_WORD for symbol in symbols]
    ids = {symbol: number for number, symbol in enumerate(symbols)}
    merges: list[tuple[str, str]] = []
    for number, line in enumerate(lines[:MERGES], len(symbols)):
        pair = line.split()
        if len(pair) != 2 or pair[0] not in ids or pair[1] not in ids:
            raise ValueError(
                f"{path}, line {len(merges) + 2}: {line[:40]!r} is not a pair of symbols that are bytes or were made "
                "by the lines before"
            )
        ids[pair[0] + pair[1]] = number
        merges.append((pair[0], pair[1]))
    ids |= {token: number for number, token in enumerate(SPECIAL_TOKENS, len(symbols) + len(merges))}
    return Vocabulary(tuple(merges), ids)

"""Makes the byte-pair vocabulary of the demo's LSeg out of the drawn world's own words: vocab.json and merges.txt.

    python scripts/make_demo_vocabulary.py [--output ms_seg/assets]

As arXiv:1508.07909, section 3.2: of the pairs of neighbouring symbols the most frequent becomes a symbol of its own,
again and again, until every word of the texts is one symbol. Other words are spelt in the pieces that there are.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from convert.atomic import whole_file
from ms_seg.data.drawn.phrases import Phrases
from ms_seg.data.drawn.scenes import SHAPES_LABELS
from ms_seg.text.vocabulary import END_OF_WORD, read_vocabulary

ASSETS = Path(__file__).resolve().parents[1] / "ms_seg" / "assets"

Pair = tuple[str, str]


def texts() -> list[str]:
    """What the drawn world's labels are called, training's and the others."""
    phrases = [Phrases(kind, seen_only=False).label_set.names for kind in ("colour", "pattern")]
    return [*SHAPES_LABELS.names, *(phrase for names in phrases for phrase in names)]


def merges_of(texts: list[str]) -> list[Pair]:
    """The pairs in the order in which they are joined; of equally frequent ones the first in the alphabet."""
    counts = Counter(word for text in texts for word in text.split())
    spelt = {word: [*word[:-1], word[-1] + END_OF_WORD] for word in counts}
    merges: list[Pair] = []
    while pairs := _pairs(spelt, counts):
        merges.append(min(pairs, key=lambda pair: (-pairs[pair], pair)))
        spelt = {word: _joined(symbols, merges[-1]) for word, symbols in spelt.items()}
    return merges


def _pairs(spelt: dict[str, list[str]], counts: Counter[str]) -> Counter[Pair]:
    found: Counter[Pair] = Counter()
    for word, symbols in spelt.items():
        for pair in pairwise(symbols):
            found[pair] += counts[word]
    return found


def _joined(symbols: list[str], pair: Pair) -> list[str]:
    joined: list[str] = []
    for symbol in symbols:
        if joined and (joined[-1], symbol) == pair:
            joined[-1] += symbol
        else:
            joined.append(symbol)
    return joined


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ASSETS)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges_of(texts()))]
    with whole_file(options.output / "merges.txt") as draft:
        draft.write_text("\n".join(lines) + "\n")
    ids = read_vocabulary(options.output / "merges.txt").ids
    with whole_file(options.output / "vocab.json") as draft:
        draft.write_text(json.dumps(ids, indent=0) + "\n")
    print(f"{len(ids)} symbols in {options.output}")


if __name__ == "__main__":
    main()

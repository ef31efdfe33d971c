"""What is met in label files: how many pixels and files hold each number, as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ms_seg.data.numbering import IGNORED, Numbering, number_counts

_IGNORED_TITLE, _NOTHING_TITLE = "(ignored)", "(no class)"
_MAX_NAME_LENGTH = 32  # characters


@dataclass
class Distribution:
    """The numbers in label files: how many pixels and files hold each, and the first of these files."""

    pixels: Counter[int] = field(default_factory=Counter)
    files: Counter[int] = field(default_factory=Counter)
    first: dict[int, Path] = field(default_factory=dict)

    def add(self, numbers: np.ndarray, file: Path) -> None:
        counts = number_counts(numbers)
        self.pixels.update(counts)
        self.files.update(counts.keys())
        for number in counts:
            self.first.setdefault(number, file)

    def missing(self, numbering: Numbering) -> list[int]:
        """The classes that no number stands for."""
        return [index for index, number in enumerate(numbering.values) if number not in self.pixels]

    def table(self, numberings: Sequence[tuple[str, Numbering]], names: Sequence[str], most: int) -> list[str]:
        """A line for each number, with its share of the pixels, its files, and its class in each numbering.

        most: how many lines; what is rarest is left out, and said.
        """
        numbers = sorted(sorted(self.pixels, key=lambda number: -self.pixels[number])[:most])
        total, text = self.pixels.total(), numberings[0][1].text
        rows = [
            (
                text(n),
                _per_cent(self.pixels[n] / total),
                str(self.files[n]),
                *(_title(n, of, names) for _, of in numberings),
            )
            for n in numbers
        ]
        titles = (
            "colour" if numberings[0][1].in_colour else "value",
            "share",
            "files",
            *(title for title, _ in numberings),
        )
        widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
        lines = [
            "  ".join(
                f"{cell:>{width}}" if place < 3 else f"{cell:{width}}"
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in (titles, *rows)
        ]
        left = len(self.pixels) - len(numbers)
        return [*lines, *([f"and {left} more, of fewer pixels each"] if left else [])]


def _title(number: int, numbering: Numbering, names: Sequence[str]) -> str:
    """The class that a number stands for."""
    if number in numbering.wrong([number]):
        return _NOTHING_TITLE
    index = int(numbering.table[number])
    name = _IGNORED_TITLE if index == IGNORED else names[index]
    return name if len(name) <= _MAX_NAME_LENGTH else name[: _MAX_NAME_LENGTH - 1] + "…"


def _per_cent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "<0.1%"

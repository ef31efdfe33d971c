"""The results of an evaluation of any task, ready for the screen and for files."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

WORST = 6  # pictures that are drawn beside their ground truth


@dataclass(frozen=True)
class Results:
    """The figures of an evaluation and what they are made of.

    figures: over all pictures, ready for JSON. classes: a row of `class_columns` for each class. table: the figures as
    text, in per cent. pictures: a row of `picture_columns` for each picture that has a score, the worst first.
    drawings: of all pictures together, by file name. worst: indices of the WORST pictures, the worst first.
    compare: index -> a drawing of the picture, its truth and its prediction; None where pictures have no score of
    their own, or are missing.
    """

    figures: dict[str, Any]
    class_columns: Sequence[str]
    classes: list[dict[str, Any]]
    table: str
    picture_columns: Sequence[str] = ()
    pictures: Sequence[Sequence] = ()
    drawings: Mapping[str, Callable[[], Image.Image]] = field(default_factory=dict)
    worst: Sequence[int] = ()
    compare: Callable[[int], Image.Image] | None = None


def number(value: float) -> float | None:
    """None for nan, which JSON does not have."""
    return None if math.isnan(value) else value


def per_cent(value: float | None) -> str:
    """A fraction in per cent with two digits; "-" for none."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.2f}"


def table_of(columns: Sequence[str], rows: Sequence[Sequence], totals: Mapping[str, float]) -> str:
    """Rows of a name and fractions below their titles, then the totals on a line of their own; all in per cent."""
    written = [tuple(columns), *((name, *map(per_cent, figures)) for name, *figures in rows)]
    widths = [max(map(len, column)) for column in zip(*written, strict=True)]
    lines = [
        "  ".join([f"{name:{widths[0]}}", *(f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))])
        for name, *cells in written
    ]
    return "\n".join([*lines, "", "  ".join(f"{name} {per_cent(value)}" for name, value in totals.items())])

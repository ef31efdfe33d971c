"""What an evaluation of any kind has to say, ready for the screen and for files."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image


@dataclass(frozen=True)
class Findings:
    """The figures of an evaluation and what they are made of.

    figures: of everything together, ready for JSON. classes: a row of `class_columns` for each class. pictures: a row
    of `picture_columns` for each picture with something to count, the worst first. table: the figures as text, in per
    cent. drawings: of everything together, by the names of their files. compare: draws a picture, its truth and its
    prediction, by its index; None where pictures have no score of their own, or are not there to be drawn.
    """

    figures: dict[str, Any]
    class_columns: Sequence[str]
    classes: list[dict[str, Any]]
    table: str
    picture_columns: Sequence[str] = ()
    pictures: Sequence[Sequence] = ()
    drawings: Mapping[str, Callable[[], Image.Image]] = field(default_factory=dict)
    compare: Callable[[int], Image.Image] | None = None


def number(value: float) -> float | None:
    """JSON knows no nan."""
    return None if math.isnan(value) else value


def per_cent(value: float | None) -> str:
    """A fraction with two digits, "-" for none."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.2f}"


def table_of(columns: Sequence[str], rows: Sequence[Sequence], totals: Mapping[str, float]) -> str:
    """Rows of a name and fractions under their titles, then the totals in a line of their own."""
    written = [tuple(columns), *((name, *map(per_cent, figures)) for name, *figures in rows)]
    widths = [max(map(len, column)) for column in zip(*written, strict=True)]
    lines = [
        "  ".join([f"{name:{widths[0]}}", *(f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))])
        for name, *cells in written
    ]
    return "\n".join([*lines, "", "  ".join(f"{name} {per_cent(value)}" for name, value in totals.items())])

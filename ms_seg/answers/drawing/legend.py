"""The legend of a drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from ms_seg.answers.drawing.panels import PAPER
from ms_seg.answers.drawing.text import INK, length_of, write

NOTHING = "nothing found"

_PALE_INK = (110, 110, 115)
_MIN_SHARE = 0.005  # of the picture; smaller classes share a line
_MIN_FONT = 14  # pixels
_LINES = 42  # of text, about, that would cover a square picture
_LONG_LINES = 80  # and the long side of any, so that a very wide one can be read as a whole


@dataclass(frozen=True)
class Entry:
    """A line of a legend: a name, its shares of the picture (0..1), and what its area looks like, or None.

    kept: it has a line of its own however small it is.
    """

    name: str
    shares: tuple[float, ...]
    tone: np.ndarray | None
    kept: bool = False

    @property
    def text(self) -> str:
        """The shares, in words where there are several."""
        if len(self.shares) == 1:
            return share_text(self.shares[0])
        return " / ".join(share_text(share) if share else "none" for share in self.shares)


def folded(entries: Sequence[Entry]) -> list[Entry]:
    """The entries, with one line for all those that cover less than half a per cent, if they are several."""
    small = [entry for entry in entries if max(entry.shares) < _MIN_SHARE and not entry.kept]
    if len(small) < 2:
        return list(entries)
    together = tuple(map(sum, zip(*(entry.shares for entry in small), strict=True)))
    return [*(entry for entry in entries if entry not in small), Entry(f"{len(small)} more", together, None)]


def with_legend(overlay: Image.Image, entries: Sequence[Entry]) -> Image.Image:
    """The overlay with a legend: below, or at the right of an upright one. Without entries it says so."""
    lines = folded(entries) or [Entry(NOTHING, (), None)]
    sides = overlay.width, overlay.height
    font_size = max(_MIN_FONT, round(math.sqrt(math.prod(sides)) / _LINES), round(max(sides) / _LONG_LINES))
    swatch, gap, line = font_size, font_size // 2, round(font_size * 1.6)
    name_width = max(length_of(entry.name, font_size) for entry in lines)
    share_width = max(length_of(entry.text, font_size) for entry in lines)
    column = swatch + gap + name_width + 2 * gap + share_width + 3 * gap
    margin = font_size
    upright = overlay.height > overlay.width
    if upright:
        columns = math.ceil(len(lines) / max(1, (overlay.height - 2 * margin) // line))
    else:
        columns = min(len(lines), max(1, (overlay.width - 2 * margin) // column))
    rows = math.ceil(len(lines) / columns)
    legend_size = (columns * column - 3 * gap + 2 * margin, rows * line + 2 * margin)
    if upright:
        size, corner = (overlay.width + legend_size[0], max(overlay.height, legend_size[1])), (overlay.width, 0)
    else:
        size, corner = (max(overlay.width, legend_size[0]), overlay.height + legend_size[1]), (0, overlay.height)
    canvas = Image.new("RGB", size, PAPER)
    canvas.paste(overlay, (0, 0))
    draw = ImageDraw.Draw(canvas)
    for number, entry in enumerate(lines):
        x = corner[0] + margin + number // rows * column
        y = corner[1] + margin + number % rows * line
        middle = y + line // 2
        if entry.tone is not None:
            box = (x, middle - swatch // 2, x + swatch, middle - swatch // 2 + swatch)
            draw.rounded_rectangle(box, radius=swatch // 5, fill=tuple(entry.tone.tolist()), outline=_PALE_INK)
        text_x = x + swatch + gap
        write(canvas, (text_x, middle), entry.name, font_size, "lm", INK)
        right = text_x + name_width + 2 * gap + share_width
        write(canvas, (right, middle), entry.text, font_size, "rm", _PALE_INK)
    return canvas


def share_text(share: float) -> str:
    """A share of the picture, 0..1, in per cent."""
    return f"{share:.1%}" if share >= 0.001 else "<0.1%"

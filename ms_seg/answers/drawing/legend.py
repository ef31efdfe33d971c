"""The legend of a drawing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ms_seg.answers.drawing.panels import INK, PAPER

_PALE_INK = (110, 110, 115)


@dataclass(frozen=True)
class Entry:
    """A line of a legend."""

    name: str
    share: str
    colour: np.ndarray


def with_legend(overlay: Image.Image, entries: list[Entry]) -> Image.Image:
    """The overlay with a legend: below, or at the right of an upright one."""
    font_size = max(14, round(math.sqrt(overlay.width * overlay.height) / 42))
    font = ImageFont.load_default(font_size)
    swatch, gap, line = font_size, font_size // 2, round(font_size * 1.6)
    name_width = math.ceil(max(font.getlength(entry.name) for entry in entries))
    share_width = math.ceil(max(font.getlength(entry.share) for entry in entries))
    column = swatch + gap + name_width + 2 * gap + share_width + 3 * gap
    margin = font_size
    upright = overlay.height > overlay.width
    if upright:
        columns = math.ceil(len(entries) / max(1, (overlay.height - 2 * margin) // line))
    else:
        columns = min(len(entries), max(1, (overlay.width - 2 * margin) // column))
    rows = math.ceil(len(entries) / columns)
    legend_size = (columns * column - 3 * gap + 2 * margin, rows * line + 2 * margin)
    if upright:
        size, corner = (overlay.width + legend_size[0], max(overlay.height, legend_size[1])), (overlay.width, 0)
    else:
        size, corner = (max(overlay.width, legend_size[0]), overlay.height + legend_size[1]), (0, overlay.height)
    canvas = Image.new("RGB", size, PAPER)
    canvas.paste(overlay, (0, 0))
    draw = ImageDraw.Draw(canvas)
    for number, entry in enumerate(entries):
        x = corner[0] + margin + number // rows * column
        y = corner[1] + margin + number % rows * line
        middle = y + line // 2
        box = (x, middle - swatch // 2, x + swatch, middle - swatch // 2 + swatch)
        draw.rounded_rectangle(box, radius=swatch // 5, fill=tuple(entry.colour.tolist()), outline=_PALE_INK)
        text_x = x + swatch + gap
        draw.text((text_x, middle), entry.name, INK, font, anchor="lm")
        draw.text((text_x + name_width + 2 * gap + share_width, middle), entry.share, _PALE_INK, font, anchor="rm")
    return canvas


def share_text(share: float) -> str:
    """A share of the picture, 0..1, in per cent."""
    return f"{share:.1%}" if share >= 0.001 else "<0.1%"

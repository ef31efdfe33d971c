"""The figure of each class over the validations of a run, as a picture that shows at a glance which are learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from ms_seg.answers.drawing.panels import PAPER
from ms_seg.answers.drawing.text import INK, legible, length_of, write
from ms_seg.data.readings import spread

_MAX_COLUMNS = 30  # validations; of more, some evenly spread
_MAX_NAME_LENGTH = 32  # characters
_ROW, _COLUMN, _FONT, _MARGIN = 20, 46, 13, 12  # pixels
_LOW, _HIGH = np.array([250, 248, 224]), np.array([12, 74, 110])  # RGB of 0 and 1
_ABSENT = (214, 214, 214)
_LIGHT = (255, 255, 255)

Figures = Mapping[str, float | None]  # of single classes by kind and name, such as "IoU.road"


def draw_classes(validations: Sequence[tuple[int, Figures]]) -> Image.Image:
    """Classes from the best to the worst of the last validation, by step, in per cent: the darker, the better; grey
    where a class did not occur.

    validations: steps, and what was measured of each class; the kind that stands first is drawn.
    """
    kind, names, steps, values = arranged(validations)
    titles = [name if len(name) <= _MAX_NAME_LENGTH else name[: _MAX_NAME_LENGTH - 1] + "…" for name in names]
    heading = f"{kind} of each class, in per cent, by step"
    left = _MARGIN + max(length_of(title, _FONT) for title in titles) + _MARGIN
    width = max(left + _COLUMN * len(steps), _MARGIN + length_of(heading, _FONT)) + _MARGIN
    top = _MARGIN + 2 * _ROW
    image = Image.new("RGB", (width, top + _ROW * len(names) + _MARGIN), PAPER)
    draw = ImageDraw.Draw(image)
    write(image, (_MARGIN, _MARGIN + _ROW // 2), heading, _FONT, "lm", INK)
    for column, step in enumerate(steps):
        write(image, (left + _COLUMN * column + _COLUMN // 2, top - _ROW // 2), str(step), _FONT - 2, "mm", INK)
    for row, title in enumerate(titles):
        y = top + _ROW * row
        write(image, (left - _MARGIN, y + _ROW // 2), title, _FONT, "rm", INK)
        for column, value in enumerate(values[row]):
            x = left + _COLUMN * column
            colour = _ABSENT if np.isnan(value) else tuple((_LOW + (_HIGH - _LOW) * value).astype(int).tolist())
            draw.rectangle((x, y, x + _COLUMN - 2, y + _ROW - 2), fill=colour)
            text, ink = ("-", INK) if np.isnan(value) else (f"{100 * value:.0f}", _LIGHT if value > 0.5 else INK)
            write(image, (x + _COLUMN // 2 - 1, y + _ROW // 2 - 1), text, _FONT - 1, "mm", ink)
    return image


def arranged(validations: Sequence[tuple[int, Figures]]) -> tuple[str, list[str], list[int], np.ndarray]:
    """The kind of the figures, names from the best of the last validation on, steps, and values (classes, steps)."""
    shown = spread(validations, _MAX_COLUMNS)
    kind = next(iter(shown[-1][1])).partition(".")[0]
    names = [name for name in shown[-1][1] if name.partition(".")[0] == kind]
    values = np.array([[np.nan if (v := found.get(name)) is None else v for _, found in shown] for name in names])
    order = np.argsort(-np.nan_to_num(values[:, -1], nan=-1), kind="stable").tolist()
    return (
        kind,
        [legible(names[index].partition(".")[2], index) for index in order],
        [step for step, _ in shown],
        values[order],
    )

"""Drawings of labels by themselves: a file as several numberings read it, and sheets of pictures with their labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw

from ms_seg.answers.drawing.colours import blend, class_colours, in_grey
from ms_seg.answers.drawing.legend import Entry, share_text, with_legend
from ms_seg.answers.drawing.panels import PAPER, joined, panel_of, titled
from ms_seg.answers.drawing.semantic import IGNORED_COLOUR, IGNORED_NAME, class_name
from ms_seg.answers.drawing.text import INK, length_of, write
from ms_seg.data.numbering import IGNORED, read_values
from ms_seg.data.readings import AmbiguousLabels
from ms_seg.label_sets import LabelSet

_CELL = (300, 225)  # pixels, width and height that a picture of a sheet is fitted into
_WIDE, _TALL = (604, 225), (300, 450)  # likewise, where width or height is twice the other or more
_MIN_SIDE = 16  # pixels; what is narrower is stretched
_GAP = 8
_SHEET = 1280  # pixels, about how wide a sheet is
_FONT, _LINE, _BAR = 15, 22, 90  # pixels, of the classes below a sheet


@dataclass(frozen=True)
class Labelled:
    """A picture RGB (H, W, 3) uint8 and its label map (H, W), under a title."""

    title: str
    picture: np.ndarray
    label_map: np.ndarray


def draw_readings(labels: AmbiguousLabels) -> Image.Image:
    """A label file as each of the readings has it, side by side, each with a legend of its own."""
    values, panels = read_values(labels.file), []
    for place, reading in enumerate(labels.readings):
        label_map = reading.numbering.classes(values, labels.file)
        panels.append(titled(draw_label_map(label_map, labels.label_set), f"{chr(ord('A') + place)}: {reading.title}"))
    return joined(panels, axis=1)


def draw_label_map(label_map: np.ndarray, label_set: LabelSet) -> Image.Image:
    """A label map (H, W) in the colours of its classes, black where it is ignored, with a legend."""
    table, shown = _table(label_set), _drawn(label_map, label_set)
    _, size = panel_of(np.zeros((*shown.shape, 3), np.uint8))
    areas = np.bincount(shown.ravel(), minlength=len(table))
    classes = sorted(np.flatnonzero(areas).tolist(), key=lambda index: -areas[index])
    entries = [
        Entry(_name(index, label_set), (areas[index] / shown.size,), table[index], kept=True) for index in classes
    ]
    small = cv2.resize(shown, size, interpolation=cv2.INTER_NEAREST)
    return with_legend(Image.fromarray(table[small]), entries)


def draw_sheet(pairs: Sequence[Labelled], label_set: LabelSet, counts: np.ndarray, missing: bool = True) -> Image.Image:
    """Pictures with their labels over their greys beside them, and below them the classes with their share of pixels.

    counts: pixels of each class, and of what is ignored at IGNORED, (256,) int. missing: list classes without any too.
    """
    table, rows, width = _table(label_set), list[list[Image.Image]](), 0
    for cell in (_cell(pair, label_set, table) for pair in pairs):
        if not rows or width + cell.width > _SHEET:
            rows, width = [*rows, []], 0
        rows[-1].append(cell)
        width += cell.width
    grid = joined([joined(row, axis=1) for row in rows], axis=0)
    listed = [index for index in range(len(label_set)) if missing or counts[index]]
    return joined([grid, _distribution(label_set, listed, table, counts, max(grid.width, _SHEET))], axis=0)


def _cell(pair: Labelled, label_set: LabelSet, table: np.ndarray) -> Image.Image:
    """A picture, and the same under its labels: side by side, or below each other where they are wide."""
    height, width = pair.label_map.shape
    beside = width < 2 * height
    box = _WIDE if not beside else _TALL if height >= 2 * width else _CELL
    scale = min(box[0] / width, box[1] / height)
    size = max(_MIN_SIDE, round(width * scale)), max(_MIN_SIDE, round(height * scale))
    picture = cv2.resize(pair.picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    labels = cv2.resize(_drawn(pair.label_map, label_set), size, interpolation=cv2.INTER_NEAREST)
    overlay = blend(in_grey(picture), labels, table)
    gap = np.full((size[1], 4, 3) if beside else (4, size[0], 3), 255, np.uint8)
    return titled(np.concatenate((picture, gap, overlay), axis=1 if beside else 0), pair.title)


def _distribution(
    label_set: LabelSet, classes: Sequence[int], table: np.ndarray, counts: np.ndarray, width: int
) -> Image.Image:
    """The classes, in the order of the label set, each with its colour, its share, and a bar as long as the share's
    root; then what is ignored."""
    total = max(1, int(counts.sum()))
    indices = [*classes, *([len(label_set) + 1] if counts[IGNORED] else [])]
    pixels = [int(counts[IGNORED if index > len(label_set) else index]) for index in indices]
    texts = [share_text(count / total) if count else "none" for count in pixels]
    name_width = max(length_of(_name(index, label_set), _FONT) for index in indices)
    share_width = max(length_of(text, _FONT) for text in texts)
    column = _FONT + name_width + share_width + _BAR + 5 * _GAP
    columns = min(len(indices), max(1, width // column))
    lines = math.ceil(len(indices) / columns)
    canvas = Image.new("RGB", (max(width, column), lines * _LINE + 2 * _GAP), PAPER)
    draw, longest = ImageDraw.Draw(canvas), math.sqrt(max(*pixels, 1))
    for place, (index, count, text) in enumerate(zip(indices, pixels, texts, strict=True)):
        x, middle = place // lines * column + _GAP, _GAP + place % lines * _LINE + _LINE // 2
        colour = tuple(table[index].tolist())
        half = _FONT // 2
        draw.rectangle((x, middle - half, x + _FONT, middle + half), fill=colour, outline=INK)
        x += _FONT + _GAP
        write(canvas, (x, middle), _name(index, label_set), _FONT, "lm", INK)
        x += name_width + _GAP
        write(canvas, (x + share_width, middle), text, _FONT, "rm", INK)
        x += share_width + _GAP
        if count:
            draw.rectangle(
                (x, middle - half, x + max(1, round(_BAR * math.sqrt(count) / longest)), middle + half), colour
            )
    return canvas


def _table(label_set: LabelSet) -> np.ndarray:
    """(C + 2, 3) uint8: the classes, what has none, and what is ignored."""
    return np.vstack((class_colours(label_set), np.array([IGNORED_COLOUR], np.uint8)))


def _drawn(label_map: np.ndarray, label_set: LabelSet) -> np.ndarray:
    """Places in the table, (H, W) uint16."""
    return np.where(label_map == IGNORED, len(label_set) + 1, label_map).astype(np.uint16)


def _name(index: int, label_set: LabelSet) -> str:
    return IGNORED_NAME if index > len(label_set) else class_name(index, label_set)

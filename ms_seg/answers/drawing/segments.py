"""Drawings of segments: a picture under their colours, each with its name where there is room."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ms_seg.answers.drawing.colours import blend, segment_colours
from ms_seg.answers.drawing.legend import Entry, share_text, with_legend
from ms_seg.answers.drawing.panels import TITLES, joined, magnified, panel_of, titled
from ms_seg.data.panoptic import PanopticMap, renumbered
from ms_seg.label_sets import LabelSet

_PLACING_SIDE = 800  # pixels, the long side of the map in which places for names are searched
_INK, _EDGE = (255, 255, 255), (20, 20, 22)
_MIN_COVERED = 0.6  # of a name's box, by its segment
_MIN_FONT, _MAX_FONT = 11, 96  # pixels

Box = tuple[float, float, float, float]  # left, top, right, bottom


def draw_segments(
    picture: np.ndarray, segment_map: np.ndarray, classes: Sequence[int], names: Sequence[str], colours: np.ndarray
) -> Image.Image:
    """The overlay of segments with thin borders, names where there is room, and a legend of the classes.

    Args:
        picture: RGB (H, W, 3) uint8.
        segment_map: (H, W) int, from 1; 0 leaves the picture as it is.
        classes, names, colours: for each segment its class, the class's name, and an RGB colour (K, 3) uint8.

    A name stays on its segment and clear of the names of larger ones, or is left to the legend, which counts the
    segments of each class.
    """
    picture, segment_map = magnified(picture, segment_map)
    overlay = Image.fromarray(blend(picture, segment_map, np.vstack((np.zeros((1, 3), np.uint8), colours)), clear=0))
    areas = np.bincount(segment_map.ravel(), minlength=len(classes) + 1)[1:]
    _write_names(overlay, segment_map, names, areas)
    entries = _entries(classes, names, colours, areas / segment_map.size)
    return with_legend(overlay, entries) if entries else overlay


def draw_panoptic_comparison(
    picture: np.ndarray, truth: PanopticMap, prediction: PanopticMap, label_set: LabelSet
) -> Image.Image:
    """The picture RGB (H, W, 3) uint8, its true and its predicted segments side by side, each with a legend."""
    picture, size = panel_of(picture)
    panels = [Image.fromarray(magnified(picture, np.empty(size[::-1]))[0])]  # as `draw_segments` does
    for panoptic in (truth, prediction):
        places = renumbered(panoptic.ids, [segment.id for segment in panoptic.segments])
        segment_map = cv2.resize(places.astype(np.uint16), size, interpolation=cv2.INTER_NEAREST)
        classes = [segment.label for segment in panoptic.segments]
        names, colours = [label_set.names[label] for label in classes], segment_colours(classes, label_set)
        panels.append(draw_segments(picture, segment_map, classes, names, colours))
    return joined([titled(*panel) for panel in zip(panels, TITLES, strict=True)], axis=1)


def _entries(classes: Sequence[int], names: Sequence[str], colours: np.ndarray, shares: np.ndarray) -> list[Entry]:
    """An entry for each visible class, the largest first, in the colour of its first segment."""
    members: dict[int, list[int]] = {}
    for place in np.flatnonzero(shares):
        members.setdefault(classes[place], []).append(place)
    lines = sorted(members.values(), key=lambda places: -shares[places].sum())
    return [
        Entry(
            f"{names[places[0]]} ({len(places)})" if len(places) > 1 else names[places[0]],
            share_text(shares[places].sum()),
            colours[places[0]],
        )
        for places in lines
    ]


def _write_names(overlay: Image.Image, segment_map: np.ndarray, names: Sequence[str], areas: np.ndarray) -> None:
    scale = min(1.0, _PLACING_SIDE / max(segment_map.shape))
    size = tuple(max(1, round(side * scale)) for side in segment_map.shape[::-1])
    small = cv2.resize(segment_map.astype(np.uint16), size, interpolation=cv2.INTER_NEAREST)
    usual = min(_MAX_FONT, max(_MIN_FONT + 2, round(math.sqrt(overlay.width * overlay.height) / 34)))
    draw, written = ImageDraw.Draw(overlay), list[Box]()
    for place in np.argsort(-areas, kind="stable"):
        for font_size in (usual, round(usual * 0.8), round(usual * 0.62)):
            if font_size < _MIN_FONT or not areas[place]:
                continue
            font = ImageFont.load_default(font_size)
            left, top, right, bottom = font.getbbox(names[place], anchor="mm")
            half = (right - left) / 2 + font_size / 4, (bottom - top) / 2 + font_size / 5
            middle = _room(small == place + 1, (half[0] * scale, half[1] * scale), written)
            if middle is None:
                continue
            x, y = ((position + 0.5) / scale for position in middle)
            edge = max(1, round(font_size / 10))
            draw.text((x, y), names[place], _INK, font, anchor="mm", stroke_width=edge, stroke_fill=_EDGE)
            break


def _room(mask: np.ndarray, half: tuple[float, float], written: list[Box]) -> tuple[int, int] | None:
    """The best place (x, y) in a mask for the middle of a text of that half size, clear of `written`; None if none.

    The text's box is added to `written`. Part of it may be outside the mask, but not outside the picture.
    """
    height, width = mask.shape
    across, down = half
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not ys.size:
        return None
    top, left = ys[0], xs[0]
    inside = np.pad(mask[top : ys[-1] + 1, left : xs[-1] + 1].view(np.uint8), 1)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3)[1:-1, 1:-1]
    # The share of the text's box within the mask.
    box = (2 * math.ceil(across) + 1, 2 * math.ceil(down) + 1)
    covered = cv2.blur(inside.astype(np.float32), box, borderType=cv2.BORDER_CONSTANT)[1:-1, 1:-1]
    fitness = covered + 0.5 * depth / depth.max()
    fitness[(depth < 1) | (covered < _MIN_COVERED)] = 0
    rows, columns = np.arange(top, top + depth.shape[0]), np.arange(left, left + depth.shape[1])
    fitness[(rows < down) | (rows > height - 1 - down)] = 0
    fitness[:, (columns < across) | (columns > width - 1 - across)] = 0
    for x0, y0, x1, y1 in written:
        near = (rows > y0 - down) & (rows < y1 + down)
        fitness[np.ix_(near, (columns > x0 - across) & (columns < x1 + across))] = 0
    y, x = np.unravel_index(fitness.argmax(), fitness.shape)
    if not fitness[y, x]:
        return None
    x, y = int(x + left), int(y + top)
    written.append((x - across, y - down, x + across, y + down))
    return x, y

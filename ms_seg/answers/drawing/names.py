"""Names on the areas that they belong to, where there is room for them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from ms_seg.answers.drawing.text import box_of, write_outlined

_PLACING_SIDE = 256  # pixels, the long side of the map in which places for names are searched
_COLOUR, _OUTLINE = (255, 255, 255), (20, 20, 22)
_MIN_FONT, _MAX_FONT = 11, 96  # pixels
_LINES, _LONG_LINES = 34, 80  # of text, about, that would cover a square picture, and the long side of any
# Of the usual font, and how much of a name's box must be on its area: the first that there is room for.
_SIZES = ((1.0, 0.6), (0.8, 0.6), (0.62, 0.6), (0.62, 0.35))

Box = tuple[float, float, float, float]  # left, top, right, bottom


def write_names(overlay: Image.Image, index_map: np.ndarray, names: Sequence[str], areas: np.ndarray) -> None:
    """Write the name of each index on its area, clear of the names of larger ones; or not, if there is no room.

    Args:
        index_map: (H, W) int, of the overlay's size.
        names, areas: of the indices from 0 on; an index with an area of 0 or an empty name gets none.
    """
    scale = min(1.0, _PLACING_SIDE / max(index_map.shape))
    size = tuple(max(1, round(side * scale)) for side in index_map.shape[::-1])
    places = _Places(cv2.resize(index_map.astype(np.uint16), size, interpolation=cv2.INTER_NEAREST))
    sides = overlay.width, overlay.height
    usual = max(_MIN_FONT + 2, round(math.sqrt(math.prod(sides)) / _LINES), round(max(sides) / _LONG_LINES))
    named = [index for index in np.argsort(-areas, kind="stable").tolist() if areas[index] and names[index]]
    for index in named:
        for factor, min_covered in _SIZES:
            font_size = max(_MIN_FONT, round(min(usual, _MAX_FONT) * factor))
            left, top, right, bottom = box_of(names[index], font_size, "mm")
            half = (right - left) / 2 + font_size / 4, (bottom - top) / 2 + font_size / 5
            if 4 * half[0] * half[1] * min_covered > areas[index]:
                continue
            middle = places.find(index, (half[0] * scale, half[1] * scale), min_covered)
            if middle is None:
                continue
            place = (middle[0] + 0.5) / scale, (middle[1] + 0.5) / scale
            write_outlined(overlay, place, names[index], font_size, "mm", _COLOUR, _OUTLINE)
            break


class _Places:
    """Where names may stand in a map of indices (H, W) uint16, and where some do."""

    def __init__(self, index_map: np.ndarray):
        self._map, self._written = index_map, list[Box]()
        inner = np.zeros((index_map.shape[0] + 2, index_map.shape[1] + 2), np.uint8)
        inner[1:-1, 1:-1] = 1
        inner[1:-1, 2:-1] &= index_map[:, 1:] == index_map[:, :-1]
        inner[2:-1, 1:-1] &= index_map[1:] == index_map[:-1]
        self._depth = cv2.distanceTransform(inner, cv2.DIST_L2, 3)[1:-1, 1:-1]  # how far the next border is

    def find(self, index: int, half: tuple[float, float], min_covered: float) -> tuple[int, int] | None:
        """The best place (x, y) on an index's area for the middle of a text of that half size; None if there is none.

        It is clear of other texts, and taken from now on. Part of the text's box, but not more than `min_covered`
        leaves, may be outside the area, and none of it outside the picture.
        """
        whole = self._map == index
        left, top, width, height = cv2.boundingRect(whole.view(np.uint8))  # where it is searched for, and nowhere else
        if not width:
            return None
        part = slice(top, top + height), slice(left, left + width)
        mask = whole[part]
        depth = np.where(mask, self._depth[part], 0)
        x, y = _middle(depth)
        x, y = left + x, top + y
        if not self._fits(index, (x, y), half, min_covered):  # most often there is room
            place = self._search(mask, depth, (left, top), half, min_covered)
            if place is None:
                return None
            x, y = place
        self._written.append((x - half[0], y - half[1], x + half[0], y + half[1]))
        return x, y

    def _fits(self, index: int, middle: tuple[int, int], half: tuple[float, float], min_covered: float) -> bool:
        (x, y), (across, down) = middle, half
        height, width = self._map.shape
        if not (across <= x <= width - 1 - across and down <= y <= height - 1 - down):
            return False
        if any(
            abs(2 * x - x0 - x1) < x1 - x0 + 2 * across and abs(2 * y - y0 - y1) < y1 - y0 + 2 * down
            for x0, y0, x1, y1 in self._written
        ):
            return False
        rows = slice(math.floor(y - down), math.ceil(y + down) + 1)
        columns = slice(math.floor(x - across), math.ceil(x + across) + 1)
        return bool((self._map[rows, columns] == index).mean() >= min_covered)

    def _search(
        self,
        mask: np.ndarray,
        depth: np.ndarray,
        corner: tuple[int, int],
        half: tuple[float, float],
        min_covered: float,
    ) -> tuple[int, int] | None:
        """mask, depth: of the part of the map that begins at corner (x, y) and holds all of an index."""
        (height, width), (across, down), (left, top) = self._map.shape, half, corner
        box = (2 * math.ceil(across) + 1, 2 * math.ceil(down) + 1)
        covered = cv2.blur(mask.astype(np.float32), box, borderType=cv2.BORDER_CONSTANT)
        fitness = covered + 0.5 * depth / max(depth.max(), 1)
        fitness[~mask | (covered < min_covered)] = 0
        rows, columns = top + np.arange(mask.shape[0]), left + np.arange(mask.shape[1])
        fitness[(rows < down) | (rows > height - 1 - down)] = 0
        fitness[:, (columns < across) | (columns > width - 1 - across)] = 0
        for x0, y0, x1, y1 in self._written:
            if x0 - across > columns[-1] or x1 + across < left or y0 - down > rows[-1] or y1 + down < top:
                continue
            near = (rows > y0 - down) & (rows < y1 + down)
            fitness[np.ix_(near, (columns > x0 - across) & (columns < x1 + across))] = 0
        y, x = np.unravel_index(fitness.argmax(), fitness.shape)
        return (left + int(x), top + int(y)) if fitness[y, x] else None


def _middle(depth: np.ndarray) -> tuple[int, int]:
    """Where an area is deepest (x, y); of several such places, the one that is most in the middle of them."""
    xs, ys = cv2.findNonZero((depth >= 0.95 * depth.max()).view(np.uint8)).reshape(-1, 2).T
    nearest = np.argmin((ys - ys.mean()) ** 2 + (xs - xs.mean()) ** 2)
    return int(xs[nearest]), int(ys[nearest])

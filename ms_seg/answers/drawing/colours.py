"""Which colours classes and segments get, and how they are laid over a picture."""

from __future__ import annotations

import colorsys
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from ms_seg.label_sets import LabelSet

OPACITY = 0.5  # of the colours over the picture
NO_CLASS_COLOUR = (128, 128, 128)

_WHITE = (255, 255, 255, 0)  # of borders, as OpenCV's scalar
_MIN_DISTANCE = 10.0  # in CIE Lab: colours nearer than this look alike, half transparent, even side by side
_STAND_IN_DISTANCE = 13.0  # of a colour that stands in for another, if there is one that far from all others
_LEVELS = 9  # of red, green and blue, in the colours that stand in for others
_DARKEST, _LIGHTEST = 18.0, 92.0  # of them, as L of CIE Lab: borders and names are to be seen
_SAMPLES = 20_000  # pixels that the tones of a legend are taken from
_SHADES = ((0.0, 1.0), (0.06, 0.62), (-0.06, 1.35), (0.03, 1.6), (-0.03, 0.8), (0.09, 1.15), (-0.09, 0.5))  # hue, light
_MIN_LIGHT, _MAX_LIGHT = 0.16, 0.86


def class_colours(label_set: LabelSet) -> np.ndarray:
    """A table RGB (C + 1, 3) uint8: what each class of a label set is drawn in, and what has no class, grey.

    It is the same whatever is in a picture. A class keeps its published colour unless that looks like the one of an
    earlier class: then it gets the most similar colour that does not look like any other's, or where the palette is too
    full for that, the one that differs most from all others.
    """
    return _table(label_set.palette.tobytes())


@lru_cache(16)  # words make a label set for each picture
def _table(palette: bytes) -> np.ndarray:
    own = np.frombuffer(palette, np.uint8).reshape(-1, 3)
    table = np.vstack((own, np.array([NO_CLASS_COLOUR], np.uint8)))
    seen = _lab(table)
    kept: list[int] = []
    for index in range(len(own)):
        if not kept or np.linalg.norm(seen[kept] - seen[index], axis=1).min() >= _MIN_DISTANCE:
            kept.append(index)
    candidates = _candidates()
    seen_candidates = _lab(candidates)
    used = seen[[*kept, len(own)]]
    nearest = np.linalg.norm(seen_candidates[:, None] - used, axis=2).min(axis=1)
    for index in sorted(set(range(len(own))).difference(kept)):
        free = nearest >= min(_STAND_IN_DISTANCE, nearest.max())
        moved = np.linalg.norm(seen_candidates - seen[index], axis=1)
        chosen = int(np.where(free, moved, np.inf).argmin())
        table[index] = candidates[chosen]
        nearest = np.minimum(nearest, np.linalg.norm(seen_candidates - seen_candidates[chosen], axis=1))
    table.flags.writeable = False  # every caller is given the same array
    return table


def _candidates() -> np.ndarray:
    """(N, 3) uint8, evenly spread colours that are neither very dark nor very light."""
    levels = np.linspace(0, 255, _LEVELS).round().astype(np.uint8)
    colours = np.array(list(itertools.product(levels, repeat=3)), np.uint8)
    light = _lab(colours)[:, 0]
    return colours[(light > _DARKEST) & (light < _LIGHTEST)]


def _lab(colours: np.ndarray) -> np.ndarray:
    """RGB (N, 3) uint8 -> CIE Lab (N, 3) float32, in which distances are how different colours look."""
    return cv2.cvtColor(colours.astype(np.float32)[None] / 255, cv2.COLOR_RGB2Lab)[0]


def segment_colours(classes: Sequence[int], label_set: LabelSet) -> np.ndarray:
    """RGB (K, 3) uint8 for segments of these classes, the most important first: each class's own colour, then shades.

    The colours serve as ids in COCO's panoptic maps too, so that no two are the same and none is black, which means
    "no segment" there.
    """
    colours = np.zeros((len(classes), 3), np.uint8)
    seen: Counter[int] = Counter()
    taken: set[int] = set()
    for place, label in enumerate(classes):
        colours[place] = thing_colour(label, seen[label], label_set, taken)
        seen[label] += 1
    return colours


def thing_colour(label: int, number: int, label_set: LabelSet, taken: set[int]) -> tuple[int, ...]:
    """The colour of the thing of a class that has this number, from 0 on, among those of the class.

    taken: colours that it must not have, as ids of COCO's maps; its own is added. Black never is one.
    """
    colour = _shade(class_colours(label_set)[label], number)
    while _packed(colour) in taken or not any(colour):
        colour = _next(colour)
    taken.add(_packed(colour))
    return colour


def _shade(colour: np.ndarray, number: int) -> tuple[int, ...]:
    """The first thing of a class has its colour, the next ones have similar ones."""
    if not number:
        return tuple(colour.tolist())
    hue, light, saturation = colorsys.rgb_to_hls(*(colour / 255))
    turn, factor = _SHADES[number % len(_SHADES)]
    turn += 0.012 * (number // len(_SHADES))  # a second round does not repeat the first
    light = min(max(light * factor, _MIN_LIGHT), _MAX_LIGHT)
    return tuple(round(255 * part) for part in colorsys.hls_to_rgb((hue + turn) % 1, light, saturation))


def _next(colour: tuple[int, ...]) -> tuple[int, ...]:
    """A neighbouring colour; in the end, every colour."""
    number = (_packed(colour) + 1) % (1 << 24)
    return number % 256, number // 256 % 256, number // 65536


def _packed(colour: Sequence[int]) -> int:
    return colour[0] + 256 * colour[1] + 65536 * colour[2]


def blend(
    picture: np.ndarray, index_map: np.ndarray, table: np.ndarray, opacity: float = OPACITY, clear: int | None = None
) -> np.ndarray:
    """Colour each pixel by its index and draw the borders. All arrays have the size of the drawing.

    index_map: of the smallest type that holds it; of uint8 colours are looked up three times as fast.
    clear: the index where the picture is left as it is.
    """
    blended = cv2.addWeighted(picture, 1 - opacity, _coloured(index_map, table), opacity, 0)
    if clear is not None:
        cv2.copyTo(picture, (index_map == clear).view(np.uint8), blended)
    border = np.zeros(index_map.shape, bool)
    np.not_equal(index_map[:, 1:], index_map[:, :-1], out=border[:, 1:])
    border[1:] |= index_map[1:] != index_map[:-1]
    mask = border.view(np.uint8)
    thickness = round(math.sqrt(index_map.size) / 700)
    if thickness > 1:
        mask = cv2.dilate(mask, np.ones((thickness, thickness), np.uint8))
    return cv2.add(blended, _WHITE, blended, mask)


def _coloured(index_map: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The colour of each index, RGB (H, W, 3) uint8."""
    if index_map.dtype != np.uint8:
        return table.take(index_map, axis=0)
    of_all_bytes = np.zeros((256, 1, 3), np.uint8)
    of_all_bytes[: len(table), 0] = table[:256]
    return cv2.applyColorMap(index_map, of_all_bytes)


def in_grey(picture: np.ndarray) -> np.ndarray:
    """A picture RGB in its greys, so that the colours over it are those of the classes alone, the same in each."""
    return cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def tones(
    picture: np.ndarray, index_map: np.ndarray, table: np.ndarray, opacity: float = OPACITY, clear: int | None = None
) -> np.ndarray:
    """What the area of each index looks like as a whole once it is blended: RGB (K, 3) uint8.

    The arguments are those of `blend`. For an index that is not in the map, its colour over the whole picture's tone.
    """
    step = max(1, math.isqrt(index_map.size // _SAMPLES))
    indices, pixels = index_map[::step, ::step].ravel(), picture[::step, ::step].reshape(-1, 3)
    counts = np.bincount(indices, minlength=len(table))[:, None]
    sums = np.stack([np.bincount(indices, channel, len(table)) for channel in pixels.T], axis=1)
    below = np.where(counts > 0, sums / np.maximum(counts, 1), pixels.mean(axis=0))
    blended = (1 - opacity) * below + opacity * table
    if clear is not None:
        blended[clear] = below[clear]
    return blended.round().astype(np.uint8)

"""A colour for each segment of a picture: its class's own, and shades of it for further things of that class.

The colours serve as the segments' ids in COCO's panoptic maps too (red + 256 green + 256**2 blue), so that no two are
the same and none is black, which there means "no segment".
"""

from __future__ import annotations

import colorsys
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ms_seg.answers.drawing import class_colours
from ms_seg.label_sets import LabelSet

_SHADES = ((0.0, 1.0), (0.06, 0.62), (-0.06, 1.35), (0.03, 1.6), (-0.03, 0.8), (0.09, 1.15), (-0.09, 0.5))  # hue, light
_LEAST_LIGHT, _MOST_LIGHT = 0.16, 0.86


def segment_colours(classes: Sequence[int], label_set: LabelSet) -> np.ndarray:
    """RGB (K, 3) uint8 for segments of these classes, the largest or surest first."""
    table = class_colours(list(dict.fromkeys(classes)), label_set)
    colours = np.zeros((len(classes), 3), np.uint8)
    seen: Counter[int] = Counter()
    taken = {0}
    for place, label in enumerate(classes):
        colour = _shade(table[label], seen[label])
        seen[label] += 1
        while _packed(colour) in taken:
            colour = _next(colour)
        taken.add(_packed(colour))
        colours[place] = colour
    return colours


def ids_of(colours: np.ndarray) -> list[int]:
    """The numbers that these colours (K, 3) are in COCO's panoptic maps."""
    return (colours.astype(np.int64) @ (1, 256, 65536)).tolist()


def _shade(colour: np.ndarray, number: int) -> tuple[int, ...]:
    """Of the things of a class the first has its colour, and the next ones others that resemble it."""
    if not number:
        return tuple(colour.tolist())
    hue, light, saturation = colorsys.rgb_to_hls(*(colour / 255))
    turn, factor = _SHADES[number % len(_SHADES)]
    turn += 0.012 * (number // len(_SHADES))  # a second round does not repeat the first
    light = min(max(light * factor, _LEAST_LIGHT), _MOST_LIGHT)
    return tuple(round(255 * part) for part in colorsys.hls_to_rgb((hue + turn) % 1, light, saturation))


def _next(colour: tuple[int, ...]) -> tuple[int, ...]:
    """A neighbouring colour, and in the end every one."""
    number = (_packed(colour) + 1) % (1 << 24)
    return number % 256, number // 256 % 256, number // 65536


def _packed(colour: Sequence[int]) -> int:
    return colour[0] + 256 * colour[1] + 65536 * colour[2]

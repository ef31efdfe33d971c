"""Which colours classes and segments get, and how they are laid over a picture."""

from __future__ import annotations

import colorsys
import math
from collections import Counter
from collections.abc import Sequence

import cv2
import numpy as np

from ms_seg.label_sets import LabelSet, numbered_labels

NO_CLASS_COLOUR = (128, 128, 128)

_OPACITY = 0.5  # of the colours over the picture
_BORDER_COLOUR = (255, 255, 255)
_MIN_DISTANCE = 24.0  # in CIE Lab: colours nearer than this look alike, half transparent
_SHADES = ((0.0, 1.0), (0.06, 0.62), (-0.06, 1.35), (0.03, 1.6), (-0.03, 0.8), (0.09, 1.15), (-0.09, 0.5))  # hue, light
_MIN_LIGHT, _MAX_LIGHT = 0.16, 0.86


def class_colours(classes: list[int], label_set: LabelSet) -> np.ndarray:
    """A table RGB (C + 1, 3) uint8 for the classes in a picture, given from the largest to the smallest.

    A colour that looks like one in use is replaced, by a darker or lighter shade or else a spare colour.
    """
    table = np.vstack((label_set.palette, np.array([NO_CLASS_COLOUR], np.uint8)))
    spare = list(numbered_labels(48).palette)
    used = [table[-1]] if len(label_set) in classes else []
    for index in classes:
        if index == len(label_set):
            continue
        colour = table[index].astype(float)
        candidates = [table[index], np.uint8(colour * 0.55), np.uint8(255 - (255 - colour) * 0.45), *spare]
        distances = [min((_distance(candidate, other) for other in used), default=np.inf) for candidate in candidates]
        far = [number for number, distance in enumerate(distances) if distance >= _MIN_DISTANCE]
        table[index] = candidates[far[0] if far else int(np.argmax(distances))]
        used.append(table[index])
    return table


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    lab = cv2.cvtColor(np.array([[one, other]], np.float32) / 255, cv2.COLOR_RGB2Lab)[0]
    return float(np.linalg.norm(lab[0] - lab[1]))


def segment_colours(classes: Sequence[int], label_set: LabelSet) -> np.ndarray:
    """RGB (K, 3) uint8 for segments of these classes, the most important first: each class's own colour, then shades.

    The colours serve as ids in COCO's panoptic maps too, so that no two are the same and none is black, which means
    "no segment" there.
    """
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


def blend(picture: np.ndarray, classes: np.ndarray, table: np.ndarray, clear: int | None = None) -> np.ndarray:
    """Colour each pixel by its class and draw the borders. All arrays have the size of the drawing.

    clear: the class where the picture is left as it is.
    """
    blended = cv2.addWeighted(picture, 1 - _OPACITY, table[classes], _OPACITY, 0)
    if clear is not None:
        blended = np.where((classes == clear)[..., None], picture, blended)
    border = np.zeros(classes.shape, np.uint8)
    border[:, 1:] |= classes[:, 1:] != classes[:, :-1]
    border[1:] |= classes[1:] != classes[:-1]
    thickness = round(math.sqrt(classes.size) / 700)
    if thickness > 1:
        border = cv2.dilate(border, np.ones((thickness, thickness), np.uint8))
    blended[border > 0] = _BORDER_COLOUR
    return blended

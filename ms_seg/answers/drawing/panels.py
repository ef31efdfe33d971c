"""Drawings of a size that can be seen, side by side and below each other, under their titles."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from ms_seg.answers.drawing.text import INK, fitted, length_of, write

PAPER = (255, 255, 255)
TITLES = ("picture", "truth", "prediction")  # of the panels of a comparison

_MIN_LONG_SIDE = 448  # pixels; smaller pictures are magnified, by a whole number
_MIN_SHORT_SIDE = 24  # pixels; what is narrower still is stretched, by a whole number too
_MIN_PANEL, _MAX_PANEL = 320, 640  # pixels, the long side of a panel of a comparison
_TITLE_HEIGHT, _PANEL_MARGIN = 32, 4  # pixels
_MIN_TITLE = 112  # pixels that a title may take above a panel that is narrower


def panel_of(picture: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """A picture resized to a panel of a comparison, and the panel's size (width, height)."""
    height, width = picture.shape[:2]
    scale = np.clip(max(height, width), _MIN_PANEL, _MAX_PANEL) / max(height, width)
    size = max(_MIN_SHORT_SIDE, round(width * scale)), max(_MIN_SHORT_SIDE, round(height * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), size


def titled(panel: np.ndarray | Image.Image, title: str) -> Image.Image:
    """A panel under its title, with a margin. A title that is too long loses its middle."""
    panel = Image.fromarray(panel) if isinstance(panel, np.ndarray) else panel
    middle = _TITLE_HEIGHT // 2
    name = title.encode("utf-8", "backslashreplace").decode()  # a file's name may be in no encoding
    shown = fitted(name, middle, max(panel.width, _MIN_TITLE))
    width = max(panel.width, length_of(shown, middle))
    canvas = Image.new("RGB", (width + 2 * _PANEL_MARGIN, panel.height + _TITLE_HEIGHT), PAPER)
    canvas.paste(panel, (_PANEL_MARGIN, _TITLE_HEIGHT))
    write(canvas, (_PANEL_MARGIN, middle), shown, middle, "lm", INK)
    return canvas


def joined(panels: Sequence[Image.Image], axis: int) -> Image.Image:
    """Panels below each other (axis 0) or side by side (axis 1)."""
    sizes = np.array([(panel.height, panel.width) for panel in panels])
    corners = np.zeros_like(sizes)
    corners[1:, axis] = sizes[:-1, axis].cumsum()
    height, width = (corners + sizes).max(axis=0).tolist()
    canvas = Image.new("RGB", (width, height), PAPER)
    for panel, (top, left) in zip(panels, corners.tolist(), strict=True):
        canvas.paste(panel, (left, top))
    return canvas


def magnified(picture: np.ndarray, index_map: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A picture and a map of it, enlarged by the whole numbers that make them large enough to see."""
    magnification = math.ceil(_MIN_LONG_SIDE / max(index_map.shape))
    down, across = (max(magnification, math.ceil(_MIN_SHORT_SIDE / side)) for side in index_map.shape)
    if down == across == 1:
        return picture, index_map
    height, width = index_map.shape[0] * down, index_map.shape[1] * across
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
    return picture, index_map.repeat(down, axis=0).repeat(across, axis=1)

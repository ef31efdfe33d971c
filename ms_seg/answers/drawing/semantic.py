"""Drawings of label maps: a picture under the colours of its classes, with how much of it each covers."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from ms_seg.answers.drawing.colours import OPACITY, blend, class_colours, in_grey, tones
from ms_seg.answers.drawing.legend import Entry, with_legend
from ms_seg.answers.drawing.names import write_names
from ms_seg.answers.drawing.panels import TITLES, joined, magnified, panel_of, titled
from ms_seg.answers.drawing.text import legible
from ms_seg.label_sets import LabelSet

NO_CLASS_NAME = "no class"
IGNORED_COLOUR, IGNORED_NAME = (0, 0, 0), "ignored"

_MAX_NAME_LENGTH = 32  # characters
_MIN_NAMED = 0.02  # of the picture: a smaller class is named in the legend alone


def draw_overlay(
    picture: np.ndarray, label_map: np.ndarray, label_set: LabelSet, opacity: float = OPACITY, legend: bool = True
) -> Image.Image:
    """A label map over its picture, with thin borders between classes, names on large ones, and a legend.

    Args:
        picture: RGB (H, W, 3) uint8.
        label_map: (H, W) int; a class beyond the label set is drawn grey and called "no class".
        label_set: names and colours, see `class_colours`.
        opacity: of the colours, 0..1.

    The legend is below, or at the right of an upright picture, the largest class first, in the tones of the overlay.
    The picture keeps its size, unless it is too small to see anything.
    """
    picture, label_map = magnified(picture, label_map)
    nameless = len(label_set)  # all without a name are one class beyond the last
    shown = np.minimum(label_map, nameless).astype(np.min_scalar_type(nameless))
    areas = np.bincount(shown.ravel(), minlength=nameless + 1)
    classes = sorted(np.flatnonzero(areas).tolist(), key=lambda index: -areas[index])
    table = class_colours(label_set)
    overlay = Image.fromarray(blend(picture, shown, table, opacity))
    names = [class_name(index, label_set) if area else "" for index, area in enumerate(areas.tolist())]
    write_names(overlay, shown, names, np.where(areas < _MIN_NAMED * shown.size, 0, areas))
    if not legend:
        return overlay
    toned = tones(picture, shown, table, opacity)
    return with_legend(overlay, [Entry(names[index], (areas[index] / shown.size,), toned[index]) for index in classes])


def draw_comparison(
    picture: np.ndarray, truth: np.ndarray, prediction: np.ndarray, label_set: LabelSet, ignored: int = 255
) -> Image.Image:
    """The picture, its truth and its prediction side by side, in the same colours, with one legend.

    Args:
        picture: RGB (H, W, 3) uint8.
        truth, prediction: (H, W) int; drawn as by `draw_overlay`, but over the picture's greys; pixels whose truth is
            `ignored` in black on both.

    The legend gives each class's share of the truth and of the prediction, the largest of either first. The panels have
    the picture's size, but 320 to 640 pixels on the long side.
    """
    picture, size = panel_of(picture)
    void = truth == ignored
    nameless = len(label_set)
    maps = [np.where(void, nameless + 1, np.minimum(labels, nameless)) for labels in (truth, prediction)]
    areas = np.stack([np.bincount(shown.ravel(), minlength=nameless + 2) for shown in maps])
    classes = sorted(np.flatnonzero(areas.any(axis=0)).tolist(), key=lambda index: -areas[:, index].max())
    table = np.vstack((class_colours(label_set), np.array([IGNORED_COLOUR], np.uint8)))
    small = [cv2.resize(shown.astype(np.uint16), size, interpolation=cv2.INTER_NEAREST) for shown in maps]
    grey = in_grey(picture)
    panels = [picture, *(blend(grey, shown, table) for shown in small)]
    overlays = joined([titled(*panel) for panel in zip(panels, TITLES, strict=True)], axis=1)
    toned = [tones(grey, shown, table) for shown in small]
    shares = areas / truth.size
    entries = [
        Entry(
            IGNORED_NAME if index > nameless else class_name(index, label_set),
            tuple(shares[:, index]),
            toned[int(shares[:, index].argmax())][index],
        )
        for index in classes
    ]
    return with_legend(overlays, entries)


def class_name(index: int, label_set: LabelSet) -> str:
    """What pictures call a class."""
    name = legible(label_set.names[index], index) if index < len(label_set) else NO_CLASS_NAME
    return name if len(name) <= _MAX_NAME_LENGTH else name[: _MAX_NAME_LENGTH - 1] + "…"

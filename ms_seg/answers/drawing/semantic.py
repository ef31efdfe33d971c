"""Drawings of label maps: a picture under the colours of its classes, with how much of it each covers."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from ms_seg.answers.drawing.colours import blend, class_colours
from ms_seg.answers.drawing.legend import Entry, share_text, with_legend
from ms_seg.answers.drawing.panels import TITLES, joined, magnified, panel_of, titled
from ms_seg.label_sets import LabelSet

NO_CLASS_NAME = "no class"
IGNORED_COLOUR, IGNORED_NAME = (0, 0, 0), "ignored"

_MAX_NAME_LENGTH = 32  # characters


def draw_overlay(picture: np.ndarray, label_map: np.ndarray, label_set: LabelSet) -> Image.Image:
    """A label map over its picture, with thin borders between classes and a legend, the largest class first.

    Args:
        picture: RGB (H, W, 3) uint8.
        label_map: (H, W) int; a class beyond the label set is drawn grey and called "no class".
        label_set: names and colours. If the colours of two classes look alike, the smaller class gets another one.

    The legend is below, or at the right of an upright picture. The picture keeps its size, unless it is too small to
    see anything.
    """
    picture, label_map = magnified(picture, label_map)
    shown = np.minimum(label_map, len(label_set))  # all without a name are one class beyond the last
    areas = np.bincount(shown.ravel(), minlength=len(label_set) + 1)
    classes = sorted(np.flatnonzero(areas).tolist(), key=lambda index: -areas[index])
    table = class_colours(classes, label_set)
    overlay = Image.fromarray(blend(picture, shown, table))
    entries = [
        Entry(class_name(index, label_set), share_text(areas[index] / shown.size), table[index]) for index in classes
    ]
    return with_legend(overlay, entries)


def draw_comparison(
    picture: np.ndarray, truth: np.ndarray, prediction: np.ndarray, label_set: LabelSet, ignored: int = 255
) -> Image.Image:
    """The picture, its truth and its prediction side by side, in the same colours, with one legend.

    Args:
        picture: RGB (H, W, 3) uint8.
        truth, prediction: (H, W) int; drawn as by `draw_overlay`, pixels whose truth is `ignored` in black on both.

    The legend gives each class's share of the truth and of the prediction, the largest of either first. The panels have
    the picture's size, but 320 to 640 pixels on the long side.
    """
    picture, size = panel_of(picture)
    void = truth == ignored
    nameless = len(label_set)
    maps = [np.where(void, nameless + 1, np.minimum(labels, nameless)) for labels in (truth, prediction)]
    areas = np.stack([np.bincount(shown.ravel(), minlength=nameless + 2) for shown in maps])
    classes = sorted(np.flatnonzero(areas.any(axis=0)).tolist(), key=lambda index: -areas[:, index].max())
    table = np.vstack(
        (
            class_colours([index for index in classes if index <= nameless], label_set),
            np.array([IGNORED_COLOUR], np.uint8),
        )
    )
    small = [cv2.resize(shown.astype(np.uint16), size, interpolation=cv2.INTER_NEAREST) for shown in maps]
    panels = [picture, *(blend(picture, shown, table) for shown in small)]
    overlays = joined([titled(*panel) for panel in zip(panels, TITLES, strict=True)], axis=1)
    shares = areas / truth.size
    entries = [
        Entry(
            IGNORED_NAME if index > nameless else class_name(index, label_set),
            " / ".join(share_text(share) if share else "none" for share in shares[:, index]),
            table[index],
        )
        for index in classes
    ]
    return with_legend(overlays, entries)


def class_name(index: int, label_set: LabelSet) -> str:
    name = label_set.names[index] if index < len(label_set) else NO_CLASS_NAME
    return name if len(name) <= _MAX_NAME_LENGTH else name[: _MAX_NAME_LENGTH - 1] + "…"

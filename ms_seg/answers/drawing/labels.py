"""Drawings of label files by themselves: one file as several numberings read it, and a sheet of a dataset."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from ms_seg.answers.drawing.colours import class_colours
from ms_seg.answers.drawing.legend import Entry, share_text, with_legend
from ms_seg.answers.drawing.panels import joined, panel_of, titled
from ms_seg.answers.drawing.semantic import IGNORED_COLOUR, IGNORED_NAME, class_name
from ms_seg.data.numbering import IGNORED, read_values
from ms_seg.data.readings import AmbiguousLabels
from ms_seg.label_sets import LabelSet


def draw_readings(labels: AmbiguousLabels) -> Image.Image:
    """A label file as each of the readings has it, side by side, each with a legend of its own."""
    values, panels = read_values(labels.file), []
    for place, reading in enumerate(labels.readings):
        label_map = reading.numbering.classes(values, labels.file)
        panels.append(titled(draw_label_map(label_map, labels.label_set), f"{chr(ord('A') + place)}: {reading.title}"))
    return joined(panels, axis=1)


def draw_label_map(label_map: np.ndarray, label_set: LabelSet) -> Image.Image:
    """A label map (H, W) in the colours of its classes, black where it is ignored, with a legend."""
    ignored = len(label_set) + 1
    shown = np.where(label_map == IGNORED, ignored, label_map.astype(int))
    areas = np.bincount(shown.ravel(), minlength=ignored + 1)
    classes = sorted(np.flatnonzero(areas).tolist(), key=lambda index: -areas[index])
    table = np.vstack((class_colours([index for index in classes if index < ignored], label_set), [IGNORED_COLOUR]))
    _, size = panel_of(np.zeros((*shown.shape, 3), np.uint8))
    small = cv2.resize(shown.astype(np.uint16), size, interpolation=cv2.INTER_NEAREST)
    entries = [
        Entry(
            IGNORED_NAME if index == ignored else class_name(index, label_set),
            share_text(areas[index] / shown.size),
            table[index],
        )
        for index in classes
    ]
    return with_legend(Image.fromarray(table[small].astype(np.uint8)), entries)

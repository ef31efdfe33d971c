"""Drawings of segments: a picture under their colours, each with its name where there is room."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from ms_seg.answers.drawing.colours import OPACITY, blend, segment_colours, tones
from ms_seg.answers.drawing.legend import Entry, with_legend
from ms_seg.answers.drawing.names import write_names
from ms_seg.answers.drawing.panels import TITLES, joined, magnified, panel_of, titled
from ms_seg.answers.drawing.semantic import class_name
from ms_seg.data.panoptic import PanopticMap, renumbered
from ms_seg.label_sets import LabelSet

NO_SEGMENT_NAME = "no segment"


def draw_segments(
    picture: np.ndarray,
    segment_map: np.ndarray,
    classes: Sequence[int],
    label_set: LabelSet,
    scores: np.ndarray | None = None,
    opacity: float = OPACITY,
    legend: bool = True,
    colours: np.ndarray | None = None,
) -> Image.Image:
    """The overlay of segments with thin borders, names where there is room, and a legend of the classes.

    Args:
        picture: RGB (H, W, 3) uint8.
        segment_map: (H, W) int, from 1; 0 leaves the picture as it is.
        classes: the class of each segment.
        scores: (K,), written beside the names of things, which are counted one by one.
        opacity: of the colours, 0..1.
        colours: of the segments, RGB (K, 3) uint8; None for `segment_colours`.

    A name stays on its segment and clear of the names of larger ones, or is left to the legend, which counts the
    segments of each class, and says what belongs to none.
    """
    if colours is None:
        colours = segment_colours(classes, label_set)
    names = [class_name(label, label_set) for label in classes]
    things = [label_set.isthing[label] for label in classes]
    picture, segment_map = magnified(picture, segment_map)
    table = np.vstack((np.zeros((1, 3), np.uint8), colours))
    overlay = Image.fromarray(blend(picture, segment_map, table, opacity, clear=0))
    areas = np.bincount(segment_map.ravel(), minlength=len(table))
    texts = names
    if scores is not None:
        texts = [
            f"{name} {score:.2f}" if thing else name for name, score, thing in zip(names, scores, things, strict=True)
        ]
    write_names(overlay, segment_map, ["", *texts], areas)
    if not legend:
        return overlay
    toned = tones(picture, segment_map, table, opacity, clear=0)
    return with_legend(overlay, _entries(classes, names, things, areas / segment_map.size, toned))


def draw_panoptic_comparison(
    picture: np.ndarray, truth: PanopticMap, prediction: PanopticMap, label_set: LabelSet
) -> Image.Image:
    """The picture RGB (H, W, 3) uint8, its true and its predicted segments side by side, each with a legend."""
    picture, size = panel_of(picture)
    panels = [Image.fromarray(magnified(picture, np.empty(size[::-1]))[0])]  # as `draw_segments` does
    for panoptic in (truth, prediction):
        places = renumbered(panoptic.ids, [segment.id for segment in panoptic.segments])
        segment_map = cv2.resize(places.astype(np.uint16), size, interpolation=cv2.INTER_NEAREST)
        panels.append(draw_segments(picture, segment_map, [segment.label for segment in panoptic.segments], label_set))
    return joined([titled(*panel) for panel in zip(panels, TITLES, strict=True)], axis=1)


def _entries(
    classes: Sequence[int], names: Sequence[str], things: Sequence[bool], shares: np.ndarray, toned: np.ndarray
) -> list[Entry]:
    """An entry for each visible class, the largest first, as its first segment looks; then for what has no segment.

    shares, toned: of index 0, no segment, and of the segments. A thing may be small.
    """
    members: dict[int, list[int]] = {}
    for place in np.flatnonzero(shares[1:]).tolist():
        members.setdefault(classes[place], []).append(place)
    entries = []
    for places in sorted(members.values(), key=lambda places: -sum(shares[place + 1] for place in places)):
        first, share = places[0], sum(float(shares[place + 1]) for place in places)
        name = f"{names[first]} ({len(places)})" if len(places) > 1 else names[first]
        entries.append(Entry(name, (share,), toned[first + 1], kept=things[first]))
    if entries and shares[0]:
        entries.append(Entry(NO_SEGMENT_NAME, (float(shares[0]),), toned[0], kept=True))
    return entries

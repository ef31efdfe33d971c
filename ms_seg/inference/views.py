"""Multi-scale flip testing: a picture seen in several sizes and mirrored, averaged as mmsegmentation's aug_test is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ms_seg.postprocessing.logits import ClassMaps, softmax
from ms_seg.presets import Preprocessing

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)  # mmsegmentation's test configurations (img_ratios)


@dataclass(frozen=True)
class View:
    """How a picture is seen: resized by a rule, and perhaps mirrored left to right."""

    rule: Preprocessing
    mirrored: bool = False


def views(size: tuple[int, int], rule: Preprocessing) -> Iterator[View]:
    """Every scale of a picture of this size (height, width), as it is and mirrored, in mmsegmentation's order."""
    for scale in SCALES:
        scaled = _scaled(size, rule, scale)
        yield View(scaled)
        yield View(scaled, mirrored=True)


def label_views(
    size: tuple[int, int], rule: Preprocessing, look: Callable[[View], ClassMaps]
) -> tuple[np.ndarray, np.ndarray]:
    """The class of each pixel that is most probable on the average of all views.

    The probabilities of all classes are held at the picture's size: 4 bytes each, a gigabyte for 172 classes on 1.5
    megapixels.

    Args:
        size: (height, width) of the picture.
        look: the network on one view, of the mirrored picture where the view is mirrored.

    Returns: labels (H, W) int32; scores (C,) float64 of 0..1, the mean probability of a class over the pixels it was
        chosen for, 0 for a class without pixels.
    """
    total = np.zeros((*size, 0), np.float32)
    seen = list(views(size, rule))
    for view in seen:
        logits = look(view)
        if not total.shape[2]:
            total = np.zeros((*size, logits.num_classes), np.float32)
        for rows, band in logits.bands():
            softmax(band)
            total[rows] += band[:, ::-1] if view.mirrored else band
    total /= len(seen)
    labels = total.argmax(axis=2).astype(np.int32)
    chosen = np.take_along_axis(total, labels[..., None], axis=2)
    num_classes = total.shape[2]
    areas = np.bincount(labels.ravel(), minlength=num_classes)
    return labels, np.bincount(labels.ravel(), chosen.ravel(), num_classes) / np.maximum(areas, 1)


def _scaled(size: tuple[int, int], rule: Preprocessing, scale: float) -> Preprocessing:
    """The rule with its sides times the scale, cut to whole pixels.

    "shrink" leaves small pictures as they are, so that their own sides are what is scaled.
    """
    short_side: float = rule.short_side
    long_side: float = rule.long_side
    if rule.resize == "shrink":
        factor = min(1.0, long_side / max(size), short_side / min(size))
        short_side, long_side = min(size) * factor, max(size) * factor
        rule = replace(rule, resize="keep_ratio")
    return replace(rule, short_side=max(1, int(short_side * scale)), long_side=max(1, int(long_side * scale)))

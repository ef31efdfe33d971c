"""Answers as ModelScope's pipelines give them, and as its functions draw them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ms_seg.answers import Answer, PanopticAnswer
from ms_seg.label_sets import read_labels
from ms_seg.modelscope.constants import OutputKeys

_SCORE = 0.999  # of whatever is found: ModelScope's pipelines give no other
_INSTANCES = 1000  # the id of a thing is its class, and this times its number


def semantic_result(answer: Answer, dtype: type) -> dict[str, Any]:
    """masks: of each class in the picture (H, W), 0 and 1; labels: their names. The highest class comes first.

    What belongs to no class, as EasyCV's 172nd output, is left out.
    """
    ids = np.unique(answer.label_map)[::-1]
    ids = ids[ids < len(answer.label_set)]
    masks = [(answer.label_map == index).astype(dtype) for index in ids]
    return _result(masks, [answer.label_set.names[index] for index in ids], answer.class_scores[ids].tolist())


def panoptic_result(answer: PanopticAnswer) -> dict[str, Any]:
    """masks: of each segment (H, W) int32, 0 and 1. The things come first, the last found before the others, and then
    the stuff, the highest class first: the order of mmdetection's ids from above.
    """
    segments = answer.panoptic.segments
    order = sorted(
        range(len(segments)), key=lambda place: -(segments[place].label + _INSTANCES * segments[place].instance)
    )
    masks = [(answer.panoptic.segment_map == place + 1).astype(np.int32) for place in order]
    labels = [answer.label_set.names[segments[place].label] for place in order]
    return _result(masks, labels, [segments[place].score for place in order])


def text_result(answer: Answer) -> dict[str, Any]:
    """masks: the one of the text's pixels (H, W) uint8, 0 and 255; it is told from "others", which is class 0."""
    mask = np.where(answer.label_map == 1, 255, 0).astype(np.uint8)
    return {OutputKeys.MASKS: mask, OutputKeys.CONFIDENCES: float(answer.class_scores[1])}


def semantic_seg_masks_to_image(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Masks in the colours of COCO's panoptic classes, by their places in the list: (H, W, 3) float64 of 0..255, RGB.

    Later masks cover earlier ones. Raises ValueError for no mask, and for more than there are colours.
    """
    palette = read_labels("coco_panoptic").palette
    if not 1 <= len(masks) <= len(palette):
        raise ValueError(f"{len(masks)} masks cannot be drawn: it must be 1 to {len(palette)}, each in a colour")
    image = np.zeros((*np.shape(masks[0]), 3))
    for mask, colour in zip(masks, palette, strict=False):
        image[np.asarray(mask, bool)] = colour
    return image


# ModelScope's own would move a colour that was taken already, and none of these is there twice.
panoptic_seg_masks_to_image = semantic_seg_masks_to_image


def _result(masks: list[np.ndarray], labels: list[str], confidences: list[float]) -> dict[str, Any]:
    return {
        OutputKeys.MASKS: masks,
        OutputKeys.LABELS: labels,
        OutputKeys.SCORES: [_SCORE] * len(masks),
        OutputKeys.CONFIDENCES: confidences,
    }

"""Whose average precision a dataset's figures are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ms_seg.evaluation.instance.average_precision import Detection, Precision, average_precision
from ms_seg.evaluation.instance.cityscapes import cityscapes_precision

Detections = Sequence[Sequence[Detection]]  # of each picture


def coco_scores(dataset: Any, detections: Detections) -> dict[str, Precision]:
    """Of boxes, and of masks where all detections have one."""
    kinds = ("box", "mask") if _all_masks(detections) else ("box",)
    return {kind: average_precision(dataset, detections, kind) for kind in kinds}


def cityscapes_scores(dataset: Any, detections: Detections) -> dict[str, Precision]:
    """Of masks alone. Raises ValueError for detections without one."""
    if not _all_masks(detections):
        raise ValueError("Cityscapes scores masks: some detections are boxes alone")
    return {"mask": cityscapes_precision(dataset, detections)}


SCORES: dict[str, Callable[[Any, Detections], dict[str, Precision]]] = {  # by `scored_by` of a dataset
    "coco": coco_scores,
    "cityscapes": cityscapes_scores,
}
SCORED = {"coco": ("mask", "box"), "cityscapes": ("mask",)}  # of detections with masks


def _all_masks(detections: Detections) -> bool:
    return all(detection.mask for of_picture in detections for detection in of_picture)

"""COCO's average precision of boxes and masks, by pycocotools' own COCOeval."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ms_seg.data.instance import InstanceDataset

KINDS = {"box": "bbox", "mask": "segm"}  # our names and pycocotools'
_FIGURES = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")  # as COCOeval lists them


@dataclass(frozen=True)
class Detection:
    """A detected thing. label: its class as an index. score: 0..1. box: x, y, width, height in pixels.

    mask: COCO's compressed run lengths (size, counts as text), or None if there is only a box.
    """

    label: int
    score: float
    box: tuple[float, float, float, float]
    mask: dict[str, Any] | None


@dataclass(frozen=True)
class Precision:
    """figures: AP over IoUs of .5 to .95, at .5, at .75, and of small (up to 32 x 32 pixels), medium (96 x 96) and
    large things, 0..1, nan without such things. per_class: (C,) float64, AP over the IoUs, nan likewise."""

    figures: dict[str, float]
    per_class: np.ndarray


def average_precision(dataset: InstanceDataset, detections: Sequence[Sequence[Detection]], kind: str) -> Precision:
    """Score the detections in each picture of a dataset, at most 100 a picture.

    kind: "box" or "mask". The size of a detection is the area of its box or its mask, as mmdetection and detectron2
    pass them to COCOeval.

    Raises ValueError for an outline in the dataset that cannot be read.
    """
    from pycocotools.coco import COCO  # imported late: most commands do without
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # each step prints a line
        truth, guess = COCO(), COCO()
        truth.dataset, guess.dataset = _truth(dataset, kind), _guess(dataset, detections, kind)
        truth.createIndex()
        guess.createIndex()
        evaluation = COCOeval(truth, guess, KINDS[kind])
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    figures = np.where(evaluation.stats[: len(_FIGURES)] < 0, np.nan, evaluation.stats[: len(_FIGURES)])
    # (IoUs, recalls, classes in the order of their ids, sizes, max detections): all sizes, 100 detections
    curves = evaluation.eval["precision"][:, :, :, 0, -1]
    by_id = [float(curve[curve > -1].mean()) if (curve > -1).any() else np.nan for curve in np.moveaxis(curves, 2, 0)]
    order = np.argsort(dataset.label_set.numbers)
    per_class = np.empty(len(order))
    per_class[order] = by_id
    return Precision(dict(zip(_FIGURES, figures.tolist(), strict=True)), per_class)


def _truth(dataset: InstanceDataset, kind: str) -> dict[str, list[dict]]:
    annotations: list[dict[str, Any]] = []
    ids = dataset.label_set.numbers
    for index in range(len(dataset)):
        things = dataset.things(index)
        outlines = [{"segmentation": lengths} for lengths in dataset.run_lengths(index)] if kind == "mask" else []
        for thing, outline in zip(things, outlines or [{} for _ in things], strict=True):
            row: dict[str, Any] = {
                "id": len(annotations) + 1,
                "image_id": dataset.image_id(index),
                "category_id": ids[thing.label],
                "bbox": list(thing.box),
                "area": thing.area,
                "iscrowd": int(thing.iscrowd),
            }
            annotations.append({**row, **outline})
    return {**_rows(dataset), "annotations": annotations}


def _guess(dataset: InstanceDataset, found: Sequence[Sequence[Detection]], kind: str) -> dict[str, list[dict]]:
    from pycocotools import mask

    annotations: list[dict[str, Any]] = []
    ids = dataset.label_set.numbers
    for index, detections in enumerate(found):
        for detection in detections:
            row: dict[str, Any] = {
                "id": len(annotations) + 1,
                "image_id": dataset.image_id(index),
                "category_id": ids[detection.label],
                "score": detection.score,
                "iscrowd": 0,
            }
            if kind == "mask":
                assert detection.mask is not None  # `instance_results` asks for masks if all detections have one
                packed = {**detection.mask, "counts": detection.mask["counts"].encode()}
                row |= {"segmentation": packed, "area": int(mask.area(packed))}
            else:
                row |= {"bbox": list(detection.box), "area": detection.box[2] * detection.box[3]}
            annotations.append(row)
    return {**_rows(dataset), "annotations": annotations}


def _rows(dataset: InstanceDataset) -> dict[str, list[dict]]:
    images = []
    for index in range(len(dataset)):
        height, width = dataset.size(index)
        images.append({"id": dataset.image_id(index), "height": height, "width": width})
    return {"images": images, "categories": [{"id": number} for number in dataset.label_set.numbers]}

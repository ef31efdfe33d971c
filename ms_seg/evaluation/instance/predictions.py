"""Detected instances, made by a model or read from COCO's JSON file of results."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convert.atomic import whole_file
from ms_seg.answers import InstanceAnswer
from ms_seg.data.coco.annotations import PictureId, field, read_json
from ms_seg.data.coco.instance import run_lengths
from ms_seg.data.instance import InstanceDataset
from ms_seg.evaluation.instance.average_precision import Detection
from ms_seg.evaluation.instance.tally import InstanceTally
from ms_seg.evaluation.predictions import ModelPredictions

_RESULTS = "instances.json"


class ModelDetections(ModelPredictions[list[Detection]]):
    """A model's detections; `finish` writes COCO's file of results to the folder, if there is one."""

    def read(self, index: int, answer: InstanceAnswer) -> list[Detection]:
        places = {name: place for place, name in enumerate(self.dataset.label_set.names)}
        rows = zip(answer.labels, answer.scores.tolist(), answer.segments, strict=True)
        return [
            Detection(places[name], score, _box(row["bbox"]), row["segmentation"])
            for name, score, row in rows
            if name in places
        ]

    def finish(self, tally: InstanceTally) -> None:
        if not self.folder:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        numbers = self.dataset.label_set.numbers
        rows = [
            {
                "image_id": self.dataset.image_id(index),
                "category_id": numbers[detection.label],
                "score": detection.score,
                "bbox": list(detection.box),
                "segmentation": detection.mask,
            }
            for index, detections in enumerate(tally.detections())
            for detection in detections
        ]
        with whole_file(self.folder / _RESULTS) as draft:
            draft.write_text(json.dumps(rows) + "\n", encoding="utf-8")


class SavedDetections:
    """Detections in COCO's form: a JSON list of {image_id, category_id, score, bbox, segmentation}.

    A picture may have none. An entry without a box gets the one around its mask. path: the file, or a folder that a
    model's detections were written to.

    Raises ValueError, naming the file, for anything else, and for an unknown picture or category.
    """

    def __init__(self, path: Path, dataset: InstanceDataset):
        file = path / _RESULTS if path.is_dir() else path
        rows = read_json(file)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError(f"{file} is no list of detected instances, as COCO's results are")
        self._file, self._dataset = file, dataset
        self._classes = {number: index for index, number in enumerate(dataset.label_set.numbers)}
        self._rows: dict[PictureId, list[dict]] = {dataset.image_id(index): [] for index in range(len(dataset))}
        for row in rows:
            number = field(row, "image_id", PictureId, f"{file}: an instance")
            if number not in self._rows:
                raise ValueError(f"{file} names picture {number}, which is not in the dataset: is it another split's?")
            self._rows[number].append(row)

    def __getitem__(self, index: int) -> list[Detection]:
        number, size = self._dataset.image_id(index), self._dataset.size(index)
        what = f"{self._file}: an instance in picture {number}"
        try:
            return [self._read(row, size, what) for row in self._rows[number]]
        except ValueError as error:
            raise ValueError(str(error) if str(error).startswith(what) else f"{what}: {error}") from None

    def source(self, index: int) -> str:
        return str(self._file)

    def _read(self, row: Mapping[str, Any], size: tuple[int, int], what: str) -> Detection:
        from pycocotools import mask as coco_mask  # imported late: most commands do without

        category = field(row, "category_id", int, what)
        if category not in self._classes:
            raise ValueError(f"{what} is of the unknown category {category}")
        score = field(row, "score", (int, float), what)
        outline, box = row.get("segmentation"), row.get("bbox")
        if not isinstance(outline, (list, dict, type(None))):
            raise ValueError(f"{what} has an outline that is neither polygons nor run lengths")
        packed = run_lengths(outline, size) if outline else None
        box = coco_mask.toBbox(packed).tolist() if packed and not box else box
        if not isinstance(box, list) or len(box) != 4 or not all(isinstance(side, (int, float)) for side in box):
            raise ValueError(f"{what} has no box of x, y, width and height")
        if not all(map(math.isfinite, [score, *box])):
            raise ValueError(f"{what} has a score or a box that is not finite")
        mask = {"size": list(size), "counts": packed["counts"].decode()} if packed else None
        return Detection(self._classes[category], float(score), _box(box), mask)


def _box(sides: Sequence[float]) -> tuple[float, float, float, float]:
    x, y, width, height = map(float, sides)
    return x, y, width, height

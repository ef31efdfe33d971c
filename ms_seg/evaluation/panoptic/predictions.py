"""Predicted panoptic maps, made by a model or read from COCO's JSON and PNG files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from convert.atomic import whole_file
from ms_seg.answers import PanopticAnswer
from ms_seg.data.coco.annotations import check_files, read_annotations, read_json
from ms_seg.data.coco.panoptic import read_segments
from ms_seg.data.panoptic import PanopticDataset, PanopticMap, Segment, to_colours
from ms_seg.evaluation.predictions import ModelPredictions

_MAPS, _JSON = "panoptic", "panoptic.json"  # what is written into the folder
_ROWS = ".rows"  # where the rows of the JSON file wait until there is one for each picture


class ModelPanopticMaps(ModelPredictions[PanopticMap]):
    """Panoptic maps made by a model; COCO's PNG file of each is written to the folder, if there is one, and `finish`
    writes the JSON file."""

    def read(self, index: int, answer: PanopticAnswer) -> PanopticMap:
        panoptic = _map_of(answer)
        if self.folder:
            self._write(index, panoptic, self.folder)
        return panoptic

    def finish(self, tally: Any) -> None:
        if not self.folder:
            return
        rows = self.folder / _ROWS
        annotations = [read_json(rows / f"{self.dataset.name(index)}.json") for index in range(len(self.dataset))]
        with whole_file(self.folder / _JSON) as draft:
            draft.write_text(json.dumps({"annotations": annotations}) + "\n", encoding="utf-8")
        shutil.rmtree(rows)

    def _write(self, index: int, panoptic: PanopticMap, folder: Path) -> None:
        name, numbers = self.dataset.name(index), self.dataset.label_set.numbers
        segments = [
            {"id": segment.id, "category_id": numbers[segment.label], "iscrowd": 0, "area": int(segment.area)}
            for segment in panoptic.segments
        ]
        row = {"image_id": self.dataset.image_id(index), "file_name": f"{name}.png", "segments_info": segments}
        picture, written = folder / _MAPS / f"{name}.png", folder / _ROWS / f"{name}.json"
        for file in (picture, written):
            file.parent.mkdir(parents=True, exist_ok=True)  # a name may have folders in it
        with whole_file(picture) as draft:
            Image.fromarray(to_colours(panoptic.ids)).save(draft, "PNG")
        with whole_file(written) as draft:
            draft.write_text(json.dumps(row), encoding="utf-8")


def _map_of(answer: PanopticAnswer) -> PanopticMap:
    """The answer's map, its segments numbered from 1."""
    areas = np.bincount(answer.segment_map.ravel(), minlength=len(answer.classes) + 1).tolist()
    segments = (Segment(place, label, False, areas[place]) for place, label in enumerate(answer.classes, start=1))
    return PanopticMap(answer.segment_map, tuple(segment for segment in segments if segment.area))


class SavedPanopticMaps:
    """Panoptic maps in COCO's form: a JSON file and the PNG files that it names.

    Args:
        path: the JSON file, or the folder that holds it. The PNG files are in the folder named after the JSON file,
            as panopticapi has it, or beside it.
        dataset: whose pictures the predictions are of. Predictions for other pictures are ignored.

    Raises ValueError, naming the file: for a JSON file of another form, a picture without a prediction, and a missing
    PNG file.
    """

    def __init__(self, path: Path, dataset: PanopticDataset):
        file = _json_of(path)
        rows = read_annotations(file, "annotations")["annotations"]
        self._table = read_segments(rows, file, dataset.label_set)
        self._place = {number: place for place, number in enumerate(self._table.pictures)}
        self._dataset = dataset
        missing = [index for index in range(len(dataset)) if dataset.image_id(index) not in self._place]
        if missing:
            others = f", nor for {len(missing) - 1} others" if len(missing) > 1 else ""
            raise ValueError(f"{file} has no prediction for picture {dataset.image_id(missing[0])}{others}")
        self._folder = file.with_suffix("") if file.with_suffix("").is_dir() else file.parent
        names = (self._table.maps[self._place[dataset.image_id(index)]] for index in range(len(dataset)))
        check_files(self._folder, names, f"{file} names it")

    def __getitem__(self, index: int) -> PanopticMap:
        """Raises ValueError, naming the file, for whatever is wrong with a map; see `SegmentTable.read`."""
        return self._table.read(self._place[self._dataset.image_id(index)], self._folder)

    def source(self, index: int) -> str:
        return str(self._folder / self._table.maps[self._place[self._dataset.image_id(index)]])


def _json_of(path: Path) -> Path:
    """The JSON file that a path names: itself, the only one in the folder, or the one beside the folder."""
    if not path.is_dir():
        return path
    beside = path.with_name(f"{path.name}.json")
    inside = sorted(file for file in path.glob("*.json") if not file.name.startswith("."))
    if len(inside) == 1:
        return inside[0]
    if beside.is_file() and not inside:
        return beside
    if inside:
        raise ValueError(f"{path} holds {inside[0].name} and {len(inside) - 1} other JSON files: pass one of them")
    raise ValueError(f"{path} holds no JSON file of predictions, and there is no {beside}")

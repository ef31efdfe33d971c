"""Where predicted panoptic maps come from: a model that makes them, or COCO's JSON and PNG files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image

from convert.atomic import whole_file
from ms_seg.data.coco.annotations import check_files, read_annotations, read_json
from ms_seg.data.coco.panoptic import read_segments
from ms_seg.data.panoptic import PanopticDataset, PanopticMap, Segment, to_colours

if TYPE_CHECKING:
    from ms_seg.answers.segments import PanopticAnswer
    from ms_seg.evaluation.tally import Tally

_MAPS, _JSON = "panoptic", "panoptic.json"  # what is written into the folder for predictions
_ROWS = ".rows"  # where the JSON file's rows wait until there is one for each picture


class PanopticPredictions(Protocol):
    """A panoptic map for each picture of a dataset, by the picture's index."""

    def panoptic(self, index: int) -> PanopticMap:
        """Raises ValueError or RuntimeError in one sentence that names the picture or the file."""

    def source(self, index: int) -> str:
        """What made the map, for a sentence about it."""


class PanopticModelPredictions:
    """A model's predictions.

    Args:
        segment: a picture, RGB (H, W, 3) uint8, -> its panoptic answer.
        dataset: its pictures are segmented.
        folder: if given, COCO's PNG file of each answer is written there, and `finish` writes the JSON file.
    """

    def __init__(self, segment: Callable[[Any], PanopticAnswer], dataset: PanopticDataset, folder: Path | None = None):
        self._segment, self._dataset, self._folder = segment, dataset, folder

    def panoptic(self, index: int) -> PanopticMap:
        picture = self._dataset.picture(index)
        try:
            answer = self._segment(picture)
        except (ValueError, RuntimeError) as error:
            raise type(error)(f"{self._dataset.name(index)}: {error}") from error
        panoptic = _map_of(answer)
        if self._folder:
            self._write(index, panoptic)
        return panoptic

    def source(self, index: int) -> str:
        return f"the answer to {self._dataset.name(index)}"

    def finish(self, tally: Tally) -> None:
        """Write the JSON file, if there is a folder; for one process, when all pictures are done."""
        if not self._folder:
            return
        rows = self._folder / _ROWS
        annotations = [read_json(rows / f"{self._dataset.name(index)}.json") for index in range(len(self._dataset))]
        with whole_file(self._folder / _JSON) as draft:
            draft.write_text(json.dumps({"annotations": annotations}) + "\n", encoding="utf-8")
        shutil.rmtree(rows)

    def _write(self, index: int, panoptic: PanopticMap) -> None:
        name, numbers = self._dataset.name(index), self._dataset.label_set.numbers
        segments = [
            {"id": segment.id, "category_id": numbers[segment.label], "iscrowd": 0, "area": int(segment.area)}
            for segment in panoptic.segments
        ]
        row = {"image_id": self._dataset.image_id(index), "file_name": f"{name}.png", "segments_info": segments}
        for part in (_MAPS, _ROWS):
            (self._folder / part).mkdir(parents=True, exist_ok=True)
        with whole_file(self._folder / _MAPS / f"{name}.png") as draft:
            Image.fromarray(to_colours(panoptic.ids)).save(draft, "PNG")
        with whole_file(self._folder / _ROWS / f"{name}.json") as draft:
            draft.write_text(json.dumps(row), encoding="utf-8")


def _map_of(answer: PanopticAnswer) -> PanopticMap:
    """The answer's map, its segments numbered from 1."""
    areas = np.bincount(answer.segment_map.ravel(), minlength=len(answer.classes) + 1).tolist()
    segments = (Segment(place, label, False, areas[place]) for place, label in enumerate(answer.classes, start=1))
    return PanopticMap(answer.segment_map, tuple(segment for segment in segments if segment.area))


class SavedPanoptic:
    """Predictions in COCO's form, a JSON file and the PNG files that it names.

    Args:
        path: the JSON file, or the folder that holds it. PNG files lie in the folder of the JSON file's name without
            its ending, as panopticapi has it, or beside it.
        dataset: whose pictures the predictions are of. Those of further pictures are left alone.

    Raises ValueError, naming the file, for a JSON file that is not as it must be, when it has no prediction for a
    picture, and when a PNG file is missing.
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

    def panoptic(self, index: int) -> PanopticMap:
        """Raises ValueError, naming the file, for what is wrong with a map; see `SegmentTable.read`."""
        return self._table.read(self._place[self._dataset.image_id(index)], self._folder)

    def source(self, index: int) -> str:
        return str(self._folder / self._table.maps[self._place[self._dataset.image_id(index)]])


def _json_of(path: Path) -> Path:
    """The JSON file of predictions that a path names or that lies in it, or beside it under its name."""
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

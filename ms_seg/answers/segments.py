"""What a model of queries says of a picture: segments, each a thing or a kind of stuff, at the picture's own size."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ms_seg.answers.colours import ids_of, segment_colours
from ms_seg.answers.saving import stem_of, summary, write_json, write_png
from ms_seg.answers.segment_drawing import draw_segments
from ms_seg.data.coco.boxes import box_of, boxes_of
from ms_seg.data.coco.rle import encode_labels, encode_mask
from ms_seg.data.panoptic import to_colours
from ms_seg.label_sets import LabelSet
from ms_seg.postprocessing.instance import Instances
from ms_seg.postprocessing.panoptic import Panoptic

LEAST_SHOWN = 0.5  # instances that score less are in every list, but not in maps and drawings


@dataclass(frozen=True, eq=False)
class SegmentsAnswer(ABC):
    """What panoptic and instance answers share.

    picture: RGB (H, W, 3) uint8. label_set: the classes; one that does not tell things from stuff has things alone.
    model: the preset's name. source: where the picture came from, if from a file.

    `classes`, `labels`, `masks`, `scores`, `ids` and `segments` run over the segments, in one order.
    """

    picture: np.ndarray
    label_set: LabelSet
    model: str
    source: str | None = None

    @property
    @abstractmethod
    def classes(self) -> list[int]:
        """The class of each segment, as the index of the model's output."""

    @property
    @abstractmethod
    def scores(self) -> np.ndarray:
        """(K,) float64 of 0..1, how probable each segment is."""

    @property
    @abstractmethod
    def masks(self) -> np.ndarray:
        """(K, H, W) bool, the pixels of each segment; made when asked for, a byte for each pixel of each."""

    @property
    @abstractmethod
    def segment_map(self) -> np.ndarray:
        """(H, W) int32, the place of each pixel's segment in the lists, from 1 on; 0 for none."""

    @property
    @abstractmethod
    def _shapes(self) -> list[dict[str, Any]]:
        """area, bbox and segmentation of each segment."""

    @property
    def labels(self) -> list[str]:
        """The name of each segment's class."""
        return [self.label_set.names[index] for index in self.classes]

    @property
    def labels_in_sight(self) -> list[str]:
        """The names of those segments that are in `segment_map`."""
        return [self.labels[place - 1] for place in np.unique(self.segment_map).tolist() if place]

    @property
    def label_map(self) -> np.ndarray:
        """(H, W) int32, the class of each pixel as the index of the model's output; the number of classes for none."""
        return np.array([len(self.label_set), *self.classes], np.int32)[self.segment_map]

    @property
    def ids(self) -> list[int]:
        """The number of each segment in COCO's files: its colour, red + 256 green + 256**2 blue."""
        return ids_of(self._colours)

    @property
    def id_map(self) -> np.ndarray:
        """(H, W) int32, the id of each pixel's segment; 0 for none."""
        return np.array([0, *self.ids], np.int32)[self.segment_map]

    @cached_property
    def segments(self) -> list[dict[str, Any]]:
        """The segments as COCO writes them, ready for JSON.

        Keys: id; category_id (the number that published annotations call the class by, where the label set has such
        numbers, else its index), category (its name), isthing; area (pixels), bbox [x, y, width, height], score,
        segmentation (COCO run lengths: size [height, width], counts).
        """
        rows = zip(self.ids, self.classes, self.scores, self._shapes, strict=True)
        return [
            {
                "id": number,
                "category_id": _category(self.label_set, index),
                "category": self.label_set.names[index],
                "isthing": is_thing(self.label_set, index),
                **shape,
                "score": round(float(score), 6),
            }
            for number, index, score, shape in rows
        ]

    def draw(self) -> Image.Image:
        """The picture under the colours of its segments, with their names and a legend of the classes."""
        return draw_segments(self.picture, self.segment_map, self.classes, self.labels, self._colours)

    def save(self, folder: str | os.PathLike[str], stem: str | None = None) -> list[Path]:
        """Write `<stem>.overlay.png`, `<stem>.labels.png` and `<stem>.segments.json` into a folder, made if missing.

        The labels are the ids of the segments as colours, RGB, black for none. A file appears under its name only when
        it is whole. The stem is the source's, else "picture".

        Returns the paths. Raises OSError if the folder cannot be written.
        """
        stem = stem or stem_of(self.source)
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{stem}.{kind}" for kind in ("overlay.png", "labels.png", "segments.json")]
        write_png(paths[0], self.draw(), fast=True)
        write_png(paths[1], Image.fromarray(to_colours(self.id_map)))
        write_json(paths[2], summary(self.source, self.segment_map.shape, self.model, self.segments))
        return paths

    @cached_property
    def _colours(self) -> np.ndarray:
        return segment_colours(self.classes, self.label_set)


@dataclass(frozen=True, eq=False)
class PanopticAnswer(SegmentsAnswer):
    """Every pixel in one segment, a thing or a kind of stuff, or in none. The lists begin with the largest segment.

    panoptic: what `inference.panoptic.merge` found.
    """

    panoptic: Panoptic = field(kw_only=True)

    @cached_property
    def _order(self) -> np.ndarray:
        """Places in `panoptic.segments`, from 0 on."""
        areas = np.bincount(self.panoptic.segment_map.ravel(), minlength=len(self.panoptic.segments) + 1)
        return np.argsort(-areas[1:], kind="stable")

    @property
    def classes(self) -> list[int]:
        return [self.panoptic.segments[place].label for place in self._order]

    @property
    def scores(self) -> np.ndarray:
        return np.array([self.panoptic.segments[place].score for place in self._order], np.float64)

    @property
    def masks(self) -> np.ndarray:
        return self.segment_map == np.arange(1, len(self._order) + 1, dtype=np.int32).reshape(-1, 1, 1)

    @cached_property
    def segment_map(self) -> np.ndarray:
        table = np.zeros(len(self._order) + 1, np.int32)
        table[self._order + 1] = np.arange(1, len(table))
        return table[self.panoptic.segment_map]

    @property
    def _shapes(self) -> list[dict[str, Any]]:
        numbers = list(range(1, len(self._order) + 1))
        areas = np.bincount(self.segment_map.ravel(), minlength=len(numbers) + 1)
        boxes = boxes_of(self.segment_map, len(areas))
        encoded = encode_labels(self.segment_map, numbers)
        return [
            {"area": int(areas[number]), "bbox": boxes[number], "segmentation": segmentation}
            for number, segmentation in zip(numbers, encoded, strict=True)
        ]

    def save(self, folder: str | os.PathLike[str], stem: str | None = None) -> list[Path]:
        """As `SegmentsAnswer.save`, and `<stem>.panoptic.json`, which panopticapi reads beside the labels."""
        stem = stem or stem_of(self.source)
        paths = super().save(folder, stem)
        paths.append(Path(folder) / f"{stem}.panoptic.json")
        write_json(paths[-1], self.coco(paths[1].name))
        return paths

    def coco(self, labels_file: str) -> dict[str, Any]:
        """The answer as a COCO panoptic annotation file has it, of one picture, whose map of ids is `labels_file`.

        The picture's number is its file's name, if that is a number as in COCO, else its name without the ending.
        """
        stem = stem_of(self.source)
        number = int(stem) if stem.isdecimal() else stem
        height, width = self.segment_map.shape
        file = Path(self.source).name if self.source else None
        kept = ("id", "category_id", "area", "bbox")
        infos = [{**{key: segment[key] for key in kept}, "iscrowd": 0} for segment in self.segments]
        return {
            "images": [{"id": number, "file_name": file, "height": height, "width": width}],
            "annotations": [{"image_id": number, "file_name": labels_file, "segments_info": infos}],
            "categories": [
                {
                    "id": _category(self.label_set, index),
                    "name": name,
                    "isthing": int(is_thing(self.label_set, index)),
                    "color": self.label_set.palette[index].tolist(),
                }
                for index, name in enumerate(self.label_set.names)
            ],
        }


@dataclass(frozen=True, eq=False)
class InstanceAnswer(SegmentsAnswer):
    """Things, each with a mask of its own: masks may overlap. The lists begin with the most probable instance.

    instances: what `inference.instance.find_instances` found. In maps and drawings an instance hides less probable
    ones, and those that score less than LEAST_SHOWN are left out.
    """

    instances: Instances = field(kw_only=True)

    @property
    def classes(self) -> list[int]:
        return self.instances.labels.tolist()

    @property
    def scores(self) -> np.ndarray:
        return self.instances.scores

    @property
    def masks(self) -> np.ndarray:
        masks = np.empty((len(self.instances), *self.instances.size), bool)
        for place in range(len(masks)):
            masks[place] = self.instances.mask(place)
        return masks

    @cached_property
    def segment_map(self) -> np.ndarray:
        shown = np.zeros(self.instances.size, np.int32)
        for place in reversed(range(np.count_nonzero(self.scores >= LEAST_SHOWN))):
            shown[self.instances.mask(place)] = place + 1
        return shown

    @property
    def _shapes(self) -> list[dict[str, Any]]:
        shapes = []
        for place, area in enumerate(self.instances.areas.tolist()):
            mask = self.instances.mask(place)
            shapes.append({"area": area, "bbox": box_of(mask), "segmentation": encode_mask(mask)})
        return shapes


def is_thing(label_set: LabelSet, index: int) -> bool:
    """Whether a class is counted one by one; all are where the label set does not tell."""
    return label_set.things is None or label_set.things[index]


def _category(label_set: LabelSet, index: int) -> int:
    return index if label_set.ids is None else label_set.ids[index]

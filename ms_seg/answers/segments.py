"""The answers of models of queries: panoptic and instance segmentation."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from ms_seg.answers.base import BaseAnswer, first_three, write_json
from ms_seg.answers.drawing.colours import OPACITY, segment_colours
from ms_seg.answers.drawing.segments import draw_segments
from ms_seg.data.coco.codecs import box_of, boxes_and_masks, encode_mask
from ms_seg.data.panoptic import to_colours, to_ids
from ms_seg.label_sets import LabelSet
from ms_seg.postprocessing.instance import Instances
from ms_seg.postprocessing.panoptic import Panoptic

DISPLAY_THRESHOLD = 0.5  # instances that score less are in every list, but not in maps and drawings


@dataclass(frozen=True, eq=False, repr=False)
class SegmentsAnswer(BaseAnswer):
    """What panoptic and instance answers have in common; see `BaseAnswer` for the fields.

    colours: of the segments, RGB (K, 3) uint8, no two the same and none black; None for `segment_colours`.

    A label set that does not tell things from stuff counts as things alone.
    """

    picture: np.ndarray
    label_set: LabelSet
    model: str
    source: str | None = None
    colours: np.ndarray | None = field(default=None, kw_only=True)

    @property
    @abstractmethod
    def segment_map(self) -> np.ndarray:
        """(H, W) int32, for each pixel the place of its segment in the lists, from 1; 0 for none."""

    @abstractmethod
    def _shapes(self) -> list[dict[str, Any]]:
        """area, bbox and segmentation of each segment."""

    @property
    def summary(self) -> str:
        """The classes of the first segments, and how many there are of each."""
        counts = Counter(self.shown_labels)
        return first_three([f"{count} {label}" if count > 1 else label for label, count in counts.items()])

    @property
    def shown_labels(self) -> list[str]:
        """The class names of the segments in `segment_map`."""
        return [self.labels[place - 1] for place in np.unique(self.segment_map).tolist() if place]

    @property
    def label_map(self) -> np.ndarray:
        """(H, W) int32, the class of each pixel as the index of the model's output; the number of classes for none."""
        return np.array([len(self.label_set), *self.classes], np.int32)[self.segment_map]

    @property
    def ids(self) -> list[int]:
        """The number of each segment in COCO's files: its colour, red + 256 green + 256**2 blue."""
        return to_ids(self._colours).tolist()

    @property
    def id_map(self) -> np.ndarray:
        """(H, W) int32, the id of each pixel's segment; 0 for none."""
        return np.array([0, *self.ids], np.int32)[self.segment_map]

    @cached_property
    def segments(self) -> list[dict[str, Any]]:
        """The segments as COCO writes them, ready for JSON.

        Keys: id; category_id (the number that published annotations call the class by, if the label set has such
        numbers, else its index), category (its name), isthing; area (pixels), bbox [x, y, width, height], score,
        segmentation (COCO's run lengths: size [height, width], counts).
        """
        rows = zip(self.ids, self.classes, self.scores, self._shapes(), strict=True)
        return [
            {
                "id": number,
                "category_id": self.label_set.numbers[index],
                "category": self.label_set.names[index],
                "isthing": self.label_set.isthing[index],
                **shape,
                "score": round(float(score), 6),
            }
            for number, index, score, shape in rows
        ]

    def draw(self, opacity: float = OPACITY, legend: bool = True) -> Image.Image:
        return draw_segments(
            self.picture, self.segment_map, self.classes, self.label_set, self.scores, opacity, legend, self.colours
        )

    def in_colours(self, colours: np.ndarray) -> Self:
        """The same answer with its segments in these colours, which are their ids too: see `colours`."""
        other = replace(self, colours=colours)
        other.__dict__["segment_map"] = self.segment_map  # of instances it takes long to make
        return other

    def label_image(self) -> Image.Image:
        """The ids of the segments as colours, RGB; black for none."""
        return Image.fromarray(to_colours(self.id_map))

    @cached_property
    def _colours(self) -> np.ndarray:
        return segment_colours(self.classes, self.label_set) if self.colours is None else self.colours


@dataclass(frozen=True, eq=False, repr=False)
class PanopticAnswer(SegmentsAnswer):
    """Each pixel belongs to one segment, a thing or a kind of stuff, or to none. The largest segment comes first.

    panoptic: what `panoptic_inference` found.
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

    def _shapes(self) -> list[dict[str, Any]]:
        numbers = list(range(1, len(self._order) + 1))
        areas = np.bincount(self.segment_map.ravel(), minlength=len(numbers) + 1)
        shapes = boxes_and_masks(self.segment_map, numbers)
        return [
            {"area": area, "bbox": box, "segmentation": segmentation}
            for area, (box, segmentation) in zip(areas[1:].tolist(), shapes, strict=True)
        ]

    def save(
        self, folder: str | os.PathLike[str], stem: str | None = None, opacity: float = OPACITY, legend: bool = True
    ) -> list[Path]:
        """As `BaseAnswer.save`, and `<stem>.panoptic.json`, which panopticapi reads together with the labels."""
        paths = super().save(folder, stem, opacity, legend)
        (file,) = self._paths(folder, stem, "panoptic.json")
        write_json(file, self.coco(labels_file=paths[1].name))
        return [*paths, file]

    def coco(self, labels_file: str) -> dict[str, Any]:
        """The content of a COCO panoptic annotation file of one picture, whose map of ids is `labels_file`.

        The picture's number is its file's stem: an integer if it is one, as in COCO, else the text.
        """
        number = int(self.stem) if self.stem.isdecimal() else self.stem
        height, width = self.segment_map.shape
        file = Path(self.source).name if self.source else None
        kept = ("id", "category_id", "area", "bbox")
        infos = [{**{key: segment[key] for key in kept}, "iscrowd": 0} for segment in self.segments]
        return {
            "images": [{"id": number, "file_name": file, "height": height, "width": width}],
            "annotations": [{"image_id": number, "file_name": labels_file, "segments_info": infos}],
            "categories": [
                {
                    "id": self.label_set.numbers[index],
                    "name": name,
                    "isthing": int(self.label_set.isthing[index]),
                    "color": self.label_set.palette[index].tolist(),
                }
                for index, name in enumerate(self.label_set.names)
            ],
        }


@dataclass(frozen=True, eq=False, repr=False)
class InstanceAnswer(SegmentsAnswer):
    """Things, each with its own mask; masks may overlap. The most probable instance comes first.

    instances: what `instance_inference` found. In maps and drawings an instance hides less probable ones, and those
    that score less than `score_threshold` are left out.
    """

    instances: Instances = field(kw_only=True)
    score_threshold: float = field(default=DISPLAY_THRESHOLD, kw_only=True)

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
        for place in reversed(range(np.count_nonzero(self.scores >= self.score_threshold))):
            where, mask = self.instances.part(place)
            shown[where][mask] = place + 1
        return shown

    def _shapes(self) -> list[dict[str, Any]]:
        shapes = []
        for place, area in enumerate(self.instances.areas.tolist()):
            (rows, columns), mask = self.instances.part(place)
            left, top, width, height = box_of(mask)
            box = [left + int(columns.start), top + int(rows.start), width, height]
            corner = (int(rows.start), int(columns.start))
            shapes.append({"area": area, "bbox": box, "segmentation": encode_mask(mask, self.instances.size, corner)})
        return shapes

"""COCO instances as published: a JSON file with the outlines of all things in the pictures of a split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from ms_seg.data.coco.annotations import (
    CocoPicture,
    PictureId,
    annotation_file,
    check_files,
    coco_labels,
    field,
    picture_folder,
    read_annotations,
    read_categories,
    read_pictures,
    stem_of,
)
from ms_seg.data.coco.codecs import decode_mask
from ms_seg.data.instance import Thing
from ms_seg.data.pairing import check_split
from ms_seg.data.picture import read_picture
from ms_seg.label_sets import LabelSet, things_only

_ROBOFLOW = {"training": "train", "validation": "valid"}
_FURTHEST = 1e5  # pixels from a picture's corner: outlines may go a little beyond its borders


@dataclass(frozen=True, eq=False)
class CocoInstance:
    """A split of COCO instances, in the order of its images: all pictures, annotated or not; an `InstanceDataset`.

    file: the JSON file. pictures: their folder, or None if they are missing. images: their rows in the file.
    annotated: the things of each picture.
    """

    file: Path
    pictures: Path | None
    images: tuple[CocoPicture, ...]
    annotated: tuple[tuple[Thing, ...], ...]
    label_set: LabelSet
    scored_by: str = "coco"

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        return stem_of(self.images[index].file)

    def image_id(self, index: int) -> PictureId:
        """COCO's number of the picture."""
        return self.images[index].id

    def size(self, index: int) -> tuple[int, int]:
        return self.images[index].size

    def picture(self, index: int) -> np.ndarray:
        if self.pictures is None:
            raise ValueError(f"the pictures of {self.file} are not there")
        path = self.pictures / self.images[index].file
        picture, (height, width) = read_picture(path), self.images[index].size
        if picture.shape[:2] != (height, width):
            raise ValueError(f"{path} is {picture.shape[1]}x{picture.shape[0]}, but {self.file} says {width}x{height}")
        return picture

    def things(self, index: int) -> tuple[Thing, ...]:
        return self.annotated[index]

    def run_lengths(self, index: int) -> list[dict[str, Any]]:
        try:
            return [run_lengths(thing.segmentation, self.size(index)) for thing in self.annotated[index]]
        except ValueError as error:
            raise ValueError(f"{self.file}: picture {self.image_id(index)}: {error}") from None

    def targets(self, index: int) -> tuple[np.ndarray, list[np.ndarray]]:
        from pycocotools import mask  # imported late: most commands do without

        pairs = zip(self.annotated[index], self.run_lengths(index), strict=True)
        kept = [(thing.label, lengths) for thing, lengths in pairs if not thing.iscrowd]
        masks = [mask.decode(lengths).astype(bool) for _, lengths in kept]
        return np.array([label for label, _ in kept], np.int32), masks

    def paths(self, index: int) -> tuple[Path, ...]:
        """The files that a picture and its things are read from."""
        picture = () if self.pictures is None else (self.pictures / self.images[index].file,)
        return *picture, self.file

    def first(self, count: int) -> Self:
        return replace(self, images=self.images[:count], annotated=self.annotated[:count])

    def with_things(self) -> Self:
        kept = [place for place, things in enumerate(self.annotated) if not all(thing.iscrowd for thing in things)]
        images = tuple(self.images[place] for place in kept)
        return replace(self, images=images, annotated=tuple(self.annotated[place] for place in kept))


def open_coco_instance(root: Path, split: str, with_pictures: bool = True) -> CocoInstance:
    """COCO instances from `root`: annotations/instances_val2017.json, and the pictures in val2017 or images/val2017;
    train2017 for training. A person's own may be "val" and "train", or, as Roboflow exports them,
    valid/_annotations.coco.json and train/_annotations.coco.json beside the pictures.

    with_pictures: False if only the things are needed, and the pictures may be missing.

    Raises ValueError, naming the file, for a JSON file of another form, one without annotations, and a missing picture.
    """
    file, part = annotation_file(root, "instances", split)
    pictures = picture_folder(root, part)
    exported = root / _ROBOFLOW[split] / "_annotations.coco.json"
    if not file.is_file() and exported.is_file():
        file, pictures = exported, exported.parent
    check_split(file, pictures)
    return open_instance_file(
        file,
        pictures,
        lambda rows: things_only(read_categories(rows, file, coco_labels(things=True))),
        with_pictures,
    )


def open_instance_file(
    file: Path,
    where: Path,
    labels_of: Callable[[Sequence[Mapping[str, Any]]], LabelSet],
    with_pictures: bool = True,
) -> CocoInstance:
    """What a JSON file in COCO's form annotates. where: the folder of the pictures. labels_of: "categories" -> the
    classes. Otherwise as `open_coco_instance`."""
    content = read_annotations(file, "images", "annotations", "categories")
    labels = labels_of(content["categories"])
    if not content["annotations"]:
        raise ValueError(f'{file} annotates no picture: its "annotations" are empty')
    pictures = read_pictures(content["images"], file)
    things: dict[PictureId, list[Thing]] = {number: [] for number in pictures}
    classes = {number: index for index, number in enumerate(labels.numbers)}
    for row in content["annotations"]:
        number = field(row, "image_id", PictureId, f"{file}: an annotation")
        if number not in pictures:
            raise ValueError(f"{file} annotates picture {number}, which is not among its images")
        things[number].append(_thing(row, classes, f"{file}: picture {number}"))
    found = None
    if with_pictures or where.is_dir():
        check_files(where, (picture.file for picture in pictures.values()), f"{file} names the picture")
        found = where
    return CocoInstance(file, found, tuple(pictures.values()), tuple(map(tuple, things.values())), labels)


def run_lengths(outline: Any, size: tuple[int, int]) -> dict[str, Any]:
    """An outline in a picture of (height, width) as COCO's compressed run lengths, with counts as bytes.

    outline: polygons, or run lengths, as a JSON file has them.

    Raises ValueError for anything that is no outline in such a picture, which pycocotools would not check.
    """
    from pycocotools import mask  # imported late: most commands do without

    height, width = size
    if isinstance(outline, list):
        for polygon in outline:
            _check_polygon(polygon)
        return mask.merge(mask.frPyObjects(outline, height, width))
    counts, own = outline.get("counts"), outline.get("size")
    if own != [height, width]:
        raise ValueError(f"run lengths of {own} do not fit a picture of {[height, width]}")
    if isinstance(counts, str):
        decode_mask(outline)  # raises if it is malformed
        return {"size": own, "counts": counts.encode()}
    if not isinstance(counts, list) or not all(isinstance(count, int) and count >= 0 for count in counts):
        raise ValueError("run lengths are whole numbers or text")
    if sum(counts) != height * width:
        raise ValueError(f"the run lengths do not fill a mask of {height}x{width}")
    return mask.frPyObjects(outline, height, width)


def _check_polygon(polygon: Any) -> None:
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        raise ValueError("an outline is no polygon of at least three corners")
    if not all(isinstance(number, (int, float)) and abs(number) <= _FURTHEST for number in polygon):
        raise ValueError("an outline has a corner that is no place in a picture")


def _thing(row: Mapping[str, Any], classes: Mapping[int, int], what: str) -> Thing:
    category = field(row, "category_id", int, what)
    if category not in classes:
        raise ValueError(f"{what} has a thing of the unknown category {category}")
    box = field(row, "bbox", list, what)
    if len(box) != 4 or not all(isinstance(side, (int, float)) and np.isfinite(side) for side in box):
        raise ValueError(f"{what} has a box that is not x, y, width and height: {box}")
    outline = row.get("segmentation")
    if not isinstance(outline, (list, dict)) or not outline:
        raise ValueError(f"{what} has a thing without an outline")
    return Thing(
        classes[category], tuple(box), field(row, "area", (int, float), what), bool(row.get("iscrowd")), outline
    )

"""COCO panoptic as published: a JSON file of segments, and a PNG file of their ids for each picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
    file_name,
    first_folder,
    picture_folder,
    read_annotations,
    read_categories,
    read_pictures,
    stem_of,
)
from ms_seg.data.pairing import check_split
from ms_seg.data.panoptic import MAX_IDS, VOID, PanopticMap, Segment, read_ids, renumbered
from ms_seg.data.picture import MAX_PIXELS, read_picture
from ms_seg.label_sets import LabelSet

_COLUMNS = np.dtype([("id", np.int32), ("label", np.int16), ("iscrowd", np.bool_), ("area", np.float64)])
_UNSTATED = -1.0  # the area of a segment whose annotation has none


@dataclass(frozen=True, eq=False)
class SegmentTable:
    """The segments of all annotations in a file, in one array: COCO's training pictures have 1.3 million.

    maps: names of the PNG files. pictures: the id of each one's picture. starts: (N + 1,), where the segments of each
    begin in `rows`. rows: of _COLUMNS.
    """

    file: Path
    maps: tuple[str, ...]
    pictures: tuple[PictureId, ...]
    starts: np.ndarray
    rows: np.ndarray

    def read(self, index: int, folder: Path, covered: bool = False) -> PanopticMap:
        """A map, checked against the segments in the JSON file. Raises ValueError, naming the file.

        covered: whether a segment may be without a pixel, as one that others were drawn over. panopticapi counts such
        ones as missed, and refuses them in a prediction.
        """
        path = folder / self.maps[index]
        ids = read_ids(path)
        rows = self.rows[self.starts[index] : self.starts[index + 1]]
        known = rows["id"].tolist()
        try:
            areas = np.bincount(renumbered(ids, known).ravel(), minlength=len(known) + 1)[1:]
        except ValueError as error:
            raise ValueError(f"{path}: {error} in {self.file}") from None
        if not covered and not areas.all():
            raise ValueError(f"{path} has no pixel of segment {known[areas.argmin()]}, which {self.file} names")
        stated = np.where(rows["area"] == _UNSTATED, areas, rows["area"])
        columns = zip(known, rows["label"].tolist(), rows["iscrowd"].tolist(), stated.tolist(), strict=True)
        return PanopticMap(ids, tuple(Segment(*column) for column in columns))


@dataclass(frozen=True, eq=False)
class CocoPanoptic:
    """A split of COCO panoptic, in the order of its annotations; a `PanopticDataset`.

    folder: of the PNG files. pictures: the folder of the pictures, or None if they are missing. names: of the pictures.
    files: theirs, below that folder. sizes: (height, width) of each, as the JSON file says.
    """

    table: SegmentTable
    folder: Path
    pictures: Path | None
    names: tuple[str, ...]
    files: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    label_set: LabelSet

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        return self.names[index]

    def image_id(self, index: int) -> PictureId:
        """COCO's number of the picture, or Cityscapes' text."""
        return self.table.pictures[index]

    @property
    def has_pictures(self) -> bool:
        return self.pictures is not None

    def picture(self, index: int) -> np.ndarray:
        if self.pictures is None:
            raise ValueError(f"the pictures of {self.table.file} are not there")
        path = self.pictures / self.files[index]
        picture = read_picture(path)
        self._check_size(path, picture, index)
        return picture

    def panoptic(self, index: int) -> PanopticMap:
        panoptic = self.table.read(index, self.folder, covered=True)
        self._check_size(self.folder / self.table.maps[index], panoptic.ids, index)
        return panoptic

    def paths(self, index: int) -> tuple[Path, ...]:
        """The files that a picture and its segments are read from."""
        picture = () if self.pictures is None else (self.pictures / self.files[index],)
        return *picture, self.folder / self.table.maps[index], self.table.file

    def first(self, count: int) -> Self:
        return replace(self, names=self.names[:count])

    def _check_size(self, path: Path, array: np.ndarray, index: int) -> None:
        (height, width), (said_height, said_width) = array.shape[:2], self.sizes[index]
        if (height, width) != (said_height, said_width):
            raise ValueError(f"{path} is {width}x{height}, but {self.table.file} says {said_width}x{said_height}")


def open_coco_panoptic(root: Path, split: str, with_pictures: bool = True) -> CocoPanoptic:
    """COCO panoptic from `root`: annotations/panoptic_val2017.json, the PNG files in annotations/panoptic_val2017 or
    panoptic_val2017, the pictures in val2017 or images/val2017; train2017 for training. A person's own may be "val" and
    "train".

    with_pictures: False if only the segments are needed, and the pictures may be missing.

    Raises ValueError, naming the file, for a JSON file of another form, one without annotations, and a missing picture
    or PNG file.
    """
    file, part = annotation_file(root, "panoptic", split)
    folder, pictures = first_folder(file.with_suffix(""), root / file.stem), picture_folder(root, part)
    check_split(file, pictures)
    return open_panoptic_file(
        file, folder, pictures, lambda rows: read_categories(rows, file, coco_labels()), with_pictures
    )


def open_panoptic_file(
    file: Path,
    folder: Path,
    pictures: Path,
    labels_of: Callable[[Sequence[Mapping[str, Any]]], LabelSet],
    with_pictures: bool = True,
    locate: Callable[[CocoPicture], tuple[str, str]] = lambda picture: (stem_of(picture.file), picture.file),
) -> CocoPanoptic:
    """What a JSON file in COCO's panoptic form annotates.

    Args:
        folder: of the PNG files. pictures: the folder of the pictures.
        labels_of: "categories" -> the classes.
        with_pictures: see `open_coco_panoptic`.
        locate: row of "images" -> the picture's name, and its file below their folder.

    Raises as `open_coco_panoptic` does.
    """
    content = read_annotations(file, "images", "annotations", "categories")
    labels = labels_of(content["categories"])
    table = read_segments(content["annotations"], file, labels)
    if not table.maps:
        raise ValueError(f'{file} annotates no picture: its "annotations" are empty')
    known = read_pictures(content["images"], file)
    for number in table.pictures:
        if number not in known:
            raise ValueError(f"{file} annotates picture {number}, which is not among its images")
    rows = [known[number] for number in table.pictures]
    check_files(folder, table.maps, f"{file} names it")
    names, files = zip(*map(locate, rows), strict=True)
    found = None
    if with_pictures or pictures.is_dir():
        check_files(pictures, files, f"{file} names the picture")
        found = pictures
    return CocoPanoptic(table, folder, found, names, files, tuple(row.size for row in rows), labels)


def read_segments(annotations: Sequence[Mapping[str, Any]], file: Path, labels: LabelSet) -> SegmentTable:
    """The "annotations" of a panoptic JSON file, of a dataset or of predictions.

    Raises ValueError, naming the file, for a picture annotated twice, an unknown category, and repeated segment ids.
    """
    classes = {number: index for index, number in enumerate(labels.numbers)}
    maps: dict[PictureId, str] = {}
    rows: list[tuple] = []
    starts = [0]
    for annotation in annotations:
        picture = field(annotation, "image_id", PictureId, f"{file}: an annotation")
        what = f"{file}: picture {picture}"
        name = file_name(annotation, what)
        if picture in maps:
            raise ValueError(f"{what} is annotated twice")
        maps[picture] = name
        rows += _rows(field(annotation, "segments_info", list, what), classes, what)
        if len({row[0] for row in rows[starts[-1] :]}) < len(rows) - starts[-1]:
            raise ValueError(f"{what} has two segments of the same id")
        starts.append(len(rows))
    return SegmentTable(file, tuple(maps.values()), tuple(maps), np.array(starts), np.array(rows, _COLUMNS))


def _rows(segments: Sequence[Any], classes: Mapping[int, int], what: str) -> Iterator[tuple]:
    """One of _COLUMNS for each segment of an annotation."""
    for segment in segments:
        if not isinstance(segment, dict):
            raise ValueError(f"{what} has a segment that is no dictionary")
        number = field(segment, "id", int, f"{what}: a segment")
        if not VOID < number < MAX_IDS:
            raise ValueError(f"{what} has a segment {number}: ids are 1 to {MAX_IDS - 1}")
        category = field(segment, "category_id", int, f"{what}: segment {number}")
        if category not in classes:
            raise ValueError(f"{what}: segment {number} is of the unknown category {category}")
        area = field(segment, "area", (int, float), f"{what}: segment {number}") if "area" in segment else _UNSTATED
        if not (0 <= area <= MAX_PIXELS or area == _UNSTATED):
            raise ValueError(f"{what}: segment {number} has an area of {area} pixels")
        yield number, classes[category], segment.get("iscrowd", 0) == 1, area

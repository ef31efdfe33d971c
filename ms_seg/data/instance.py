"""Pictures with things, counted one by one: what datasets of instances have in common, and those of them whose files
are maps of the things' numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from ms_seg.data.coco.codecs import boxes_and_masks
from ms_seg.data.pairing import Pair
from ms_seg.data.picture import picture_size, read_picture, read_stored
from ms_seg.label_sets import LabelSet

MAX_REGIONS = 0xFFFF  # of things that overlap in one picture


@dataclass(frozen=True)
class Thing:
    """One annotated thing. label: its class as an index. box: x, y, width, height. area: in pixels, of its outline.

    segmentation: polygons, or run lengths, as COCO writes them. iscrowd: it stands for a group of things that were not
    told apart.
    """

    label: int
    box: tuple[float, float, float, float]
    area: float
    iscrowd: bool
    segmentation: Any


class InstanceDataset(Protocol):
    """Pictures and their things, by index.

    scored_by: whose average precision its figures are, a row of `evaluation.instance.scores`.

    Reading raises ValueError, in one sentence that names the file, for whatever is wrong with it.
    """

    @property
    def label_set(self) -> LabelSet: ...

    @property
    def scored_by(self) -> str: ...

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """The picture's name, without a file ending; unique."""

    def image_id(self, index: int) -> int | str:
        """What annotation files call the picture."""

    def size(self, index: int) -> tuple[int, int]:
        """(height, width) of the picture."""

    def picture(self, index: int) -> np.ndarray:
        """RGB, (H, W, 3) uint8."""

    def things(self, index: int) -> tuple[Thing, ...]:
        """What is annotated, crowds among it."""

    def run_lengths(self, index: int) -> list[dict[str, Any]]:
        """The mask of each thing: COCO's compressed run lengths, with counts as bytes."""

    def targets(self, index: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """The things that are no crowds: their classes (K,) int32, and the mask of each, (H, W) bool."""

    def first(self, count: int) -> Self:
        """The first pictures alone."""

    def with_things(self) -> Self:
        """The pictures alone that show something to learn: a thing that is no crowd. As far as that can be told
        without reading the pictures' files."""


@dataclass(frozen=True, eq=False)
class InstanceMaps:
    """Pictures, and files that hold a number for each pixel, which tells its class and which thing it belongs to; an
    `InstanceDataset`.

    pictures: their folder; None if they are missing. maps: the folder of the files. pairs: the files of each picture.
    ids_of: what is stored in a file -> (H, W) int32. thing_of: an id -> the class as an index, and whether it is a
    crowd; None for what is no thing of these classes.
    """

    pictures: Path | None
    maps: Path
    pairs: tuple[Pair, ...]
    label_set: LabelSet
    ids_of: Callable[[np.ndarray, Path], np.ndarray]
    thing_of: Callable[[int], tuple[int, bool] | None]
    scored_by: str = "coco"

    def __len__(self) -> int:
        return len(self.pairs)

    def name(self, index: int) -> str:
        return self.pairs[index].name

    def image_id(self, index: int) -> str:
        """The picture's name."""
        return self.name(index)

    def size(self, index: int) -> tuple[int, int]:
        return picture_size(self.map_file(index))

    def picture(self, index: int) -> np.ndarray:
        if self.pictures is None:
            raise ValueError(f"the pictures of {self.maps} are not there")
        path = self.pictures / self.pairs[index].picture
        picture, (height, width) = read_picture(path), self.size(index)
        if picture.shape[:2] != (height, width):
            own = f"{picture.shape[1]}x{picture.shape[0]}"
            raise ValueError(f"{path} is {own}, but {self.map_file(index)} is {width}x{height}")
        return picture

    def map_file(self, index: int) -> Path:
        return self.maps / self.pairs[index].label

    def ids(self, index: int) -> np.ndarray:
        """The number of each pixel, (H, W) int32, of things and of all else."""
        file = self.map_file(index)
        return self.ids_of(read_stored(file), file)

    def things(self, index: int) -> tuple[Thing, ...]:
        ids = self.ids(index)
        areas = np.bincount(ids.ravel())  # a quarter of the time of `np.unique`
        found = [(n, *thing) for n in np.flatnonzero(areas).tolist() if (thing := self.thing_of(n))]
        shapes = boxes_and_masks(ids, [number for number, *_ in found])
        return tuple(
            Thing(label, (float(x), float(y), float(width), float(height)), float(areas[number]), iscrowd, mask)
            for (number, label, iscrowd), ((x, y, width, height), mask) in zip(found, shapes, strict=True)
        )

    def run_lengths(self, index: int) -> list[dict[str, Any]]:
        return [{**thing.segmentation, "counts": thing.segmentation["counts"].encode()} for thing in self.things(index)]

    def targets(self, index: int) -> tuple[np.ndarray, list[np.ndarray]]:
        ids = self.ids(index)
        found = [
            (n, thing[0])
            for n in np.flatnonzero(np.bincount(ids.ravel())).tolist()
            if (thing := self.thing_of(n)) and not thing[1]
        ]
        return np.array([label for _, label in found], np.int32), [ids == number for number, _ in found]

    def paths(self, index: int) -> tuple[Path, ...]:
        """The files that a picture and its things are read from."""
        picture = () if self.pictures is None else (self.pictures / self.pairs[index].picture,)
        return *picture, self.map_file(index)

    def first(self, count: int) -> Self:
        return self.only(range(len(self))[:count])

    def only(self, indices: Sequence[int]) -> Self:
        """These pictures alone."""
        return replace(self, pairs=tuple(self.pairs[index] for index in indices))

    def with_things(self) -> Self:
        """All pictures: which of them show things stands in their files."""
        return self


def regions_of(masks: Sequence[np.ndarray], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Masks (H, W) bool, which may overlap, as one map: so that they are resized and cut like a label map.

    Returns: the region of each pixel, (H, W) uint16, 0 where no mask is; and for each region the masks that it is part
        of, (R, K) bool. Raises ValueError for more than MAX_REGIONS regions.
    """
    regions = np.zeros(size, np.int32)
    members = [np.zeros(len(masks), bool)]
    for place, mask in enumerate(masks):
        below = regions[mask]
        table = np.zeros(len(members), np.int32)
        for region in np.flatnonzero(np.bincount(below, minlength=len(members))).tolist():
            table[region] = len(members)
            members.append(members[region].copy())
            members[-1][place] = True
        regions[mask] = table[below]
    if len(members) > MAX_REGIONS:
        raise ValueError(f"the {len(masks)} things of a picture overlap in {len(members)} ways: {MAX_REGIONS} at most")
    return regions.astype(np.uint16), np.stack(members)

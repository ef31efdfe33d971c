"""Pictures with a class for each pixel, in the folders that datasets are published in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import numpy as np

from ms_seg.data.instance import InstanceMaps
from ms_seg.data.numbering import Numbering, coco_stuff, from_one, from_zero
from ms_seg.data.pairing import MissingSplit, Pair, pair
from ms_seg.data.picture import picture_size, read_picture, turn_as
from ms_seg.label_sets import LabelSet, read_labels

SPLITS = ("training", "validation")


class SemanticDataset(Protocol):
    """Pictures and their label maps, by index.

    Reading raises ValueError, in one sentence that names the file, for whatever is wrong with it.
    """

    @property
    def label_set(self) -> LabelSet: ...

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """The picture's name, without a file ending; unique."""

    def picture(self, index: int) -> np.ndarray:
        """RGB, (H, W, 3) uint8."""

    def label_map(self, index: int) -> np.ndarray:
        """Class indices, (H, W) uint8; 255 where the pixel is ignored."""

    def first(self, count: int) -> Self:
        """The first pictures alone."""

    def in_words(self) -> Self:
        """The same pictures with the classes for a model of words: under the names that such models were trained on."""


def open_ade20k(root: Path, split: str) -> LabelledFolder:
    """ADE20K as in ADEChallengeData2016.zip. Value 0 is "other": ignored. Words are lang-seg's."""
    label_set = read_labels("ade20k")
    pictures, annotations = root / "images" / split, root / "annotations" / split
    pairs = pair(pictures, annotations, ".png")
    numbering = from_one(len(label_set))
    return LabelledFolder(pictures, annotations, pairs, label_set, numbering, read_labels("ade20k_lang_seg"))


def open_coco_stuff(root: Path, split: str) -> LabelledFolder:
    """COCO-Stuff 164k: images/train2017 or train2017, and label maps in annotations or stuffthingmaps_trainval2017.

    Label maps are mmsegmentation's `*_labelTrainIds.png` where a folder holds them, else the published ones.
    """
    part = {"training": "train2017", "validation": "val2017"}[split]
    pictures = _first_folder(root / "images" / part, root / part)
    annotations = _first_folder(root / "annotations" / part, root / "stuffthingmaps_trainval2017" / part)
    label_set = read_labels("cocostuff164k")
    converted = any(annotations.glob("*_labelTrainIds.png"))
    ending, numbering = ("_labelTrainIds.png", from_zero(len(label_set))) if converted else (".png", coco_stuff())
    return LabelledFolder(pictures, annotations, pair(pictures, annotations, ending), label_set, numbering)


def own_label_values(dataset: Any) -> dict[str, Any] | None:
    """The numbering of a person's own label files, to be recorded; None for a dataset whose name says it."""
    return dataset.numbering.record if isinstance(dataset, LabelledFolder) and dataset.own else None


class AnyDataset(Protocol):
    def first(self, count: int) -> Self:
        """The first pictures alone."""


Dataset = TypeVar("Dataset", bound=AnyDataset)


def first_pictures(dataset: Dataset, count: int) -> Dataset:
    """The first pictures of a dataset alone. Raises ValueError for none."""
    if count < 1:
        raise ValueError("the first 0 pictures are no dataset: take at least 1")
    return dataset.first(count)


@dataclass(frozen=True)
class LabelledFolder:
    """Pictures in one folder, label maps in another, or in the same.

    pairs: the files of each picture, in order. numbering: what the label files' values mean. word_labels: the classes
    under the names that models of words were trained on, if these are others. own: whether it is a person's own, of
    which nobody knows beforehand what it holds. instances: the things in the same pictures, where the dataset's own
    figures weigh classes by them.
    """

    pictures: Path
    annotations: Path
    pairs: tuple[Pair, ...]
    label_set: LabelSet
    numbering: Numbering
    word_labels: LabelSet | None = None
    own: bool = False
    instances: InstanceMaps | None = None

    def __len__(self) -> int:
        return len(self.pairs)

    def name(self, index: int) -> str:
        return self.pairs[index].name

    def picture(self, index: int) -> np.ndarray:
        return read_picture(self.pictures / self.pairs[index].picture)

    def label_file(self, index: int) -> Path:
        return self.annotations / self.pairs[index].label

    def paths(self, index: int) -> tuple[Path, ...]:
        """The files that a picture and its label map are read from."""
        return self.pictures / self.pairs[index].picture, self.label_file(index)

    def values(self, index: int) -> np.ndarray:
        """The numbers in the label file, (H, W), with the size of the picture.

        A label file that has the size of the picture before its EXIF tag turns it, is turned too.
        Raises ValueError, naming both files, for any other size.
        """
        picture, file = self.paths(index)
        values = self.numbering.read(file)
        if values.shape != (size := picture_size(picture)):
            turned = turn_as(picture, values)
            if turned.shape != size:
                sizes = ["{1}x{0}".format(*shape) for shape in (values.shape, size)]
                raise ValueError(f"{file} is {sizes[0]}, but its picture {picture} is {sizes[1]}")
            return turned
        return values

    def label_map(self, index: int) -> np.ndarray:
        return self.numbering.classes(self.values(index), self.label_file(index))

    def first(self, count: int) -> Self:
        return self.only(range(len(self))[:count])

    def only(self, indices: Sequence[int]) -> Self:
        """These pictures alone."""
        instances = None if self.instances is None else self.instances.only(indices)
        return replace(self, pairs=tuple(self.pairs[index] for index in indices), instances=instances)

    def in_words(self) -> Self:
        return replace(self, label_set=self.word_labels or self.label_set)


def _first_folder(*folders: Path) -> Path:
    for folder in folders:
        if folder.is_dir():
            return folder
    raise MissingSplit(f"there is no folder {' or '.join(map(str, folders))}")

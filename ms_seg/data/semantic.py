"""Pictures with a class for each pixel, in the folders that datasets are published in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self, TypeVar

import numpy as np

from ms_seg.data.numbering import Numbering, coco_stuff, from_one, from_zero, infer_numbering, read_values
from ms_seg.data.pairing import Pair, pair, pair_alike, pair_in_one
from ms_seg.data.picture import picture_size, read_picture
from ms_seg.label_sets import LabelSet, check_names, numbered_labels, read_labels

SPLITS = ("training", "validation")

_INFERRED_FROM = 300  # label files, for the numbering of a person's own dataset
_SPLIT_NAMES = {"training": ("training", "train"), "validation": ("validation", "val", "valid")}
_PICTURES, _LABELS = ("images",), ("labels", "annotations", "masks")  # folders of a person's own dataset


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


def open_folder(root: Path, split: str) -> LabelledFolder:
    """A person's own: images/{training,validation}, PNGs of the same names in labels/{training,validation}, labels.txt.

    labels.txt names one class a line. Whether the label files number them from 0 or from 1 is inferred from the files
    of both splits together, so that the two agree. For other names of folders and files see `_folders` and
    `pairing.pair_alike`.
    """
    class_names = _read_names(root / "labels.txt")
    label_set = LabelSet(class_names, numbered_labels(len(class_names)).palette)
    from_zero(len(class_names))  # refuses too many classes before any file is read
    pictures, labels = _folders(root, split)
    pairs = pair_in_one(labels) if pictures == labels else pair_alike(pictures, labels)
    files = [labels / found.label for found in pairs] + _label_files(root, *(set(SPLITS) - {split}))
    numbering = infer_numbering(spread(sorted(files), _INFERRED_FROM), len(class_names))
    return LabelledFolder(pictures, labels, pairs, label_set, numbering)


def _folders(root: Path, split: str) -> tuple[Path, Path]:
    """Where the pictures and the label files of a split lie in a person's own folder: images/training and
    labels/training, or training/images and training/labels, or both in training; see _SPLIT_NAMES and _LABELS.

    Raises ValueError if a folder is missing, or several could be meant.
    """
    parts = _SPLIT_NAMES[split]
    both = [root / part for part in parts if (root / part).is_dir()]
    if len(both) == 1 and not any((root / name).is_dir() for name in (*_PICTURES, *_LABELS)):
        if not any((both[0] / name).is_dir() for name in (*_PICTURES, *_LABELS)):
            return both[0], both[0]
    pictures, labels = (_one_folder(root, kinds, parts) for kinds in (_PICTURES, _LABELS))
    return pictures, labels


def _one_folder(root: Path, kinds: Sequence[str], parts: Sequence[str]) -> Path:
    orders = [(kind, part) for kind in kinds for part in parts]
    places = [root / kind / part for kind, part in orders] + [root / part / kind for kind, part in orders]
    found = [place for place in places if place.is_dir()]
    if len(found) > 1:
        raise ValueError(f"both {found[0]} and {found[1]} could be meant: leave one of them in {root}")
    if not found:
        raise ValueError(f"there is no folder {places[0]}")
    return found[0]


def _label_files(root: Path, split: str) -> list[Path]:
    """The label files of another split, if it is there."""
    try:
        pictures, labels = _folders(root, split)
        pairs = pair_in_one(labels) if pictures == labels else pair_alike(pictures, labels)
    except ValueError:
        return []  # whoever opens that split is told
    return [labels / found.label for found in pairs]


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
    under the names that models of words were trained on, if these are others.
    """

    pictures: Path
    annotations: Path
    pairs: tuple[Pair, ...]
    label_set: LabelSet
    numbering: Numbering
    word_labels: LabelSet | None = None

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
        """The values in the label file, (H, W) uint8, checked to have the picture's size."""
        picture, file = self.paths(index)
        values = read_values(file)
        height, width = picture_size(picture)
        if values.shape != (height, width):
            own = f"{values.shape[1]}x{values.shape[0]}"
            raise ValueError(f"{file} is {own}, but its picture {picture} is {width}x{height}")
        return values

    def label_map(self, index: int) -> np.ndarray:
        return self.numbering.classes(self.values(index), self.label_file(index))

    def first(self, count: int) -> Self:
        return replace(self, pairs=self.pairs[:count])

    def in_words(self) -> Self:
        return replace(self, label_set=self.word_labels or self.label_set)


def spread(items: Sequence, count: int) -> list:
    """At most `count` of the items, evenly from the first to the last."""
    chosen = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[index] for index in chosen]


def _first_folder(*folders: Path) -> Path:
    for folder in folders:
        if folder.is_dir():
            return folder
    raise ValueError(f"there is no folder {' or '.join(map(str, folders))}")


def _read_names(file: Path) -> tuple[str, ...]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise ValueError(f"there is no {file}: write the classes' names into it, one a line") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not UTF-8 text") from None
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise ValueError(f"{file} is empty: write the classes' names into it, one a line")
    check_names(names, str(file))
    return names

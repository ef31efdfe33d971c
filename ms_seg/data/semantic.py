"""Pictures with a class for each pixel, in the folders that datasets are published in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self, TypeVar

import numpy as np

from ms_seg.data.drawn.phrases import Phrases
from ms_seg.data.drawn.world import DrawnWorld
from ms_seg.data.numbering import Numbering, coco_stuff, from_one, from_zero, infer_numbering, read_values
from ms_seg.data.picture import picture_size, read_picture
from ms_seg.label_sets import LabelSet, check_names, numbered_labels, read_labels

SPLITS = ("training", "validation")
# The drawn world needs no folder. Its classes are the forms of the shapes, or phrases of a word and a form.
_PHRASES = {"shapes": None, "shapes_coloured": "colour", "shapes_patterned": "pattern"}
DRAWN = tuple(_PHRASES)
DATASETS = ("ade20k", "cocostuff164k", "folder", *DRAWN)

_PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_INFERRED_FROM = 300  # label files, for the numbering of a person's own dataset


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


def open_dataset(name: str, folder: str | os.PathLike[str] | None, split: str) -> SemanticDataset:
    """A semantic dataset by its name.

    Args:
        name: one of DATASETS; "folder" is a person's own (see `open_folder`).
        folder: where it is; a DRAWN one needs none.
        split: "training" or "validation".

    Raises: ValueError for an unknown name or split; for a missing or empty folder; for a picture without a label file
        or a label file without a picture, naming it.
    """
    if split not in SPLITS:
        raise ValueError(f"there is no split {split!r}: choose from {', '.join(SPLITS)}")
    if name not in DATASETS:
        raise ValueError(f"there is no dataset {name!r}: choose from {', '.join(DATASETS)}")
    if name in DRAWN:
        kind = _PHRASES[name]
        return DrawnWorld(split, phrases=Phrases(kind, seen_only=False) if kind else None)
    opened = {"ade20k": open_ade20k, "cocostuff164k": open_coco_stuff, "folder": open_folder}[name]
    return opened(root_of(name, folder), split)


_PUBLISHED_IN = {  # the folder that the archive, or a script in `scripts`, makes
    "ade20k": "ADEChallengeData2016", "cocostuff164k": "coco_stuff164k", "coco_panoptic": "coco_panoptic",
    "coco_instance": "coco_panoptic",
}  # fmt: skip


def root_of(name: str, folder: str | os.PathLike[str] | None) -> Path:
    """The folder of a dataset that is not drawn: the given one, or the published one within it.

    Raises ValueError if none is given, or it is missing.
    """
    if folder is None:
        raise ValueError(f"the dataset {name} needs the folder that it lies in: pass it as --data")
    if not Path(folder).is_dir():
        raise ValueError(f"there is no folder {folder}")
    inner = Path(folder, _PUBLISHED_IN.get(name, "."))
    return inner if inner.is_dir() else Path(folder)


def open_ade20k(root: Path, split: str) -> LabelledFolder:
    """ADE20K as in ADEChallengeData2016.zip. Value 0 is "other": ignored. Words are lang-seg's."""
    label_set = read_labels("ade20k")
    folders = root / "images" / split, root / "annotations" / split
    dataset = _pair(*folders, ".png", label_set, from_one(len(label_set)))
    return replace(dataset, word_labels=read_labels("ade20k_lang_seg"))


def open_coco_stuff(root: Path, split: str) -> LabelledFolder:
    """COCO-Stuff 164k: images/train2017 or train2017, and label maps in annotations or stuffthingmaps_trainval2017.

    Label maps are mmsegmentation's `*_labelTrainIds.png` where a folder holds them, else the published ones.
    """
    part = {"training": "train2017", "validation": "val2017"}[split]
    pictures = _first_folder(root / "images" / part, root / part)
    annotations = _first_folder(root / "annotations" / part, root / "stuffthingmaps_trainval2017" / part)
    label_set = read_labels("cocostuff164k")
    if any(annotations.glob("*_labelTrainIds.png")):
        return _pair(pictures, annotations, "_labelTrainIds.png", label_set, from_zero(len(label_set)))
    return _pair(pictures, annotations, ".png", label_set, coco_stuff())


def open_folder(root: Path, split: str) -> LabelledFolder:
    """A person's own: images/{training,validation}, PNGs of the same names in labels/{training,validation}, labels.txt.

    labels.txt names one class a line. Whether the label files number them from 0 or from 1 is inferred from the files
    of both splits together, so that the two agree.
    """
    class_names = _read_names(root / "labels.txt")
    folders = [root / "labels" / part for part in SPLITS]
    files = [file for folder in folders if folder.is_dir() for file in _files(folder, (".png",))]
    label_set = LabelSet(class_names, numbered_labels(len(class_names)).palette)
    from_zero(len(class_names))  # refuses too many classes before any file is read
    numbering = infer_numbering(spread(files, _INFERRED_FROM), len(class_names))
    return _pair(root / "images" / split, root / "labels" / split, ".png", label_set, numbering)


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
    """Pictures in one folder, label maps in another: `a.jpg` belongs to `a` + ending.

    files: names of the picture files, in order. numbering: what the label files' values mean. word_labels: the classes
    under the names that models of words were trained on, if these are others.
    """

    pictures: Path
    annotations: Path
    ending: str
    files: tuple[str, ...]
    label_set: LabelSet
    numbering: Numbering
    word_labels: LabelSet | None = None

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        return os.path.splitext(self.files[index])[0]

    def picture(self, index: int) -> np.ndarray:
        return read_picture(self.pictures / self.files[index])

    def label_file(self, index: int) -> Path:
        return self.annotations / (self.name(index) + self.ending)

    def paths(self, index: int) -> tuple[Path, ...]:
        """The files that a picture and its label map are read from."""
        return self.pictures / self.files[index], self.label_file(index)

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
        return replace(self, files=self.files[:count])

    def in_words(self) -> Self:
        return replace(self, label_set=self.word_labels or self.label_set)


def spread(items: Sequence, count: int) -> list:
    """At most `count` of the items, evenly from the first to the last."""
    chosen = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[index] for index in chosen]


def _pair(pictures: Path, annotations: Path, ending: str, label_set: LabelSet, numbering: Numbering) -> LabelledFolder:
    """The dataset of two folders whose files are matched by name."""
    files: dict[str, str] = {}
    for picture in _files(pictures, _PICTURES):
        other = files.setdefault(picture.stem, picture.name)
        if other != picture.name:
            raise ValueError(f"{pictures} holds both {other} and {picture.name}: a label file can belong to only one")
    labelled = {file.name.removesuffix(ending): file for file in _files(annotations, (ending,))}
    for stem, name in files.items():
        if stem not in labelled:
            raise ValueError(f"the picture {pictures / name} has no label file {annotations / (stem + ending)}")
    for stem, file in labelled.items():
        if stem not in files:
            raise ValueError(f"the label file {file} has no picture in {pictures}")
    return LabelledFolder(pictures, annotations, ending, tuple(files.values()), label_set, numbering)


def _files(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """The files in a folder with one of the endings, sorted. Raises ValueError if there is no such folder or file."""
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
    found = (file for file in folder.iterdir() if not file.name.startswith("."))
    files = sorted(file for file in found if file.name.endswith(endings) or file.suffix.lower() in endings)
    if not files:
        raise ValueError(f"the folder {folder} is empty: it holds no {', '.join(endings)} file")
    return files


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

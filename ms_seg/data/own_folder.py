"""A person's own pictures: the folders they lie in, the list of their classes, and what their label files hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ms_seg.data.class_list import find_class_list
from ms_seg.data.pairing import MissingSplit, Pair, pair_alike, pair_in_one
from ms_seg.data.readings import UNSAID, LabelOptions, decide
from ms_seg.data.semantic import SPLITS, LabelledFolder

OWN = "folder"  # the dataset's name
WHOLE = "whole"  # an export of a tool that is not split
TEST = "test"  # a third split, which only evaluation asks for

_SPLIT_NAMES = {
    "training": ("training", "train"), "validation": ("validation", "val", "valid"), TEST: ("test", "testing"),
}  # fmt: skip
_PICTURES, _LABELS = ("images",), ("labels", "annotations", "masks")
_BESIDE = ("annot", *(f"_{word}" for word in _LABELS))  # what follows a split in the name of its label files' folder
# CVAT's and labelme's exports, in the folders of PASCAL VOC.
_EXPORTED_PICTURES, _EXPORTED_LABELS = "JPEGImages", ("SegmentationClassPNG", "SegmentationClass")
_LISTS = Path("ImageSets", "Segmentation")


def open_folder(root: Path, split: str, said: LabelOptions = UNSAID) -> LabelledFolder:
    """A person's own: images/{training,validation}, label files of the same names in labels/{training,validation}, and
    a list of the classes, see `class_list`.

    What the label files hold is decided by `readings.decide`, from the files of both splits together. For other names
    of folders and files see `_folders` and `pairing.pair_alike`. CVAT's and labelme's exports are split by lists of
    names, ImageSets/Segmentation/train.txt and val.txt, or looked at as a WHOLE.
    """
    classes = find_class_list(root, *(root / name for names in _SPLIT_NAMES.values() for name in names))
    pictures, labels, pairs = _pairs(root, split)
    files = [labels / found.label for found in pairs] + _label_files(root, *(set(SPLITS) - {split}))
    label_set, numbering = decide(classes, sorted(set(files)), said)
    return LabelledFolder(pictures, labels, pairs, label_set, numbering, own=True)


def splits_of(root: Path) -> Sequence[str]:
    """The splits to look at: the WHOLE of an export that no list splits, else SPLITS."""
    exported = (root / _EXPORTED_PICTURES).is_dir()
    return (WHOLE,) if exported and not any(_list_of(root, split) for split in SPLITS) else SPLITS


def _pairs(root: Path, split: str) -> tuple[Path, Path, tuple[Pair, ...]]:
    """The folders of the pictures and of the label files of a split, and which files in them belong together."""
    pictures, labels = root / _EXPORTED_PICTURES, [root / name for name in _EXPORTED_LABELS if (root / name).is_dir()]
    if pictures.is_dir() and labels:
        pairs = pair_alike(pictures, labels[0])
        return pictures, labels[0], pairs if split == WHOLE else _listed(root, split, pairs)
    if labels and not any((root / name).is_dir() for name in _PICTURES):
        raise ValueError(f"{labels[0]} is there and no {pictures}: export the pictures too, or put them there")
    pictures, labels_of_split = _folders(root, split)
    if pictures == labels_of_split:
        return pictures, pictures, pair_in_one(pictures)
    return pictures, labels_of_split, pair_alike(pictures, labels_of_split)


def _listed(root: Path, split: str, pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """Those of an export's files that the list of a split names. Raises MissingSplit where there is no list."""
    file = _list_of(root, split)
    if file is None:
        name = root / _LISTS / f"{_SPLIT_NAMES[split][1]}.txt"
        raise MissingSplit(f"there is no {name}: write the names of the {split} split's pictures into it, one a line")
    names = {line.strip() for line in file.read_text(encoding="utf-8").splitlines()}
    found = tuple(pair for pair in pairs if pair.name in names)
    if not found:
        raise ValueError(f"{file} names no picture in {root / _EXPORTED_PICTURES}")
    return found


def _list_of(root: Path, split: str) -> Path | None:
    lists = sorted((root / _LISTS).glob("*.txt"))
    return next((file for file in lists if file.stem.lower() in _SPLIT_NAMES[split]), None)


def _folders(root: Path, split: str) -> tuple[Path, Path]:
    """Where the pictures and the label files of a split lie in a person's own folder: images/training and
    labels/training, or training/images and training/labels, or train and train_labels, or both in training; see
    _SPLIT_NAMES, _LABELS and _BESIDE.

    Raises ValueError if a folder is missing, or several could be meant; MissingSplit if both are missing.
    """
    if split == WHOLE:
        raise ValueError(f"there is no folder {root / _EXPORTED_PICTURES}")
    parts = _SPLIT_NAMES[split]
    both = [root / part for part in parts if (root / part).is_dir()]
    if len(both) == 1 and not any((root / name).is_dir() for name in (*_PICTURES, *_LABELS)):
        if not any((both[0] / name).is_dir() for name in (*_PICTURES, *_LABELS)):
            beside = [root / f"{both[0].name}{word}" for word in _BESIDE]
            return both[0], _only([place for place in beside if place.is_dir()], root) or both[0]
    pictures, labels = (_places(root, kinds, parts) for kinds in (_PICTURES, _LABELS))
    missing = MissingSplit if not any(place.is_dir() for place in (*pictures, *labels)) else ValueError
    found = []
    for places in (pictures, labels):
        place = _only([place for place in places if place.is_dir()], root)
        if place is None:
            raise missing(f"there is no folder {places[0]}")
        found.append(place)
    return found[0], found[1]


def _only(found: Sequence[Path], root: Path) -> Path | None:
    """The one folder that was found, None for none. Raises ValueError for several."""
    if len(found) > 1:
        raise ValueError(f"both {found[0]} and {found[1]} could be meant: leave one of them in {root}")
    return found[0] if found else None


def _places(root: Path, kinds: Sequence[str], parts: Sequence[str]) -> list[Path]:
    orders = [(kind, part) for kind in kinds for part in parts]
    return [root / kind / part for kind, part in orders] + [root / part / kind for kind, part in orders]


def _label_files(root: Path, *splits: str) -> list[Path]:
    """The label files of other splits, as far as they are there."""
    files = []
    for split in splits:
        try:
            _, labels, pairs = _pairs(root, split)
        except ValueError:
            continue  # whoever opens that split is told
        files += [labels / found.label for found in pairs]
    return files

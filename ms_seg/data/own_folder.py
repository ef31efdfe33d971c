"""A person's own pictures: the folders they lie in, the list of their classes, and what their label files hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ms_seg.data.class_list import find_class_list
from ms_seg.data.pairing import pair_alike, pair_in_one
from ms_seg.data.readings import UNSAID, LabelOptions, decide
from ms_seg.data.semantic import SPLITS, LabelledFolder

OWN = "folder"  # the dataset's name
_SPLIT_NAMES = {"training": ("training", "train"), "validation": ("validation", "val", "valid")}
_PICTURES, _LABELS = ("images",), ("labels", "annotations", "masks")


def open_folder(root: Path, split: str, said: LabelOptions = UNSAID) -> LabelledFolder:
    """A person's own: images/{training,validation}, label files of the same names in labels/{training,validation}, and
    a list of the classes, see `class_list`.

    What the label files hold is decided by `readings.decide`, from the files of both splits together. For other names
    of folders and files see `_folders` and `pairing.pair_alike`.
    """
    classes = find_class_list(root)
    pictures, labels = _folders(root, split)
    pairs = pair_in_one(labels) if pictures == labels else pair_alike(pictures, labels)
    files = [labels / found.label for found in pairs] + _label_files(root, *(set(SPLITS) - {split}))
    label_set, numbering = decide(classes, sorted(files), said)
    return LabelledFolder(pictures, labels, pairs, label_set, numbering, own=True)


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

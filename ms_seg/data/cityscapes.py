"""Cityscapes in the folders it is published in: label maps, instances and panoptic maps of the same pictures.

Pictures are `leftImg8bit/SPLIT/CITY/CITY_SEQUENCE_FRAME_leftImg8bit.png`; what is true of them has the same beginning
in gtFine. Numbers of classes are those of cityscapesScripts (helpers/labels.py), which also makes the files that are
not part of the archives: `*_labelTrainIds.png` and cityscapes_panoptic_*.json.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from ms_seg.data.coco.annotations import CocoPicture, read_categories
from ms_seg.data.coco.panoptic import CocoPanoptic, open_panoptic_file
from ms_seg.data.instance import InstanceMaps
from ms_seg.data.numbering import from_ids, from_zero
from ms_seg.data.pairing import Pair, check_split, files_below, pair
from ms_seg.data.semantic import LabelledFolder
from ms_seg.label_sets import read_labels

_PARTS = {"training": "train", "validation": "val"}
_PICTURE, _INSTANCES = "_leftImg8bit", "_gtFine_instanceIds.png"
_LABELS = 34  # numbers of classes, 0..33; a licence plate's -1 is 255 in a PNG file
_OF_ONE = 1000  # ids from here on are those of single things: the class's number times this, plus a count


def open_cityscapes(root: Path, split: str) -> LabelledFolder:
    """The 19 classes that are evaluated, from `*_gtFine_labelTrainIds.png`, or else from `*_gtFine_labelIds.png`, in
    which all others are ignored. Where each has its `*_gtFine_instanceIds.png`, the things of the pictures too."""
    pictures, truth = _folders(root, split)
    label_set = read_labels("cityscapes")
    if files_below(truth, ("_gtFine_labelTrainIds.png",)):
        ending, numbering = "_gtFine_labelTrainIds.png", from_zero(len(label_set))
    else:
        ending, numbering = "_gtFine_labelIds.png", from_ids(label_set.numbers, range(_LABELS))
    pairs = _flat(pair(pictures, truth, ending, _PICTURE, nested=True))
    instances = None
    if len(files_below(truth, (_INSTANCES,))) == len(pairs):
        instances = open_cityscapes_instance(root, split)
    return LabelledFolder(pictures, truth, pairs, label_set, numbering, instances=instances)


def open_cityscapes_instance(root: Path, split: str, with_pictures: bool = True) -> InstanceMaps:
    """The 8 classes of things, from `*_gtFine_instanceIds.png`; scored as cityscapesScripts does.

    A thing's id below 1000 stands for a group, which is a crowd.
    """
    pictures, truth = _folders(root, split)
    ending, label_set = _INSTANCES, read_labels("cityscapes_things")
    if with_pictures or pictures.is_dir():
        pairs = _flat(pair(pictures, truth, ending, _PICTURE, nested=True))
    else:
        names = files_below(truth, (ending,))
        if not names:
            raise ValueError(f"the folder {truth} is empty: it holds no {ending} file")
        pairs = _flat(tuple(Pair(name.removesuffix(ending), "", name) for name in names))
    there = pictures if with_pictures or pictures.is_dir() else None
    thing_of = partial(_thing, {number: index for index, number in enumerate(label_set.numbers)})
    return InstanceMaps(there, truth, pairs, label_set, _ids, thing_of, "cityscapes")


def open_cityscapes_panoptic(root: Path, split: str, with_pictures: bool = True) -> CocoPanoptic:
    """The 19 classes, from gtFine/cityscapes_panoptic_val.json, or .._val_trainId.json, and the PNG files in the folder
    of the same name; cityscapes_panoptic_train for training."""
    stem = f"cityscapes_panoptic_{_PARTS[split]}"
    files = [root / "gtFine" / f"{stem}{ending}.json" for ending in ("", "_trainId")]
    file = next((file for file in files if file.is_file()), files[0])
    pictures, published = root / "leftImg8bit" / _PARTS[split], read_labels("cityscapes")
    check_split(file, pictures)
    ending = f"{_PICTURE}.png"
    found = {name.rpartition("/")[2].removesuffix(ending): name for name in files_below(pictures, (ending,))}

    def locate(row: CocoPicture) -> tuple[str, str]:
        """By the id, which is what names begin with: "file_name" is another."""
        name = str(row.id)
        return name, found.get(name, f"{name.partition('_')[0]}/{name}{ending}")

    return open_panoptic_file(
        file, file.with_suffix(""), pictures, lambda rows: read_categories(rows, file, published), with_pictures, locate
    )


def is_single(number: int) -> bool:
    """Whether an id of `*_instanceIds.png` is that of a thing alone, not of a class or a group."""
    return number >= _OF_ONE


def is_void(number: int) -> bool:
    """Whether an id of `*_instanceIds.png` is the number of a class that is not evaluated. Single things of such a
    class, caravans and trailers, are no void: so it is in cityscapesScripts."""
    return not is_single(number) and number not in read_labels("cityscapes").numbers


def _folders(root: Path, split: str) -> tuple[Path, Path]:
    """The pictures' and the truth's. Raises ValueError if that of the truth is missing."""
    pictures, truth = (root / name / _PARTS[split] for name in ("leftImg8bit", "gtFine"))
    check_split(truth, pictures)
    if not truth.is_dir():
        raise ValueError(f"there is no folder {truth}")
    return pictures, truth


def _flat(pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
    """Named without the folder of the city, with which the names begin anyway."""
    return tuple(found._replace(name=found.name.rpartition("/")[2]) for found in pairs)


def _ids(stored: np.ndarray, file: Path) -> np.ndarray:
    if stored.ndim != 2 or stored.dtype.kind not in "ui":
        raise ValueError(f"{file} has colours: it must hold the number of a thing for each pixel")
    return stored.astype(np.int32)


def _thing(classes: dict[int, int], number: int) -> tuple[int, bool] | None:
    """See `InstanceMaps`."""
    label = classes.get(number // _OF_ONE if is_single(number) else number)
    return None if label is None else (label, not is_single(number))

"""Datasets by their names, and the task that each is for."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ms_seg.data.ade20k import open_ade20k_instance, open_ade20k_panoptic
from ms_seg.data.cityscapes import open_cityscapes, open_cityscapes_instance, open_cityscapes_panoptic
from ms_seg.data.coco.instance import open_coco_instance
from ms_seg.data.coco.panoptic import open_coco_panoptic
from ms_seg.data.drawn.phrases import Phrases
from ms_seg.data.drawn.world import DrawnPanoptic, DrawnWorld
from ms_seg.data.instance import InstanceDataset
from ms_seg.data.own_folder import OWN, TEST, WHOLE, open_folder
from ms_seg.data.panoptic import PanopticDataset
from ms_seg.data.pascal import open_pascal_context_59, open_voc2012, open_voc2012_aug
from ms_seg.data.readings import UNSAID, LabelOptions
from ms_seg.data.semantic import SPLITS, SemanticDataset, open_ade20k, open_coco_stuff


@dataclass(frozen=True)
class _Row:
    """A dataset. task: what it is for. open: (its folder, split, whether pictures are needed) -> the dataset.
    published_in: the folder that its archive, or a script in `scripts`, makes, where a person may pass the one above.
    """

    task: str
    open: Callable[[Path, str, bool], Any]
    published_in: str = "."


def _label_maps(open_: Callable[[Path, str], SemanticDataset]) -> Callable[[Path, str, bool], SemanticDataset]:
    """Label maps are never read without their pictures."""
    return lambda root, split, with_pictures: open_(root, split)


_ADE20K, _COCO, _VOC = "ADEChallengeData2016", "coco_panoptic", "VOCdevkit/VOC2012"
_ROWS = {
    "ade20k": _Row("semantic", _label_maps(open_ade20k), _ADE20K),
    "cocostuff164k": _Row("semantic", _label_maps(open_coco_stuff), "coco_stuff164k"),
    "cityscapes": _Row("semantic", _label_maps(open_cityscapes), "cityscapes"),
    "voc2012": _Row("semantic", _label_maps(open_voc2012), _VOC),
    "voc2012_aug": _Row("semantic", _label_maps(open_voc2012_aug), _VOC),
    "pascal_context_59": _Row("semantic", _label_maps(open_pascal_context_59), "VOCdevkit/VOC2010"),
    OWN: _Row("semantic", _label_maps(open_folder)),
    "coco_panoptic": _Row("panoptic", open_coco_panoptic, _COCO),
    "cityscapes_panoptic": _Row("panoptic", open_cityscapes_panoptic, "cityscapes"),
    "ade20k_panoptic": _Row("panoptic", open_ade20k_panoptic, _ADE20K),
    "coco_instance": _Row("instance", open_coco_instance, _COCO),
    "cityscapes_instance": _Row("instance", open_cityscapes_instance, "cityscapes"),
    "ade20k_instance": _Row("instance", open_ade20k_instance, _ADE20K),
}
# The drawn world needs no folder. Its classes are the forms of the shapes, or phrases of a word and a form.
_PHRASES = {"shapes": None, "shapes_coloured": "colour", "shapes_patterned": "pattern"}
_DRAWN_PANOPTIC = "shapes_panoptic"

DRAWN = (*_PHRASES, _DRAWN_PANOPTIC)
SEMANTIC = (*(name for name, row in _ROWS.items() if row.task == "semantic"), *_PHRASES)
DATASETS = (*SEMANTIC, *(name for name, row in _ROWS.items() if row.task != "semantic"), _DRAWN_PANOPTIC)


def task_of(name: str) -> str:
    """ "semantic", "panoptic" or "instance". Raises ValueError for a name that is not among DATASETS."""
    if name in DRAWN:
        return "panoptic" if name == _DRAWN_PANOPTIC else "semantic"
    return _row(name).task


def open_for_task(
    name: str,
    folder: str | os.PathLike[str] | None,
    split: str,
    with_pictures: bool = True,
    said: LabelOptions = UNSAID,
) -> SemanticDataset | PanopticDataset | InstanceDataset:
    """A dataset for any task.

    Args:
        name: one of DATASETS; "folder" is a person's own (see `open_folder`).
        folder: where it is; a DRAWN one needs none.
        split: "training" or "validation"; of a person's own also "test".
        with_pictures: False if predictions are to be scored, and the pictures of things and segments may be missing.
        said: what a person says of the values in label files of their own.

    Raises: ValueError for an unknown name or split, for a missing or empty folder, and whatever the dataset's files are
        refused for, naming the file.
    """
    splits = (*SPLITS, TEST, WHOLE) if name == OWN else SPLITS
    if split not in splits:
        raise ValueError(f"{name} has no split {split!r}: choose from {', '.join(splits)}")
    if name == _DRAWN_PANOPTIC:
        return DrawnPanoptic(split)
    if name in DRAWN:
        kind = _PHRASES[name]
        return DrawnWorld(split, phrases=Phrases(kind, seen_only=False) if kind else None)
    if name == OWN:
        return open_folder(root_of(name, folder), split, said)
    return _row(name).open(root_of(name, folder), split, with_pictures)


def open_dataset(
    name: str, folder: str | os.PathLike[str] | None, split: str, said: LabelOptions = UNSAID
) -> SemanticDataset:
    """A semantic dataset. Raises ValueError as `open_for_task` does, and for one of another task."""
    if name not in SEMANTIC:
        raise ValueError(f"there is no dataset {name!r} of label maps: choose from {', '.join(SEMANTIC)}")
    dataset: Any = open_for_task(name, folder, split, said=said)
    return dataset


def root_of(name: str, folder: str | os.PathLike[str] | None) -> Path:
    """The folder of a dataset that is not drawn: the given one, or the published one within it.

    Raises ValueError if none is given, or it is missing.
    """
    if folder is None:
        raise ValueError(f"the dataset {name} needs the folder that it lies in: pass it as --data")
    if not Path(folder).is_dir():
        raise ValueError(f"there is no folder {folder}")
    *above, last = Path(_row(name).published_in).parts or (".",)
    places = (Path(folder, *above, last), Path(folder, last))
    return next((place for place in places if place.is_dir()), Path(folder))


def _row(name: str) -> _Row:
    if name not in _ROWS:
        raise ValueError(f"there is no dataset {name!r}: choose from {', '.join(DATASETS)}")
    return _ROWS[name]

"""Datasets by their names, and the task that each is for."""

from __future__ import annotations

import os

from ms_seg.data.coco.instance import CocoInstance, open_coco_instance
from ms_seg.data.coco.panoptic import open_coco_panoptic
from ms_seg.data.drawn.world import DrawnPanoptic
from ms_seg.data.panoptic import PanopticDataset
from ms_seg.data.semantic import DATASETS as SEMANTIC
from ms_seg.data.semantic import DRAWN as DRAWN_SEMANTIC
from ms_seg.data.semantic import SPLITS, SemanticDataset, open_dataset, root_of

PANOPTIC = ("coco_panoptic", "shapes_panoptic")
INSTANCE = ("coco_instance",)
DATASETS = (*SEMANTIC, *PANOPTIC, *INSTANCE)
DRAWN = (*DRAWN_SEMANTIC, "shapes_panoptic")


def task_of(name: str) -> str:
    """ "semantic", "panoptic" or "instance". Raises ValueError for a name that is not among DATASETS."""
    for task, names in (("semantic", SEMANTIC), ("panoptic", PANOPTIC), ("instance", INSTANCE)):
        if name in names:
            return task
    raise ValueError(f"there is no dataset {name!r}: choose from {', '.join(DATASETS)}")


def open_for_task(
    name: str, folder: str | os.PathLike[str] | None, split: str, with_pictures: bool = True
) -> SemanticDataset | PanopticDataset | CocoInstance:
    """A dataset for any task.

    Args:
        name: one of DATASETS. folder, split: see `open_dataset`.
        with_pictures: False if predictions are to be scored, and COCO's pictures may be missing.

    Raises: ValueError for an unknown name or split, for a missing folder, and as `open_dataset`, `open_coco_panoptic`
        and `open_coco_instance` do.
    """
    task = task_of(name)
    if task == "semantic":
        return open_dataset(name, folder, split)
    if split not in SPLITS:
        raise ValueError(f"there is no split {split!r}: choose from {', '.join(SPLITS)}")
    if name in DRAWN:
        return DrawnPanoptic(split)
    opened = open_coco_panoptic if task == "panoptic" else open_coco_instance
    return opened(root_of(name, folder), split, with_pictures)

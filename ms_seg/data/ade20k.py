"""ADE20K's things and stuff, beside the label maps of ADEChallengeData2016.

The JSON files are those that Mask2Former's scripts write (prepare_ade20k_pan_seg.py and prepare_ade20k_ins_seg.py):
there classes have their numbers among the 150, from 0, and names with all their synonyms. The numbers in
annotations_instance, 1..100, are the things in the same order (ade20k_instance_catid_mapping.txt).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ms_seg.data.coco.annotations import field, is_thing
from ms_seg.data.coco.instance import CocoInstance, open_instance_file
from ms_seg.data.coco.panoptic import CocoPanoptic, open_panoptic_file
from ms_seg.data.instance import InstanceMaps
from ms_seg.data.pairing import Pair, check_split, files_in, pair
from ms_seg.label_sets import LabelSet, read_labels, things_only

_PARTS = {"training": "train", "validation": "val"}


def open_ade20k_panoptic(root: Path, split: str, with_pictures: bool = True) -> CocoPanoptic:
    """ade20k_panoptic_val.json, with the PNG files in the folder of the same name; ade20k_panoptic_train for
    training."""
    file = root / f"ade20k_panoptic_{_PARTS[split]}.json"
    check_split(file, root / "images" / split)
    labels_of = partial(_labels, file, _numbered(read_labels("ade20k")))
    return open_panoptic_file(file, file.with_suffix(""), root / "images" / split, labels_of, with_pictures)


def open_ade20k_instance(root: Path, split: str, with_pictures: bool = True) -> CocoInstance | InstanceMaps:
    """The 100 classes of things, from ade20k_instance_val.json (ade20k_instance_train for training), or, where that is
    missing, from the published maps in annotations_instance: red is the class, 1..100, green the number of the thing.
    """
    file, pictures = root / f"ade20k_instance_{_PARTS[split]}.json", root / "images" / split
    label_set = things_only(_numbered(read_labels("ade20k")))
    maps = root / "annotations_instance" / split
    if not maps.is_dir():
        check_split(file, pictures)
    if file.is_file() or not maps.is_dir():
        return open_instance_file(file, pictures, partial(_labels, file, label_set), with_pictures)
    if with_pictures or pictures.is_dir():
        return InstanceMaps(pictures, maps, pair(pictures, maps, ".png"), label_set, _ids, _thing)
    pairs = tuple(Pair(name.removesuffix(".png"), "", name) for name in files_in(maps, (".png",)))
    return InstanceMaps(None, maps, pairs, label_set, _ids, _thing)


def _numbered(labels: LabelSet) -> LabelSet:
    """With the numbers of the JSON files, which are the indices, so that the things alone keep them."""
    return LabelSet(labels.names, labels.palette, labels.things, tuple(range(len(labels))))


def _labels(file: Path, published: LabelSet, rows: Sequence[Mapping[str, Any]]) -> LabelSet:
    """The published classes, whatever synonyms the file has for them.

    Raises ValueError, naming the file, for other numbers, or where it takes other classes for things.
    """
    things = {field(row, "id", int, f"{file}: a category"): is_thing(row, f"{file}: a category") for row in rows}
    if things != dict(zip(published.numbers, published.isthing, strict=True)):
        count = len(published)
        raise ValueError(f"{file} has other categories than ADE20K's {count}: they are to have its numbers, from 0")
    return published


def _ids(stored: np.ndarray, file: Path) -> np.ndarray:
    if stored.dtype != np.uint8 or stored.ndim != 3 or stored.shape[2] < 3:
        raise ValueError(f"{file} has no colours: red is to be the class and green the number of each thing")
    return stored[..., 0].astype(np.int32) * 256 + stored[..., 1]


def _thing(number: int) -> tuple[int, bool] | None:
    """See `InstanceMaps`."""
    label = number // 256
    return None if not 1 <= label <= 100 else (label - 1, False)

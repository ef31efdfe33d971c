"""Names and colours of classes: a table for each published label set.

The `*.tsv` files in this folder hold them in the order of the networks' outputs. ADE20K's and COCO-Stuff's are those of
mmsegmentation 0.30 (ADE20KDataset, COCOStuffDataset), Cityscapes' are the 19 that its own scripts train on, with the
numbers of its label files, and COCO panoptic's are panopticapi's (panoptic_coco_categories.json): 80 things, then 53
kinds of stuff, the order of mmdetection and detectron2. Mapillary Vistas' are the 65 of version 1.2 (mmsegmentation 1.2
MapillaryDataset_v1), Pascal Context's the 59 without background (PascalContextDataset59). Which classes of ADE20K and
Mapillary are things is Mask2Former's (register_ade20k_panoptic, register_mapillary_vistas_panoptic). What models of
instances tell apart are the things of such a set, in its order: "coco_things", "cityscapes_things", "ade20k_things".
"ade20k_lang_seg" has the words that LSeg was trained on for ADE20K's classes, the first of each row of lang-seg's
label_files/ade20k_objectInfo150.txt. That file lost everything after a space ("chest", not "chest of drawers"), so that
it has "screen" twice. Some published colours occur twice (COCO-Stuff's person and bicycle, ADE20K's road and
skyscraper); they are kept, and drawings tell such classes apart if both are in a picture.
"""

from __future__ import annotations

import colorsys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

MAX_NAME_LENGTH = 200  # characters

_FOLDER = Path(__file__).parent
_THINGS_OF = {"ade20k_things": "ade20k", "cityscapes_things": "cityscapes", "coco_things": "coco_panoptic"}
_GOLDEN_RATIO = 0.618033988749895  # successive multiples spread evenly around the colour circle


@dataclass(frozen=True, eq=False)
class LabelSet:
    """The classes of a model, in the order of its outputs: names, and an RGB palette (C, 3) uint8.

    things: for each class, whether it is a thing, counted one by one; None if the label set does not tell things from
    stuff. ids: the numbers of the classes in published annotations, if they differ from the order of the outputs.
    categories: for each class, the name of the group that the dataset's own figures count it in too, if there are any.
    """

    names: tuple[str, ...]
    palette: np.ndarray
    things: tuple[bool, ...] | None = None
    ids: tuple[int, ...] | None = None
    categories: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def isthing(self) -> tuple[bool, ...]:
        """For each class, whether it is a thing; true for all if the label set does not tell things from stuff."""
        return self.things or (True,) * len(self)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the classes in annotations: their `ids`, or their indices."""
        return self.ids or tuple(range(len(self)))


def _known() -> list[str]:
    return sorted([*(path.stem for path in _FOLDER.glob("*.tsv")), *_THINGS_OF])


@cache
def read_labels(name: str) -> LabelSet:
    """The published label set of that name, such as "ade20k". Raises ValueError, naming the known ones."""
    if name not in _known():
        raise ValueError(f"there is no label set {name!r}: choose from {', '.join(_known())}")
    if name in _THINGS_OF:
        return things_only(read_labels(_THINGS_OF[name]))
    lines = (_FOLDER / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
    titles, *rows = (tuple(line.split("\t")) for line in lines)
    columns = dict(zip(titles, zip(*rows, strict=True), strict=True))
    palette = np.array([list(bytes.fromhex(colour.removeprefix("#"))) for colour in columns["colour"]], np.uint8)
    palette.flags.writeable = False  # every caller is given the same array
    things = tuple(mark == "1" for mark in columns["isthing"]) if "isthing" in columns else None
    ids = tuple(map(int, columns["id"])) if "id" in columns else None
    return LabelSet(columns["name"], palette, things, ids, columns.get("category"))


def things_only(label_set: LabelSet) -> LabelSet:
    """The things of a label set, in its order."""
    things = np.flatnonzero(label_set.isthing).tolist()
    names = tuple(label_set.names[index] for index in things)
    ids = label_set.ids and tuple(label_set.ids[index] for index in things)
    palette = label_set.palette[things]
    palette.flags.writeable = False
    return LabelSet(names, palette, (True,) * len(things), ids)


def known_labels(names: Sequence[str]) -> str | None:
    """The published label set that has exactly these names in this order, if there is one."""
    return next((name for name in _known() if read_labels(name).names == tuple(names)), None)


def labels_of(label_set: str | LabelSet | None) -> LabelSet | None:
    """The classes of a preset's `label_set`, which may be a published one's name. Raises as `read_labels` does."""
    return read_labels(label_set) if isinstance(label_set, str) else label_set


def check_names(names: Sequence[str], source: str) -> None:
    """Raise ValueError, beginning with the source, for names that do not identify classes in a list or a legend."""
    for index, name in enumerate(names):
        if not name.strip():
            raise ValueError(f"{source} has no name for class {index}")
        if len(name) > MAX_NAME_LENGTH:
            raise ValueError(
                f"{source} has a name of {len(name)} characters for class {index}: at most {MAX_NAME_LENGTH}"
            )
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
            raise ValueError(f"{source} has control characters in the name of class {index}: {name!r}")
    if twice := next((name for name, count in Counter(names).items() if count > 1), None):
        raise ValueError(f"{source} names the class {twice!r} twice")


def with_background(labels: LabelSet) -> LabelSet:
    """The classes with a black background before them."""
    palette = np.concatenate([np.zeros((1, 3), np.uint8), labels.palette])
    return LabelSet(("background", *labels.names), palette)


def numbered_labels(count: int) -> LabelSet:
    """Labels "class 0", "class 1", ... for classes without names, in colours that differ between neighbours."""
    hues = np.arange(count) * _GOLDEN_RATIO % 1
    colours = [colorsys.hsv_to_rgb(hue, (0.9, 0.6)[i % 2], (0.95, 0.75, 0.55)[i % 3]) for i, hue in enumerate(hues)]
    palette = np.round(np.array(colours).reshape(count, 3) * 255).astype(np.uint8)
    return LabelSet(tuple(f"class {i}" for i in range(count)), palette)


# Of a model with one output that nobody named.
OBJECT = LabelSet(("background", "object"), np.array([[0, 0, 0], [230, 60, 60]], np.uint8))

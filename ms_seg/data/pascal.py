"""PASCAL's label maps, in the folders they are published in: VOC 2012, with and without SBD's, and Context."""

from __future__ import annotations

from pathlib import Path

from ms_seg.data.numbering import from_one, from_zero
from ms_seg.data.pairing import MissingSplit, Pair
from ms_seg.data.semantic import LabelledFolder
from ms_seg.label_sets import read_labels

_PARTS = {"training": "train", "validation": "val"}
_MERGED = "trainval_merged.json"  # all 459 classes of Context, in the Detail API's form
_OWN, _AUGMENTED = "SegmentationClass", "SegmentationClassAug"


def open_voc2012(root: Path, split: str) -> LabelledFolder:
    """VOCdevkit/VOC2012: the pictures that ImageSets/Segmentation/{train,val}.txt names, and SegmentationClass. Borders
    are 255, which is ignored."""
    names = _names(root / "ImageSets" / "Segmentation" / f"{_PARTS[split]}.txt")
    return _voc(root, {name: _OWN for name in names})


def open_voc2012_aug(root: Path, split: str) -> LabelledFolder:
    """VOC 2012 with the label maps of the Semantic Boundaries Dataset to train on, in SegmentationClassAug, as the
    tools of mmsegmentation write them.

    Their pictures are those of aug.txt, or those of trainaug.txt that are not in train.txt. As in mmsegmentation's
    configuration, VOC's own 1464 keep their own label maps, and validation is VOC's.
    """
    lists = root / "ImageSets" / "Segmentation"
    if split == "validation":
        return open_voc2012(root, split)
    own = _names(lists / "train.txt")
    added = _names(lists / "aug.txt" if (lists / "aug.txt").is_file() else lists / "trainaug.txt")
    return _voc(root, {name: _AUGMENTED for name in added} | {name: _OWN for name in own})


def open_pascal_context_59(root: Path, split: str) -> LabelledFolder:
    """VOCdevkit/VOC2010 with SegmentationClassContext, in which 0, the background, is ignored.

    Raises ValueError, saying what to do, where there is only the JSON file that these are made from.
    """
    label_set = read_labels("pascal_context_59")
    if (merged := root / _MERGED).is_file() and not (root / "SegmentationClassContext").is_dir():
        raise ValueError(
            f"{merged} is Context as it is published, and no label maps: mmsegmentation's "
            f"tools/convert_datasets/pascal_context.py {root.parent} {merged} writes SegmentationClassContext and "
            "ImageSets/SegmentationContext from it, with the Detail API"
        )
    names = _names(root / "ImageSets" / "SegmentationContext" / f"{_PARTS[split]}.txt")
    pairs = _pairs(root, {name: "SegmentationClassContext" for name in names})
    return LabelledFolder(root / "JPEGImages", root, pairs, label_set, from_one(len(label_set)))


def _voc(root: Path, folders: dict[str, str]) -> LabelledFolder:
    label_set = read_labels("voc2012")
    return LabelledFolder(root / "JPEGImages", root, _pairs(root, folders), label_set, from_zero(len(label_set)))


def _pairs(root: Path, folders: dict[str, str]) -> tuple[Pair, ...]:
    """The files of each name, whose label file is in the folder that stands with it.

    Raises ValueError for a missing folder, and for the first missing file.
    """
    there = {}
    for folder in ("JPEGImages", *dict.fromkeys(folders.values())):
        if not (root / folder).is_dir():
            raise ValueError(f"there is no folder {root / folder}")
        there[folder] = {file.name for file in (root / folder).iterdir()}
    pairs = []
    for name, folder in sorted(folders.items()):
        for place, file in (("JPEGImages", f"{name}.jpg"), (folder, f"{name}.png")):
            if file not in there[place]:
                raise ValueError(f"{root / place / file} is missing: a list in {root / 'ImageSets'} names it")
        pairs.append(Pair(name, f"{name}.jpg", f"{folder}/{name}.png"))
    return tuple(pairs)


def _names(file: Path) -> list[str]:
    """The names in a list, one a line. Raises ValueError if it is missing or empty."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise MissingSplit(f"there is no {file}, which names the pictures of the split") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not UTF-8 text") from None
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise ValueError(f"{file} is empty: it names the pictures of the split")
    return names

"""Cityscapes, ADE20K and PASCAL on disk, small, in the folders they are published in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from ms_seg.label_sets import read_labels
from tests.data.small_datasets import write_labels, write_picture

SIZE = (40, 60)
PARTS = {"training": "train", "validation": "val"}


def cityscapes_ids(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """What `*_instanceIds.png` holds: a road (7), sky (23), void (3), two cars (26), one of them in two parts, a group
    of persons (24), a rider (25) too small to count, and a caravan (29)."""
    height, width = size
    ids = np.full(size, 7, np.int32)
    ids[: height // 3] = 23
    ids[:, : width // 8] = 3
    rng = np.random.default_rng(seed)
    for number, count in ((26_000, 90), (26_001, 60), (24, 50), (25_000, 8), (26_000, 30), (29_000, 30)):
        rows, columns = int(count**0.5), count // int(count**0.5)
        top, left = rng.integers(0, height - 2 * rows), rng.integers(0, width - 2 * columns)
        ids[top : top + 2 * rows, left : left + 2 * columns] = number
    return ids


def write_cityscapes(root: Path, split: str = "validation", count: int = 3, size: tuple[int, int] = SIZE) -> Path:
    """Pictures, label ids, instance ids, and the panoptic files that cityscapesScripts makes of these."""
    part = PARTS[split]
    for number in range(count):
        city = ("ulm", "bonn")[number % 2]
        name, ids = f"{city}_{number:06}_000019", cityscapes_ids(number, size)
        write_picture(root / "leftImg8bit" / part / city / f"{name}_leftImg8bit.png", size, number)
        truth = root / "gtFine" / part / city
        write_labels(truth / f"{name}_gtFine_labelIds.png", np.where(ids < 1000, ids, ids // 1000))
        Image.fromarray(ids.astype(np.uint16)).save(truth / f"{name}_gtFine_instanceIds.png")
    return root


def write_train_ids(root: Path) -> None:
    """`*_labelTrainIds.png` beside the label ids."""
    table = np.full(256, 255, np.uint8)
    table[list(read_labels("cityscapes").ids)] = np.arange(19)
    for file in root.glob("gtFine/*/*/*_labelIds.png"):
        write_labels(Path(str(file).replace("_labelIds", "_labelTrainIds")), table[np.array(Image.open(file))])


def write_cityscapes_panoptic(root: Path, split: str = "validation", train_ids: bool = False) -> Path:
    """gtFine/cityscapes_panoptic_val.json and its PNG files, as createPanopticImgs.py makes them: with texts for ids,
    and the name of no picture."""
    part, labels = PARTS[split], read_labels("cityscapes")
    stem = f"cityscapes_panoptic_{part}" + "_trainId" * train_ids
    numbers = dict(zip(labels.ids, range(19) if train_ids else labels.ids, strict=True))
    images, annotations = [], []
    for file in sorted((root / "gtFine" / part).glob("*/*_instanceIds.png")):
        ids, name = np.array(Image.open(file)).astype(np.int32), file.name.removesuffix("_gtFine_instanceIds.png")
        segments, kept = [], np.zeros_like(ids)
        for number in np.unique(ids).tolist():
            label = number // 1000 if number >= 1000 else number
            if label not in numbers:
                continue
            crowd = int(number < 1000 and labels.things[labels.ids.index(label)])
            kept[ids == number] = number
            area = int((ids == number).sum())
            segments.append({"id": number, "category_id": numbers[label], "area": area, "iscrowd": crowd})
        colours = np.stack([kept % 256, kept // 256, np.zeros_like(kept)], axis=-1).astype(np.uint8)
        target = root / "gtFine" / stem / f"{name}_gtFine_panoptic.png"
        target.parent.mkdir(exist_ok=True)
        Image.fromarray(colours).save(target)
        height, width = ids.shape
        images.append({"id": name, "file_name": f"{name}_gtFine_leftImg8bit.png", "height": height, "width": width})
        annotations.append({"image_id": name, "file_name": target.name, "segments_info": segments})
    categories = [
        {"id": numbers[number], "name": name, "isthing": int(thing), "color": colour}
        for number, name, thing, colour in zip(
            labels.ids, labels.names, labels.things, labels.palette.tolist(), strict=True
        )
    ]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "gtFine" / f"{stem}.json").write_text(json.dumps(content))
    return root


def write_voc(root: Path, count: int = 2, size: tuple[int, int] = SIZE) -> Path:
    """VOCdevkit/VOC2012 with SBD's label maps beside its own, and VOC2010 with those of Context. Pictures 0.. are to
    train on, 10.. SBD's, 20.. to validate on; one picture is in no list."""
    voc, context = root / "VOCdevkit" / "VOC2012", root / "VOCdevkit" / "VOC2010"
    lists = {"train": range(count), "aug": range(10, 10 + count), "val": range(20, 20 + count)}
    own = Image.new("P", size[::-1])
    own.putpalette(read_labels("voc2012").palette.tobytes())
    for place, kind in ((voc, "Segmentation"), (context, "SegmentationContext")):
        (place / "ImageSets" / kind).mkdir(parents=True)
        for name, numbers in lists.items():
            (place / "ImageSets" / kind / f"{name}.txt").write_text("".join(f"2008_{n:06}\n" for n in numbers))
        for number in [n for numbers in lists.values() for n in numbers] + [30]:
            write_picture(place / "JPEGImages" / f"2008_{number:06}.jpg", size, number)
    for part, numbers in lists.items():
        for number in numbers:
            labels = np.resize(np.array([0, 15, 20, 255], np.uint8), size)
            folder = voc / ("SegmentationClassAug" if part == "aug" else "SegmentationClass")
            folder.mkdir(exist_ok=True)
            own.putdata(labels.ravel().tolist())
            own.save(folder / f"2008_{number:06}.png")
            write_labels(voc / "SegmentationClassAug" / f"2008_{number:06}.png", np.where(labels == 255, 0, labels))
            file = context / "SegmentationClassContext" / f"2008_{number:06}.png"
            write_labels(file, np.resize([0, 1, 59], size))
    return root


def write_ade20k_instances(root: Path, split: str = "validation", count: int = 2) -> Path:
    """annotations_instance: red is the class, 1..100, green the number of the thing; two beds and a windowpane."""
    for number in range(count):
        write_picture(root / "images" / split / f"ADE_val_{number:08}.jpg", SIZE, number)
        colours = np.zeros((*SIZE, 3), np.uint8)
        colours[2:12, 5:25, :2] = (1, 1)
        colours[15:30, 5:25, :2] = (1, 2)
        colours[2:30, 30:50, :2] = (2, 1)
        file = root / "annotations_instance" / split / f"ADE_val_{number:08}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(colours).save(file)
    return root


def write_ade20k_json(root: Path, split: str = "validation", count: int = 2) -> Path:
    """ade20k_panoptic_val.json and ade20k_instance_val.json, whose classes have their numbers among the 150."""
    part, labels = PARTS[split], read_labels("ade20k")
    rows = [
        {"id": index, "name": f"{name}, synonym", "isthing": int(thing)}
        for index, (name, thing) in enumerate(zip(labels.names, labels.things, strict=True))
    ]
    height, width = SIZE
    images, panoptic, instances = [], [], []
    for number in range(count):
        name = f"ADE_val_{number:08}"
        write_picture(root / "images" / split / f"{name}.jpg", SIZE, number)
        images.append({"id": name, "file_name": f"{name}.jpg", "height": height, "width": width})
        ids = np.ones(SIZE, np.int32)
        ids[5:25, 5:25], ids[5:25, 30:50] = 2, 3
        colours = np.stack([ids, np.zeros_like(ids), np.zeros_like(ids)], axis=-1).astype(np.uint8)
        file = root / f"ade20k_panoptic_{part}" / f"{name}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(colours).save(file)
        kinds = ((1, 0), (2, 7), (3, 7))  # a wall and two beds
        segments = [{"id": i, "category_id": kind, "iscrowd": 0, "area": int((ids == i).sum())} for i, kind in kinds]
        panoptic.append({"image_id": name, "file_name": f"{name}.png", "segments_info": segments})
        for left in (5, 30):
            outline = [[left, 5, left + 20, 5, left + 20, 25, left, 25]]
            row = {"id": len(instances), "image_id": name, "category_id": 7, "area": 400, "iscrowd": 0}
            instances.append({**row, "bbox": [left, 5, 20, 20], "segmentation": outline})
    for kind, annotated, categories in (
        ("panoptic", panoptic, rows), ("instance", instances, [row for row in rows if row["isthing"]])
    ):  # fmt: skip
        content = {"images": images, "annotations": annotated, "categories": categories}
        (root / f"ade20k_{kind}_{part}.json").write_text(json.dumps(content))
    return root

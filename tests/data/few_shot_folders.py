"""Small few-shot benchmarks on disk, in the folders and split lists of the published ones."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.small_datasets import write_labels, write_picture

# How many pictures the published lists of each fold of COCO-20i name for each of its twenty classes.
COCO_PICTURES = (
    (19217, 727, 816, 172, 1203, 699, 805, 709, 142, 655, 516, 312, 577, 331, 3648, 3722, 200, 389, 773, 170),
    (748, 1213, 572, 1379, 925, 335, 1135, 270, 404, 804, 1733, 1577, 380, 916, 1375, 1116, 302, 925, 1159, 644),
    (2754, 1257, 411, 713, 456, 655, 998, 434, 173, 687, 419, 551, 521, 423, 1198, 1416, 619, 38, 803, 37),
    (1073, 1565, 385, 1291, 616, 839, 154, 272, 159, 1351, 470, 298, 397, 790, 1272, 1070, 446, 1097, 676, 94),
)
FSS_NAMES = ("wheel", "ab_wheel", "burj_al")  # as they stand in the list: not in order


def write_pascal(root: Path, fold: int = 0, pictures: int = 7) -> Path:
    """Pictures 2007_000000 ... of the fold's five classes in turn; masks hold all 21 values and 255."""
    lines = []
    for number in range(pictures):
        name, label = f"2007_{number:06}", 5 * fold + number % 5 + 1
        size = (20 + number, 30)
        write_picture(root / "VOC2012/JPEGImages" / f"{name}.jpg", size, seed=number)
        write_labels(root / "VOC2012/SegmentationClassAug" / f"{name}.png", [*range(21), 255], size)
        lines.append(f"{name}__{label:02}")
    write_list(root / f"splits/pascal/val/fold{fold}.txt", lines)
    return root


def write_coco(root: Path, fold: int = 0, pictures: int = 3) -> Path:
    """The same number of pictures for each of the fold's twenty classes; masks hold all 81 values and 255."""
    lists: dict[int, list[str]] = {number: [] for number in range(80)}
    for number in range(fold, 80, 4):
        for picture in range(pictures + number % 3):
            name = f"val2014/COCO_val2014_{1000 * number + picture:012}"
            write_picture(root / "COCO2014" / f"{name}.jpg", seed=number)
            write_labels(root / "COCO2014/annotations" / f"{name}.png", [*range(81), 255])
            lists[number].append(f"{name}.jpg")
    path = root / f"splits/coco/val/fold{fold}.pkl"
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(lists, 3))
    return root


def coco_lists(fold: int) -> dict[int, list[str]]:
    """Lists of a fold of COCO-20i, as long as the published ones; a picture of several classes is in several lists."""
    names = [f"val2014/COCO_val2014_{number:012}.jpg" for number in range(max(COCO_PICTURES[fold]))]
    lengths = dict(zip(range(fold, 80, 4), COCO_PICTURES[fold], strict=True))
    return {number: names[: lengths.get(number, 0)] for number in range(80)}


def write_fss(root: Path, pictures: int = 11, size: tuple[int, int] = (24, 24)) -> Path:
    """Every picture has its thing, a bright rectangle, in another place; masks are of every colour mode in turn."""
    for label, name in enumerate(FSS_NAMES):
        for number in range(1, pictures + 1):
            picture = np.full((*size, 3), 40, np.uint8)
            mask = np.zeros(size, np.uint8)
            thing = slice(number % 8, number % 8 + 9), slice(2 + label, 2 + label + 7)
            picture[thing] = 220
            mask[thing] = 255
            folder = root / "FSS-1000" / name
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / f"{number}.jpg", quality=100)
            Image.fromarray(mask).convert(("L", "RGB", "P", "1", "RGBA")[number % 5]).save(folder / f"{number}.png")
    write_list(root / "splits/fss/test.txt", FSS_NAMES)
    return root


def write_list(path: Path, lines: list[str] | tuple[str, ...]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\r\n" for line in lines))  # as some of the published ones end
    return path

"""COCO panoptic on disk, small: a JSON file of segments and PNG files of their ids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

CATEGORIES = [
    {"id": 3, "name": "cat", "isthing": 1, "color": [200, 0, 0]},
    {"id": 7, "name": "dog", "isthing": 1, "color": [0, 200, 0]},
    {"id": 8, "name": "owl", "isthing": 1, "color": [0, 200, 90]},
    {"id": 92, "name": "grass", "isthing": 0, "color": [0, 0, 200]},
    {"id": 199, "name": "sky", "isthing": 0, "color": [90, 90, 200]},
]
Drawn = tuple[np.ndarray, list[dict]]  # ids (H, W), and the rows of "segments_info"


def encode(ids: np.ndarray) -> np.ndarray:
    """(H, W) -> (H, W, 3) uint8, digits to the base of 256, the lowest first."""
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)


def write_panoptic(file: Path, drawn: Sequence[Drawn], categories: Sequence[dict] = CATEGORIES) -> Path:
    """`file`, and a folder of the same name with a PNG for each; the pictures' numbers are 100, 101, ..."""
    folder = file.with_suffix("")
    folder.mkdir(parents=True)
    images, annotations = [], []
    for number, (ids, segments) in enumerate(drawn, start=100):
        Image.fromarray(encode(ids)).save(folder / f"{number:012}.png")
        height, width = ids.shape
        images.append({"id": number, "file_name": f"{number:012}.jpg", "height": height, "width": width})
        annotations.append({"image_id": number, "file_name": f"{number:012}.png", "segments_info": segments})
    content = {"images": images, "annotations": annotations, "categories": list(categories)}
    file.write_text(json.dumps(content, default=int))
    return file


def in_quarters(ids: Sequence[int], size: tuple[int, int] = (20, 30)) -> np.ndarray:
    """A map of four rectangles of these ids, from the upper left to the lower right one."""
    half = [side // 2 for side in size]
    rows, columns = (np.arange(side) >= middle for side, middle in zip(size, half, strict=True))
    return np.array(ids).reshape(2, 2)[rows.astype(int)[:, None], columns.astype(int)]


def segment(number: int, category: int, iscrowd: int = 0, **more: object) -> dict:
    return {"id": number, "category_id": category, "iscrowd": iscrowd, **more}


def write_coco_panoptic(root: Path, drawn: Sequence[Drawn], part: str = "val2017") -> Path:
    """The published folders, with pictures in which each segment has a colour of its own. Returns the root."""
    write_panoptic(root / "annotations" / f"panoptic_{part}.json", drawn)
    (root / part).mkdir()
    for number, (ids, _) in enumerate(drawn, start=100):
        Image.fromarray(encode(ids * 5003 + 40)).save(root / part / f"{number:012}.jpg", quality=95)
    return root

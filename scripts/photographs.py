"""Pictures with the detail of photographs, drawn from a seed: what whole commands are timed with."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image


def save_photographs(folder: Path, number: int, size: tuple[int, int]) -> list[Path]:
    """JPEG files 00000.jpg and so on, of that (height, width), in a folder that is made if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index:05d}.jpg" for index in range(number)]
    for index, path in enumerate(paths):
        Image.fromarray(photograph(size, index)).save(path, quality=90)
    return paths


def save_split(folder: Path, number: int, size: tuple[int, int]) -> Path:
    """As many photographs as the validation split of ADE20K's folders, with label maps of drawn blocks of its classes;
    returns the folder."""
    annotations = folder / "annotations" / "validation"
    annotations.mkdir(parents=True, exist_ok=True)
    for index, picture in enumerate(save_photographs(folder / "images" / "validation", number, size)):
        blocks = np.random.default_rng(index).integers(0, 151, (16, 16), np.uint8)
        labels = cv2.resize(blocks, size[::-1], interpolation=cv2.INTER_NEAREST)
        Image.fromarray(labels).save(annotations / f"{picture.stem}.png")
    return folder


def photograph(size: tuple[int, int], seed: int) -> np.ndarray:
    """RGB (H, W, 3) uint8: colours at every scale, the coarse ones strongest."""
    generator, (height, width) = np.random.default_rng(seed), size
    picture = np.full((height, width, 3), 128, np.float32)
    side = 4
    while side < max(size):
        coarse = generator.standard_normal((side, side, 3)).astype(np.float32)
        picture += 60 / np.sqrt(side / 4) * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
        side *= 2
    return picture.clip(0, 255).astype(np.uint8)

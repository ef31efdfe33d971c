"""Small datasets on disk, in the folders of the published ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_picture(file: Path, size: tuple[int, int] = (20, 30), seed: int = 0) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)).save(file)
    return file


def write_labels(file: Path, values: object, size: tuple[int, int] = (20, 30)) -> Path:
    """A PNG in which the values take turns; an array of more than one axis is written as it is."""
    file.parent.mkdir(parents=True, exist_ok=True)
    array = np.asarray(values)
    array = array if array.ndim > 1 else np.resize(array, size)
    Image.fromarray(array.astype(np.uint8) if array.max() < 256 else array.astype(np.uint16)).save(file)
    return file


def write_ade20k(root: Path, split: str = "training", count: int = 3, values: object = range(151)) -> Path:
    for number in range(count):
        write_picture(root / "images" / split / f"ADE_{number:08}.jpg", seed=number)
        write_labels(root / "annotations" / split / f"ADE_{number:08}.png", values)
    return root


def write_folder(root: Path, names: list[str], values: dict[str, object]) -> Path:
    """A person's own: values of the label files, such as {"training/a": [0, 1]}."""
    root.mkdir(exist_ok=True)
    (root / "labels.txt").write_text("\n".join(names) + "\n")
    for seed, (name, held) in enumerate(values.items()):
        write_picture(root / "images" / f"{name}.jpg", seed=seed)
        write_labels(root / "labels" / f"{name}.png", held)
    return root

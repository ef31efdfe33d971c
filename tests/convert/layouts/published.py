"""Files as they are published, by their manifests: every key, shape and dtype, and numbers that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ms_seg.checkpoints.loading import outline, shapes_of
from ms_seg.presets import find_preset

HERE = Path(__file__).parent
FOLDERS = (HERE.parents[3] / "shared" / "manifests", HERE / "manifests")


@dataclass(frozen=True)
class Declared:
    """An entry of which only shape and dtype are known; its numbers count up from one that its name tells."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    def numpy(self) -> np.ndarray:
        numbers = np.arange(np.prod(self.shape, dtype=int)) + sum(map(ord, self.name))
        return (numbers % 2003).astype(self.dtype).reshape(self.shape)


def manifests(*beginnings: str) -> dict[str, Path]:
    """The manifests whose names begin so, by name."""
    paths = (path for folder in FOLDERS for path in sorted(folder.glob("*.tsv")))
    return {path.stem: path for path in paths if path.stem.startswith(beginnings)}


def read_manifest(path: Path) -> dict[str, Declared]:
    rows = (line.split("\t") for line in path.read_text().splitlines())
    return {
        key: Declared(key, tuple(int(n) for n in shape.strip("[]").split(",") if n), dtype)
        for key, shape, dtype in rows
    }


@cache
def model_shapes(preset_name: str, **overrides: Any) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a model's parameters."""
    return shapes_of(outline(find_preset(preset_name).override(**overrides)))

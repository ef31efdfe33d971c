"""What the answers of every task have in common, and the files that they are saved to."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from convert.atomic import ESCAPED, whole_file
from ms_seg.answers.drawing.colours import OPACITY
from ms_seg.answers.drawing.legend import NOTHING
from ms_seg.answers.png import encode_png
from ms_seg.label_sets import LabelSet

SEGMENTED = ".labels.png"  # how names of saved label maps end


class BaseAnswer(ABC):
    """The answer to one picture, at the picture's own size.

    picture: RGB (H, W, 3) uint8. label_set: the classes. model: the preset's name. source: the path that the picture
    came from, if any.

    `classes`, `labels`, `masks`, `scores` and `segments` run over the segments, in one order.
    """

    picture: np.ndarray
    label_set: LabelSet
    model: str
    source: str | None

    @property
    @abstractmethod
    def classes(self) -> list[int]:
        """The class of each segment, as the index of the model's output."""

    @property
    @abstractmethod
    def scores(self) -> np.ndarray:
        """(K,) float64 of 0..1, how probable each segment is."""

    @property
    @abstractmethod
    def masks(self) -> np.ndarray:
        """(K, H, W) bool, the pixels of each segment; made when asked for, a byte for each pixel of each."""

    @property
    @abstractmethod
    def segments(self) -> list[dict[str, Any]]:
        """The segments as COCO writes them, ready for JSON."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """What is in the picture, in a few words."""

    @abstractmethod
    def draw(self, opacity: float = OPACITY, legend: bool = True) -> Image.Image:
        """The picture under the colours of its segments, of that opacity (0..1), with a legend or without."""

    @abstractmethod
    def label_image(self) -> Image.Image:
        """What `<stem>.labels.png` holds."""

    @property
    def labels(self) -> list[str]:
        """The name of each segment's class."""
        return [self.label_set.names[index] for index in self.classes]

    def __repr__(self) -> str:
        height, width = self.picture.shape[:2]
        where = f" of {self.source}" if self.source else ""
        return f"<{type(self).__name__}{where}, {width}x{height}, by {self.model}: {self.summary}>"

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        return encode_png(self.draw())

    @property
    def stem(self) -> str:
        """What the answer's files are called: like the picture's, or "picture"."""
        return Path(self.source).stem if self.source else "picture"

    def save(
        self, folder: str | os.PathLike[str], stem: str | None = None, opacity: float = OPACITY, legend: bool = True
    ) -> list[Path]:
        """Write `<stem>.overlay.png`, `<stem>.labels.png` and `<stem>.segments.json` into a folder, made if missing.

        See `draw` for the overlay, `label_image` for the labels. A file appears under its name only when it is whole.

        Returns the paths. Raises OSError if the folder cannot be written.
        """
        paths = self._paths(folder, stem, "overlay.png", SEGMENTED.lstrip("."), "segments.json")
        write_png(paths[0], self.draw(opacity, legend))
        write_png(paths[1], self.label_image())
        height, width = self.picture.shape[:2]
        name = Path(self.source).name if self.source else None
        about = {"picture": name, "width": width, "height": height, "model": self.model}
        write_json(paths[2], {**about, "segments": self.segments})
        return paths

    def save_embeddings(self, folder: str | os.PathLike[str], stem: str | None = None) -> Path:
        """Write the features that a model of words compared; ValueError where there are none."""
        raise ValueError(f"{self.model} gave no embeddings: only models that take words do, of a picture seen at once")

    def _paths(self, folder: str | os.PathLike[str], stem: str | None, *endings: str) -> list[Path]:
        """Files of the answer in a folder, which is made if missing."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        return [folder / f"{stem or self.stem}.{ending}" for ending in endings]


def first_three(found: Sequence[str]) -> str:
    """Some of what was found, for a summary."""
    return ", ".join(found[:3]) + (", ..." if len(found) > 3 else "") or NOTHING


def write_png(path: Path, image: Image.Image) -> None:
    with whole_file(path) as draft:
        draft.write_bytes(encode_png(image))


def write_json(path: Path, content: dict[str, Any]) -> None:
    with whole_file(path) as draft:
        draft.write_text(_json(content), encoding="utf-8", errors=ESCAPED)


def _json(content: dict[str, Any]) -> str:
    """An object of JSON with a line for each key, and for each element of its lists: with `indent`, Python's encoder is
    not the one in C."""
    encode = json.JSONEncoder(ensure_ascii=False).encode
    lines = []
    for key, value in content.items():
        long = isinstance(value, list) and value
        text = "[\n  " + ",\n  ".join(map(encode, value)) + "\n ]" if long else encode(value)
        lines.append(f" {encode(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"

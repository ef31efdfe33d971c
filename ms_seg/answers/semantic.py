"""The answer of semantic segmentation: the class of each pixel."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from convert.atomic import whole_file
from ms_seg.answers.base import BaseAnswer, first_three
from ms_seg.answers.drawing.colours import NO_CLASS_COLOUR, OPACITY, class_colours
from ms_seg.answers.drawing.semantic import draw_overlay
from ms_seg.data.coco.codecs import boxes_and_masks
from ms_seg.data.preprocessing import Geometry
from ms_seg.label_sets import LabelSet
from ms_seg.postprocessing.logits import ClassMaps, probabilities


@dataclass(frozen=True, eq=False)
class Embeddings:
    """The features that a model of words compared. Those of unit length have the logits as products, up to a factor.

    words: the K words. geometry: the sizes that the picture went through; the features cover the padded one.
    read_pixels, read_words: give the features of the pixels (D, h, w) and of the words (K, D) float32, neither of unit
    length yet: they stay where they were computed until somebody asks.
    """

    words: tuple[str, ...]
    geometry: Geometry
    read_pixels: Callable[[], np.ndarray]
    read_words: Callable[[], np.ndarray]

    def arrays(self) -> dict[str, np.ndarray]:
        """pixels (D, h, w) and words (K, D), float32 of unit length; labels, K texts; picture, resized and padded, each
        (height, width)."""
        pixels, words = self.read_pixels(), self.read_words()
        sizes = {key: np.array(value) for key, value in asdict(self.geometry).items()}
        return {
            "pixels": _of_unit_length(pixels, 0),
            "words": _of_unit_length(words, 1),
            "labels": np.array(self.words),
            **sizes,
        }


@dataclass(frozen=True, eq=False, repr=False)
class Answer(BaseAnswer):
    """A semantic segmentation.

    label_map: (H, W) int32, the class of each pixel as the index of the model's output.
    label_set: the classes that have a name. A model may have one output more (EasyCV's 172nd, with 171 names): its
        pixels keep that index in the label map and belong to no segment.
    class_scores: (C,) float64 of 0..1, of each class the mean over its pixels: of its softmax probability, or for a
        model of queries of its share in the scores of all classes.
    logits: the network's, if it was run once, not on several views. embeddings: of a model of words that saw the
        picture at once.
    picture, model, source: see `BaseAnswer`.

    The segments are the classes in the picture, the largest first.
    """

    picture: np.ndarray
    label_map: np.ndarray
    label_set: LabelSet
    class_scores: np.ndarray
    model: str
    source: str | None = None
    logits: ClassMaps | None = None
    embeddings: Embeddings | None = None

    @property
    def pixel_scores(self) -> np.ndarray:
        """(C, H, W) float32 of 0..1, the probability of each class at each pixel; computed when asked for.

        Raises ValueError for the average of several views and for a model of queries, where they are not kept.
        """
        if self.logits is None:
            raise ValueError("the scores of single pixels are kept neither of several views nor of a model of queries")
        return probabilities(self.logits)

    @cached_property
    def classes(self) -> list[int]:
        """Indices of the named classes in the picture, the largest area first."""
        areas = self._areas
        present = np.flatnonzero(areas[: len(self.label_set)])
        return sorted(present.tolist(), key=lambda index: -areas[index])

    @cached_property
    def masks(self) -> np.ndarray:
        """(K, H, W) bool, the pixels of each class in the picture; made when first asked for."""
        return self.label_map == np.array(self.classes, self.label_map.dtype).reshape(-1, 1, 1)

    @property
    def scores(self) -> np.ndarray:
        """(K,) float64 of 0..1, how sure the model is of each class: see `class_scores`."""
        return self.class_scores[self.classes]

    @cached_property
    def segments(self) -> list[dict[str, Any]]:
        """The classes in the picture as COCO writes segments, ready for JSON.

        Keys: id (from 1), category_id (the class's index), category (its name), area (pixels), bbox [x, y, width,
        height], score, segmentation (COCO's run lengths: size [height, width], counts).
        """
        shapes = boxes_and_masks(self.label_map, self.classes)
        return [
            {
                "id": number,
                "category_id": index,
                "category": self.label_set.names[index],
                "area": int(self._areas[index]),
                "bbox": box,
                "score": round(float(self.class_scores[index]), 6),
                "segmentation": segmentation,
            }
            for number, (index, (box, segmentation)) in enumerate(zip(self.classes, shapes, strict=True), start=1)
        ]

    @property
    def summary(self) -> str:
        """The three largest classes with their shares of the picture."""
        shares = (segment["area"] / self.label_map.size for segment in self.segments)
        return first_three([f"{label} {share:.0%}" for label, share in zip(self.labels, shares, strict=True)])

    def draw(self, opacity: float = OPACITY, legend: bool = True) -> Image.Image:
        return draw_overlay(self.picture, self.label_map, self.label_set, opacity, legend)

    def label_image(self) -> Image.Image:
        """The class index of each pixel: 8 bits with the classes' colours as palette, 16 for over 256 classes."""
        if len(self.class_scores) > 256:
            return Image.fromarray(self.label_map.astype(np.uint16))
        image = Image.fromarray(self.label_map.astype(np.uint8))
        palette = np.full((256, 3), NO_CLASS_COLOUR, np.uint8)
        palette[: len(self.label_set)] = class_colours(self.label_set)[:-1]
        image.putpalette(palette.tobytes())
        return image

    def save_embeddings(self, folder: str | os.PathLike[str], stem: str | None = None) -> Path:
        """Write `<stem>.embeddings.npz`, the arrays of `Embeddings`, into a folder, made if missing.

        Returns its path. Raises ValueError if there are none, OSError if the folder cannot be written.
        """
        if self.embeddings is None:
            return super().save_embeddings(folder, stem)
        (path,) = self._paths(folder, stem, "embeddings.npz")
        with whole_file(path) as draft, draft.open("wb") as file:
            np.savez(file, **self.embeddings.arrays())
        return path

    @cached_property
    def _areas(self) -> np.ndarray:
        return np.bincount(self.label_map.ravel(), minlength=len(self.class_scores))


def _of_unit_length(features: np.ndarray, axis: int) -> np.ndarray:
    """Features divided by their length; those of length 0 stay as they are."""
    length = np.linalg.norm(features, axis=axis, keepdims=True)
    return features / np.where(length > 0, length, 1)

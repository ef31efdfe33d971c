"""From logits to the class of each pixel of the picture, resized as the reference resizes them.

The logits of 172 classes for 12 megapixels take 8 GB, so they are made a few rows at a time: bilinear resizing is
separable, and the class of a pixel depends on the logits of that pixel alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from ms_seg.data.preprocessing import Geometry
from ms_seg.postprocessing import native
from ms_seg.postprocessing.resizing import Taps

_BAND_BYTES = 4 << 20  # of logits at a time: what stays in the processor's cache is fastest


class ClassMaps(Protocol):
    """A value of every class at every pixel of a picture."""

    @property
    def geometry(self) -> Geometry:
        """The sizes that the picture went through."""

    @property
    def num_classes(self) -> int: ...

    @property
    def values(self) -> np.ndarray:
        """(C, h, w) float32, of the network's input."""

    def bands(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Rows of the picture and their values (rows, W, C) float32, from top to bottom. They may be overwritten."""


def band_rows(maps: ClassMaps) -> Iterator[slice]:
    """Rows of the picture, from top to bottom, as many at a time as are fast."""
    height, width = maps.geometry.picture
    step = max(1, _BAND_BYTES // (width * maps.num_classes * np.dtype(np.float32).itemsize))
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))


@dataclass(frozen=True, eq=False)
class Logits:
    """The logits of a network for a picture, and how they are resized to the picture.

    values: (C, h, w) float32, of the network's padded input. geometry: as `network_input` returned it.
    via_input: resize to the network's input first, then to the picture, as mmsegmentation does, instead of at once.
    With a padded input there are always two steps, since the padding is cut off in between. align_corners: of the step
    to the input.
    """

    values: np.ndarray
    geometry: Geometry
    via_input: bool
    align_corners: bool = False

    @property
    def num_classes(self) -> int:
        return len(self.values)

    def taps(self) -> tuple[tuple[Taps, Taps], tuple[Taps, Taps]]:
        """Along rows and columns: from the values to the network's input, and from there to the picture."""
        geometry = self.geometry
        if not self.via_input and geometry.padded == geometry.resized:
            geometry = Geometry(geometry.picture, geometry.picture, geometry.picture)
        (height, width), resized, picture = self.values.shape[1:], geometry.resized, geometry.picture
        to_input = (
            Taps.between(height, geometry.padded[0], self.align_corners).part(slice(resized[0])),
            Taps.between(width, geometry.padded[1], self.align_corners).part(slice(resized[1])),
        )
        return to_input, (Taps.between(resized[0], picture[0]), Taps.between(resized[1], picture[1]))

    def bands(self) -> Iterator[tuple[slice, np.ndarray]]:
        values = np.ascontiguousarray(self.values.transpose(1, 2, 0))  # (h, w, C): the classes of a pixel lie together
        (input_rows, input_columns), (picture_rows, picture_columns) = self.taps()
        same_columns = len(picture_columns.weight) == len(input_columns.weight)
        for rows in band_rows(self):
            sources = picture_rows.sources(rows)
            band = input_rows.part(sources).apply(values, 0)
            band = picture_rows.part(rows, first_source=sources.start).apply(band, 0)
            band = input_columns.apply(band, 1)
            yield rows, band if same_columns else picture_columns.apply(band, 1)


def probabilities(logits: ClassMaps) -> np.ndarray:
    """The softmax over the classes at each pixel of the picture, (C, H, W) float32."""
    result = np.empty((logits.num_classes, *logits.geometry.picture), np.float32)
    for rows, band in logits.bands():
        softmax(band)
        result[:, rows] = band.transpose(2, 0, 1)
    return result


def label_pixels(maps: ClassMaps, shares: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The most probable class of each pixel, and how probable each class is where it was chosen.

    shares: how probable a class is, is its share in the sum of all values, none of which is negative, and not its
        softmax probability.

    Returns: label_map (H, W) int32 at the picture's own size; scores (C,) float64 of 0..1, the mean probability of a
        class over the pixels that it was chosen for, 0 for a class without pixels.
    """
    if isinstance(maps, Logits) and native.available():
        label_map, sums = native.best_classes(maps.values.transpose(1, 2, 0), *maps.taps(), shares)
    else:
        label_map, sums = np.empty(maps.geometry.picture, np.int32), np.zeros(maps.num_classes)
        for rows, band in maps.bands():
            label_map[rows], band_sums = best_classes(band, shares)
            sums += band_sums
    return label_map, sums / np.maximum(np.bincount(label_map.ravel(), minlength=len(sums)), 1)


def best_classes(values: np.ndarray, shares: bool) -> tuple[np.ndarray, np.ndarray]:
    """The class of the highest of the values (rows, columns, C) at each pixel, which may be overwritten.

    Returns: label_map (rows, columns) int32, and for each class the sum of its probabilities, see `label_pixels`.
    """
    if native.available():
        here = tuple(Taps.between(side, side) for side in values.shape[:2])
        return native.best_classes(values, here, here, shares)
    chosen = values.argmax(axis=2)
    highest = np.take_along_axis(values, chosen[..., None], axis=2)
    if shares:
        probability = highest[..., 0] / np.maximum(values.sum(axis=2), np.finfo(np.float32).tiny)
    else:
        values -= highest
        probability = 1 / np.exp(values, out=values).sum(axis=2)
    return chosen.astype(np.int32), np.bincount(chosen.ravel(), probability.ravel(), values.shape[2])


def label_by_mask(logits: ClassMaps) -> tuple[np.ndarray, np.ndarray]:
    """The mask of the second of two classes, resized as a picture: ModelScope's TextDrivenSeg.postprocess.

    Returns: as `label_pixels`, but the scores are means over the pixels of the logits, at the input's size.
    """
    (height, width), size = logits.geometry.resized, logits.geometry.picture
    values = logits.values[:, :height, :width]
    margin = values[1] - values[0]
    chosen = margin > 0
    mask = Image.fromarray(np.where(chosen, 255, 0).astype(np.uint8))
    label_map = np.asarray(mask.resize(size[::-1], Image.Resampling.BILINEAR)) >= 128
    probability = 1 / (1 + np.exp(-abs(margin.astype(np.float64))))
    sums, areas = np.bincount(chosen.ravel(), probability.ravel(), 2), np.bincount(chosen.ravel(), minlength=2)
    return label_map.astype(np.int32), sums / np.maximum(areas, 1)


def softmax(logits: np.ndarray) -> None:
    """In place, over the last axis."""
    logits -= logits.max(axis=-1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=-1, keepdims=True)

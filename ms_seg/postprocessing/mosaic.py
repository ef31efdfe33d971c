"""What a network said of overlapping windows, put together at the picture's size a few rows at a time.

171 classes of an input of 896x3584 take 2.2 GB; its windows, at a quarter of their size, take 240 MB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ms_seg.data.preprocessing import Geometry
from ms_seg.postprocessing.logits import band_rows
from ms_seg.postprocessing.resizing import Taps


@dataclass(frozen=True, eq=False)
class Piece:
    """One window's values (h, w, C) float32, the classes of a pixel side by side; rows, columns: of the input."""

    rows: slice
    columns: slice
    values: np.ndarray

    @cached_property
    def _taps(self) -> tuple[Taps, Taps]:
        height, width = self.values.shape[:2]
        return (
            Taps.between(height, self.rows.stop - self.rows.start),
            Taps.between(width, self.columns.stop - self.columns.start),
        )

    def add_to(self, total: np.ndarray, count: np.ndarray, top: int) -> None:
        """Add what is there of some rows of the input, (rows, width, C) from `top` on, and to the count of windows."""
        first, last = max(self.rows.start, top), min(self.rows.stop, top + len(total))
        if first >= last:
            return
        width = min(self.columns.stop, total.shape[1]) - self.columns.start
        by_row, by_column = self._taps
        values = by_row.part(slice(first - self.rows.start, last - self.rows.start)).apply(self.values, 0)
        place = slice(first - top, last - top), slice(self.columns.start, self.columns.start + width)
        total[place] += by_column.part(slice(width)).apply(values, 1)
        count[place] += 1


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Values of windows, each resized to its window, averaged where they overlap, and resized to the picture then:
    mmsegmentation's slide_inference, number for number.

    pieces: they cover the input together; what is beyond `geometry.resized` is padding and is cut off.
    """

    pieces: Sequence[Piece]
    geometry: Geometry

    @property
    def num_classes(self) -> int:
        return self.pieces[0].values.shape[2]

    @property
    def values(self) -> np.ndarray:
        """(C, *geometry.resized) float32: all of them at the input's size."""
        return np.ascontiguousarray(self._input_rows(0, self.geometry.resized[0]).transpose(2, 0, 1))

    def bands(self) -> Iterator[tuple[slice, np.ndarray]]:
        (input_height, input_width), (height, width) = self.geometry.resized, self.geometry.picture
        by_row, by_column = Taps.between(input_height, height), Taps.between(input_width, width)
        known, first = self._input_rows(0, 0), 0  # rows of the input from `first` on: two bands share some
        for rows in band_rows(self):
            needed = by_row.sources(rows)
            begin = max(needed.start, first + len(known))
            known = np.concatenate([known[needed.start - first :], self._input_rows(begin, needed.stop)])
            first = needed.start
            band = by_row.part(rows, first).apply(known, 0)
            yield rows, band if input_width == width else by_column.apply(band, 1)

    def _input_rows(self, top: int, bottom: int) -> np.ndarray:
        """Rows of the input, (bottom - top, width, C)."""
        width = self.geometry.resized[1]
        total = np.zeros((max(bottom - top, 0), width, self.num_classes), np.float32)
        count = np.zeros((*total.shape[:2], 1), np.float32)
        for piece in self.pieces:
            piece.add_to(total, count, top)
        return np.divide(total, count, out=total)

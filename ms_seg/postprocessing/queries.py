"""What a network of queries said of a picture, and its masks at the picture's size, a tile at a time.

Two hundred masks of a picture of 12 megapixels take 10 GB, so none is ever made whole. Within a tile most queries are
nothing but background, which the few logits that the tile is made of already tell: bilinear resizing leaves no value
above the highest or below the lowest of those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ms_seg.data.preprocessing import Geometry
from ms_seg.postprocessing.logits import softmax
from ms_seg.postprocessing.resizing import Taps

_TILE = 192  # pixels, a multiple of 8: small enough to leave queries out, large enough for NumPy
_CACHED = 1 << 18  # bytes of maps at a time: what stays in the processor's cache is fastest
_MARGIN = 1e-3  # far more than the rounding of any logit

Tile = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Queries:
    """What a network said of a picture.

    class_logits: (Q, C + 1) float32, the last one for "nothing". mask_logits: (Q, h, w) float32 of the network's padded
    input. geometry: as `network_input` returned it.
    """

    class_logits: np.ndarray
    mask_logits: np.ndarray
    geometry: Geometry

    def class_probabilities(self) -> np.ndarray:
        """(Q, C + 1) float32."""
        probabilities = self.class_logits.astype(np.float64)
        softmax(probabilities)
        return probabilities.astype(np.float32)

    def masks(self, grid: int | None, chosen: np.ndarray | slice = slice(None)) -> Maps:
        """The probabilities of some queries' masks at the picture's size: resized as logits, or, of a grid, as such."""
        if grid is None:
            return Maps(self.mask_logits[chosen], self.geometry, via_input=True, finish=sigmoid)
        return Maps(self.on_grid(grid, chosen), self.geometry)

    def on_grid(self, side: int, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The probabilities of some queries' masks on a square, (K, side, side) float32."""
        return sigmoid(self.logits_on_grid(side, chosen))

    def logits_on_grid(self, side: int, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The logits of some queries' masks on a square, (K, side, side) float32."""
        values = self.mask_logits[chosen]
        rows, columns = (Taps.between(size, side) for size in values.shape[1:])
        return rows.blend(columns.blend(values, 2), 1)


class Maps:
    """Maps (K, h, w) float32 of the network's padded input on their way to the picture, bilinear, as PyTorch resizes.

    via_input: by way of the input's size, instead of at once. A padded input is always undone in two steps, since its
        padding is cut off in between.
    finish: what becomes of each value at the end; a function that does not fall.
    """

    def __init__(
        self,
        values: np.ndarray,
        geometry: Geometry,
        via_input: bool = False,
        finish: Callable[[np.ndarray], np.ndarray] | None = None,
    ):
        self.values, self.size, self._finish = values, geometry.picture, finish
        if via_input or geometry.padded != geometry.resized:
            self._steps = [_taps(values.shape[1:], geometry.padded), _taps(geometry.resized, geometry.picture)]
        else:
            self._steps = [_taps(values.shape[1:], geometry.picture)]

    def tiles(self) -> Iterator[Tile]:
        """Rows and columns of the picture, tile by tile; a tile begins at a multiple of eight."""
        height, width = self.size
        for top in range(0, height, _TILE):
            for left in range(0, width, _TILE):
                yield slice(top, min(top + _TILE, height)), slice(left, min(left + _TILE, width))

    def bounds(self, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
        """Below and above what every map has in a tile: two arrays (K,)."""
        rows, columns = self._windows(tile)[0]
        part = self.values[:, rows, columns]
        bounds = part.min(axis=(1, 2)) - _MARGIN, part.max(axis=(1, 2)) + _MARGIN
        return tuple(map(self._finish, bounds)) if self._finish else bounds

    def cut(self, tile: Tile, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Some of the maps in a tile, (k, rows, columns) float32."""
        windows = self._windows(tile)
        rows, columns = windows[0]
        steps = [
            (by_column.part(target[1], source[1].start), by_row.part(target[0], source[0].start))
            for (by_row, by_column), source, target in zip(self._steps, windows, windows[1:], strict=False)
        ]
        part = self.values[chosen, rows, columns]
        result = np.empty((len(part), *(side.stop - side.start for side in tile)), np.float32)
        step = max(1, _CACHED // max(result[0].nbytes, 1)) if len(part) else 1
        for start in range(0, len(part), step):
            few = part[start : start + step]
            for by_column, by_row in steps:
                few = by_row.blend(by_column.blend(few, 2), 1)
            result[start : start + step] = self._finish(few) if self._finish else few
        return result

    def _windows(self, tile: Tile) -> list[Tile]:
        """The rows and columns that a tile is made of, from the values to the picture."""
        windows = [tile]
        for taps in reversed(self._steps):
            windows.insert(0, tuple(axis.sources(part) for axis, part in zip(taps, windows[0], strict=True)))
        return windows


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """In float32, from an exponential that is rounded once, which is nearest to PyTorch's."""
    with np.errstate(over="ignore"):
        exponential = np.exp(-logits.astype(np.float64)).astype(np.float32)
    exponential += 1
    return np.divide(1, exponential, out=exponential)


def _taps(source: tuple[int, int], target: tuple[int, int]) -> tuple[Taps, Taps]:
    return Taps.between(source[0], target[0]), Taps.between(source[1], target[1])

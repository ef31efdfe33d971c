"""The output of a network of queries, and its masks at the picture's size, one tile at a time.

Two hundred masks of a picture of 12 megapixels take 10 GB, so they are never made whole. In most tiles, most queries
are background, and the few logits that a tile is interpolated from tell: bilinear resizing makes no value above the
highest of them or below the lowest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ms_seg.data.preprocessing import Geometry
from ms_seg.postprocessing import native
from ms_seg.postprocessing.logits import softmax
from ms_seg.postprocessing.resizing import Taps
from ms_seg.postprocessing.rules import OWN_GRID

_TILE = 192  # pixels, a multiple of 8: small enough to leave queries out, large enough for NumPy
_CACHE_BYTES = 1 << 18  # of masks at a time: what stays in the processor's cache is fastest
_MARGIN = 1e-3  # far more than the rounding of any logit

Tile = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Queries:
    """The output of a network of queries for a picture.

    class_logits: (Q, C + 1) float32, "no object" last. mask_logits: (Q, h, w) float32, of the network's padded input.
    geometry: as `network_input` returned it.
    """

    class_logits: np.ndarray
    mask_logits: np.ndarray
    geometry: Geometry

    def class_probabilities(self) -> np.ndarray:
        """(Q, C + 1) float32."""
        return class_probabilities(self.class_logits)

    def masks(self, grid: int | None, chosen: np.ndarray | slice = slice(None)) -> UpsampledMasks:
        """The mask probabilities of some queries at the picture's size: of logits resized, or resized from a grid."""
        if grid is None:
            return UpsampledMasks(self.mask_logits[chosen], self.geometry, via_input=True, activation=sigmoid)
        return UpsampledMasks(self.on_grid(grid, chosen), self.geometry)

    def on_grid(self, side: int, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The mask probabilities of some queries on a square grid, (K, side, side) float32, or on their own."""
        return sigmoid(self.logits_on_grid(side, chosen))

    def logits_on_grid(self, side: int, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The mask logits of some queries on a square grid, (K, side, side) float32, or on their own."""
        values = self.mask_logits[chosen]
        if side == OWN_GRID:
            return values
        rows, columns = (Taps.between(size, side) for size in values.shape[1:])
        return resize_maps(values, columns, rows)


class UpsampledMasks:
    """Maps (K, h, w) float32 of the network's padded input, resized to the picture as PyTorch does: bilinear.

    via_input: resize to the network's input first, then to the picture, instead of at once. With a padded input there
        are always two steps, since the padding is cut off in between.
    activation: a function that does not decrease, applied to the resized values.
    """

    def __init__(
        self,
        values: np.ndarray,
        geometry: Geometry,
        via_input: bool = False,
        activation: Callable[[np.ndarray], np.ndarray] | None = None,
    ):
        self.values, self.size, self._activation = values, geometry.picture, activation
        if via_input or geometry.padded != geometry.resized:
            self._steps = [_taps(values.shape[1:], geometry.padded), _taps(geometry.resized, geometry.picture)]
        else:
            self._steps = [_taps(values.shape[1:], geometry.picture)]

    def tiles(self) -> Iterator[Tile]:
        """See `tiles`."""
        return tiles(self.size)

    def bounds(self, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
        """A lower and an upper bound of each map's values in a tile: two arrays (K,)."""
        rows, columns = self._windows(tile)[0]
        part = self.values[:, rows, columns]
        bounds = part.min(axis=(1, 2)) - _MARGIN, part.max(axis=(1, 2)) + _MARGIN
        return (self._activation(bounds[0]), self._activation(bounds[1])) if self._activation else bounds

    def crop(self, tile: Tile, chosen: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Some of the maps in a tile, (k, rows, columns) float32."""
        windows = self._windows(tile)
        rows, columns = windows[0]
        steps = [
            (by_column.part(target[1], source[1].start), by_row.part(target[0], source[0].start))
            for (by_row, by_column), source, target in zip(self._steps, windows, windows[1:], strict=False)
        ]
        part = self.values[chosen, rows, columns]
        if native.available() and self._activation in (None, sigmoid):
            return native.resize_maps(part, steps, sigmoid=self._activation is sigmoid)
        result = np.empty((len(part), *(side.stop - side.start for side in tile)), np.float32)
        step = max(1, _CACHE_BYTES // max(result[0].nbytes, 1)) if len(part) else 1
        for start in range(0, len(part), step):
            few = part[start : start + step]
            for by_column, by_row in steps:
                few = resize_maps(few, by_column, by_row)
            result[start : start + step] = self._activation(few) if self._activation else few
        return result

    def _windows(self, tile: Tile) -> list[Tile]:
        """The rows and columns that a tile is interpolated from, from the values to the picture."""
        windows = [tile]
        for taps in reversed(self._steps):
            (by_row, by_column), (rows, columns) = taps, windows[0]
            windows.insert(0, (by_row.sources(rows), by_column.sources(columns)))
        return windows


def tiles(size: tuple[int, int]) -> Iterator[Tile]:
    """Rows and columns of a picture (height, width), tile by tile; each tile begins at a multiple of eight."""
    height, width = size
    for top in range(0, height, _TILE):
        for left in range(0, width, _TILE):
            yield slice(top, min(top + _TILE, height)), slice(left, min(left + _TILE, width))


def class_probabilities(class_logits: np.ndarray) -> np.ndarray:
    """The softmax of (Q, C + 1) float32 over the classes, computed in float64: float32 of the same shape."""
    probabilities = class_logits.astype(np.float64)
    softmax(probabilities)
    return probabilities.astype(np.float32)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """float32, with an exponential that is rounded once, which comes nearest to PyTorch's."""
    with np.errstate(over="ignore"):
        exponential = np.exp(-logits.astype(np.float64)).astype(np.float32)
    exponential += 1
    return np.divide(1, exponential, out=exponential)


def resize_maps(maps: np.ndarray, by_column: Taps, by_row: Taps) -> np.ndarray:
    """(K, h, w) float32 -> (K, H, W), along the columns and then along the rows, as PyTorch does it."""
    if native.available():
        return native.resize_maps(maps, [(by_column, by_row)], sigmoid=False)
    return by_row.blend(by_column.blend(maps, 2), 1)


def _taps(source: tuple[int, ...], target: tuple[int, ...]) -> tuple[Taps, Taps]:
    return Taps.between(source[0], target[0]), Taps.between(source[1], target[1])

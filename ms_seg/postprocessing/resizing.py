"""Bilinear resizing in NumPy, with PyTorch's positions to the last bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Taps:
    """Bilinear resizing along one axis: for each target position the two source positions beside it, and the weight of
    the upper one."""

    lower: np.ndarray
    upper: np.ndarray
    weight: np.ndarray

    @classmethod
    def between(cls, source: int, target: int, align_corners: bool = False) -> Taps:
        """With the positions of PyTorch's CPU kernel to the last bit, since their rounding changes labels.

        Without align_corners: a float32 scale and one fused multiply-subtract, for which float64 stands in.
        """
        if align_corners:
            step = np.float32(source - 1) / np.float32(max(target - 1, 1))
            positions = np.arange(target, dtype=np.float32) * step
        else:
            scale = np.float64(np.float32(source) / np.float32(target))
            positions = np.maximum((np.arange(target) + 0.5) * scale - 0.5, 0).astype(np.float32)
        lower = np.minimum(positions.astype(np.intp), source - 1)
        return cls(lower, np.minimum(lower + 1, source - 1), positions - lower.astype(np.float32))

    def part(self, targets: slice, first_source: int = 0) -> Taps:
        """The taps of some targets, on a source that begins at `first_source`."""
        return Taps(self.lower[targets] - first_source, self.upper[targets] - first_source, self.weight[targets])

    def sources(self, targets: slice) -> slice:
        """The source positions that some targets are interpolated from."""
        return slice(int(self.lower[targets][0]), int(self.upper[targets][-1]) + 1)

    def blend(self, values: np.ndarray, axis: int) -> np.ndarray:
        """Resize along an axis, with PyTorch's arithmetic too, to the last bit: a product and a fused multiply-add.

        Of two axes PyTorch resizes the last one first. float64 stands in for the fused operation and takes twice the
        time of `apply`.
        """
        weight = self.weight.reshape(-1, *[1] * (values.ndim - 1 - axis))
        upper = values.take(self.upper, axis)
        upper *= weight
        result = values.take(self.lower, axis).astype(np.float64)
        result *= 1 - weight  # float32, as PyTorch's
        result += upper
        return result.astype(np.float32)

    def apply(self, values: np.ndarray, axis: int) -> np.ndarray:
        """Resize (rows, columns, C) along axis 0 or 1."""
        lower, result = values.take(self.lower, axis), values.take(self.upper, axis)
        result -= lower
        result *= np.expand_dims(self.weight, (1, 2) if axis == 0 else (0, 2))
        result += lower
        return result


def resize(logits: np.ndarray, size: tuple[int, int], align_corners: bool = False) -> np.ndarray:
    """(C, h, w) float32 -> (C, *size)."""
    values = np.ascontiguousarray(logits.transpose(1, 2, 0))  # (h, w, C): the classes of a pixel lie together
    values = Taps.between(values.shape[0], size[0], align_corners).apply(values, 0)
    return Taps.between(values.shape[1], size[1], align_corners).apply(values, 1).transpose(2, 0, 1)

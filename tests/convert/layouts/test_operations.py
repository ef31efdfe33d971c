"""Operations on tensors, forwards and backwards."""

from __future__ import annotations

import numpy as np
import pytest

from convert.layouts.operations import POINTWISE, TRANSPOSED, UNFOLDED, Operation, stacked


@pytest.mark.parametrize(
    ("operation", "shapes"),
    [
        (stacked(1, 1), [(2, 5), (2, 5)]),
        (stacked(1, 2), [(2, 5), (4, 5)]),
        (stacked(1, 1, axis=1), [(3, 2), (3, 2)]),
        (POINTWISE, [(4, 5)]),
        (TRANSPOSED, [(4, 5)]),
        (UNFOLDED, [(4, 12)]),
    ],
    ids=["equal parts", "one to two", "columns", "pointwise", "transposed", "unfolded"],
)
def test_operations_know_their_way_back(operation: Operation, shapes: list[tuple[int, int]]):
    parts = [np.random.default_rng(index).standard_normal(shape) for index, shape in enumerate(shapes)]
    for part, again in zip(parts, operation.backward(operation.forward(parts)), strict=True):
        np.testing.assert_array_equal(again, part)


def test_what_cannot_be_split_is_refused_with_what_it_must_be():
    with pytest.raises(ValueError, match="the number of rows must be a multiple of 3 to be split 1:2: 10 is not"):
        stacked(1, 2).backward([np.zeros((10, 4))])


def test_mmdetections_merged_patches_come_into_the_originals_order():
    """mmdetection: each channel of the four patches, row by row; the original: each patch, column by column."""
    names = np.array([f"{channel}{place}" for channel in "abc" for place in ("00", "01", "10", "11")])  # row, column
    (norm,) = UNFOLDED.forward([names])
    assert norm.tolist() == [f"{channel}{place}" for place in ("00", "10", "01", "11") for channel in "abc"]

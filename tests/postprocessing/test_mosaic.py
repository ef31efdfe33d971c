"""What windows gave, put together and resized to the picture."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from ms_seg.data.preprocessing import Geometry
from ms_seg.postprocessing import logits as postprocessing
from ms_seg.postprocessing.logits import Logits, label_pixels
from ms_seg.postprocessing.mosaic import Mosaic, Piece
from ms_seg.postprocessing.resizing import resize
from ms_seg.postprocessing.semantic import label_scores

SIZE = (24, 40)  # of the input
PLACES = [(slice(0, 16), slice(0, 16)), (slice(0, 16), slice(12, 28)), (slice(8, 24), slice(0, 40)),
          (slice(0, 16), slice(24, 40))]  # fmt: skip


def drawn_pieces(classes: int = 5) -> list[Piece]:
    """Of windows whose values are a quarter of their size."""
    rng = np.random.default_rng(0)
    return [
        Piece(rows, columns, rng.random((4, (columns.stop - columns.start) // 4, classes), np.float32))
        for rows, columns in PLACES
    ]


def averaged(pieces: list[Piece]) -> np.ndarray:
    """The values of all classes at the input's size (C, h, w), each window resized by itself."""
    total, count = np.zeros((5, *SIZE), np.float32), np.zeros(SIZE, np.float32)
    for piece in pieces:
        size = piece.rows.stop - piece.rows.start, piece.columns.stop - piece.columns.start
        total[:, piece.rows, piece.columns] += resize(piece.values.transpose(2, 0, 1), size)
        count[piece.rows, piece.columns] += 1
    return total / count


@pytest.mark.parametrize("picture", [(24, 40), (61, 93), (13, 22), (7, 40), (200, 11)], ids=str)
@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_bands_are_those_of_all_values_made_at_once(picture, rows, monkeypatch):
    monkeypatch.setattr(postprocessing, "_BAND_BYTES", rows * picture[1] * 5 * 4)
    pieces = drawn_pieces()
    geometry = Geometry(picture, SIZE, SIZE)
    at_once = Logits(averaged(pieces), geometry, via_input=True)
    mosaic = Mosaic(pieces, geometry)
    for (ours, band), (theirs, expected) in zip(mosaic.bands(), at_once.bands(), strict=True):
        assert ours == theirs
        np.testing.assert_array_equal(band, expected)
    np.testing.assert_array_equal(mosaic.values, at_once.values)


def test_padding_is_cut_off_before_the_picture_is_made():
    seen = Geometry((40, 60), (20, 30), SIZE)
    mosaic = Mosaic(drawn_pieces(), seen)
    cut = averaged(drawn_pieces())[:, :20, :30]
    np.testing.assert_array_equal(mosaic.values, cut)
    expected = label_pixels(Logits(cut, Geometry((40, 60), (20, 30), (20, 30)), via_input=True))[0]
    np.testing.assert_array_equal(label_pixels(mosaic)[0], expected)


def test_a_class_scores_what_it_has_of_all_scores_where_it_was_chosen():
    above = Piece(slice(0, 4), slice(0, 8), np.float32([[[0.6, 0.2]]]))
    below = Piece(slice(4, 8), slice(0, 8), np.float32([[[0.1, 0.3]]]))
    label_map, scores = label_scores(Mosaic([above, below], Geometry((8, 8), (8, 8), (8, 8))))
    assert label_map.dtype == np.int32
    assert np.all(label_map[:4] == 0) and np.all(label_map[4:] == 1)
    assert scores == pytest.approx([0.75, 0.75])


def test_many_classes_of_a_wide_input_take_little_memory():
    values = np.random.default_rng(0).random((32, 32, 100), np.float32)
    pieces = [Piece(slice(0, 128), slice(left, left + 128), values) for left in range(0, 1024, 64)]
    tracemalloc.start()
    label_scores(Mosaic(pieces, Geometry((300, 2400), (128, 1088), (128, 1088))))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6  # all values of the input are 56 MB, and of the picture 288 MB

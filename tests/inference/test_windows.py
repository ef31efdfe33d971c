"""Windows over a large input."""

import numpy as np
import pytest

from ms_seg.data.preprocessing import Geometry
from ms_seg.inference.windows import slide as slide_pieces
from ms_seg.inference.windows import starts as window_starts
from ms_seg.postprocessing.mosaic import Mosaic
from ms_seg.presets.preset import Window


def slide(run, images: np.ndarray, window: Window) -> np.ndarray:
    """The logits of all windows at the images' own size, (N, C, h, w)."""
    size = images.shape[2:]
    pieces = slide_pieces(run, images, window)
    return np.stack([Mosaic(own, Geometry(size, size, size)).values for own in pieces])


@pytest.mark.parametrize(
    ("length", "starts"),
    [(100, [0]), (40, [0]), (101, [0, 1]), (160, [0, 60]), (161, [0, 60, 61]), (250, [0, 60, 120, 150])],
)
def test_windows_cover_a_side_and_the_last_is_moved_back(length, starts):
    assert window_starts(length, 100, 60) == starts


def test_overlapping_windows_are_averaged():
    seen = []

    def run(part):
        seen.append(part.shape)
        return np.full((1, 1, *part.shape[2:]), len(seen), np.float32)

    logits = slide(run, np.zeros((1, 3, 8, 12), np.float32), Window(8, 4))
    assert seen == [(1, 3, 8, 8)] * 2
    assert logits[0, 0, 0].tolist() == [1] * 4 + [1.5] * 4 + [2] * 4


def test_windows_that_are_no_squares_have_a_step_for_each_side():
    seen = []

    def run(part):
        seen.append(part.shape[2:])
        return np.full((1, 1, *part.shape[2:]), len(seen), np.float32)

    logits = slide(run, np.zeros((1, 3, 8, 12), np.float32), Window(4, 2, across=(12, 12)))
    assert seen == [(4, 12)] * 3
    assert logits[0, 0, :, 0].tolist() == [1, 1, 1.5, 1.5, 2.5, 2.5, 3, 3]
    for wrong in ({"across": (4, 5)}, {"across": (12, 12), "exact": True}):
        with pytest.raises(ValueError, match="stride must be|must be a square"):
            Window(8, 4, **wrong)


def test_progress_is_told_of_each_window_once_it_is_done():
    told = []

    def run(part: np.ndarray) -> np.ndarray:
        told.append("run")
        return part

    slide_pieces(run, np.zeros((2, 3, 8, 16), np.float32), Window(8, 4), lambda done, of: told.append((done, of)))
    assert told == ["run", (1, 3), "run", (2, 3), "run", (3, 3)]


def test_logits_of_a_window_are_resized_to_it():
    logits = slide(lambda part: part[:, :, ::4, ::4], np.ones((1, 3, 20, 30), np.float32), Window(16, 16))
    assert logits.shape == (1, 3, 20, 30)
    assert np.all(logits == 1)


@pytest.mark.parametrize("stride", [0, 9])
def test_a_stride_that_leaves_gaps_or_stands_still_is_refused(stride):
    with pytest.raises(ValueError, match=f"stride must be 1 to 8, the side of the window: {stride} is not"):
        Window(8, stride)


def test_an_exact_window_sees_a_short_side_padded_with_zeros():
    seen = []

    def run(part: np.ndarray) -> np.ndarray:
        seen.append(part)
        return part

    images = np.ones((2, 3, 5, 12), np.float32)
    logits = slide(run, images, Window(8, 6, exact=True))
    assert [part.shape for part in seen] == [(2, 3, 8, 8)] * 2
    assert all((part[:, :, :5] == 1).all() and (part[:, :, 5:] == 0).all() for part in seen)
    np.testing.assert_array_equal(logits, images)

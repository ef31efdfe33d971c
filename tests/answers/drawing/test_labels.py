"""Sheets of pictures and labels, for any number of classes and pictures of any shape."""

from __future__ import annotations

import numpy as np
import pytest

from ms_seg.answers.drawing.colours import class_colours
from ms_seg.answers.drawing.labels import Labelled, draw_label_map, draw_sheet
from ms_seg.label_sets import numbered_labels, read_labels


def pair(size: tuple[int, int], classes: int) -> Labelled:
    rng = np.random.default_rng(sum(size))
    picture = rng.integers(0, 256, (*size, 3), np.uint8)
    return Labelled("name", picture, rng.integers(0, classes, size).astype(np.uint8))


@pytest.mark.parametrize("size", [(48, 64), (600, 20), (20, 2000), (1, 1), (3, 900)])
def test_a_sheet_of_pictures_of_any_shape_has_a_size_that_can_be_seen(size):
    sheet = draw_sheet([pair(size, 3)] * 5, numbered_labels(3), np.bincount([0, 1, 2], minlength=256))
    assert 1200 <= sheet.width < 1400 and 60 < sheet.height < 2000


def test_all_of_150_classes_have_a_line_with_their_share():
    label_set = read_labels("ade20k")
    counts = np.zeros(256, np.int64)
    counts[:150], counts[255] = np.arange(150), 100
    few = draw_sheet([pair((48, 64), 2)], numbered_labels(2), np.bincount([0, 1], minlength=256))
    many = draw_sheet([pair((48, 64), 150)], label_set, counts)
    columns = many.width // 250
    assert many.height - few.height > 150 / columns * 15
    colours = {colour for _, colour in many.getcolors(1 << 24)}
    assert {tuple(colour) for colour in class_colours(label_set)[:150].tolist()} <= colours


def test_a_label_map_is_drawn_in_its_colours_and_black_where_it_is_ignored():
    label_set = numbered_labels(3)
    drawn = np.array(draw_label_map(np.uint8([[0, 1], [2, 255]]), label_set))
    corners = drawn[[5, 5, 250, 250], [5, 250, 5, 250]]
    assert np.array_equal(corners, [*label_set.palette, [0, 0, 0]])

"""Sheets of pictures and labels, for any number of classes and pictures of any shape."""

from __future__ import annotations

import numpy as np
import pytest

from ms_seg.answers.drawing import labels
from ms_seg.answers.drawing.colours import class_colours
from ms_seg.answers.drawing.labels import Labelled, draw_label_map, draw_sheet
from ms_seg.answers.drawing.panels import titled
from ms_seg.label_sets import LabelSet, numbered_labels, read_labels


def pair(size: tuple[int, int], classes: int) -> Labelled:
    rng = np.random.default_rng(sum(size))
    picture = rng.integers(0, 256, (*size, 3), np.uint8)
    return Labelled("name", picture, rng.integers(0, classes, size).astype(np.uint8))


@pytest.mark.parametrize("size", [(48, 64), (600, 20), (20, 2000), (1, 1), (3, 900)])
def test_a_sheet_of_pictures_of_any_shape_has_a_size_that_can_be_seen(size):
    sheet = draw_sheet([pair(size, 3)] * 5, numbered_labels(3), np.bincount([0, 1, 2], minlength=256))
    assert 1200 <= sheet.width < 1400 and 60 < sheet.height < 2000


def test_a_wide_picture_has_the_width_of_two(monkeypatch):
    told = []
    monkeypatch.setattr(labels, "titled", lambda panel, title: told.append(panel.shape[:2]) or titled(panel, title))
    draw_sheet([pair((60, 1200), 2), pair((900, 60), 2), pair((90, 120), 2)], numbered_labels(2), np.zeros(256, int))
    assert told == [(2 * 30 + 4, 604), (450, 2 * 30 + 4), (225, 2 * 300 + 4)]


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 0, 255)])
def test_the_colours_over_a_picture_are_those_of_the_classes_whatever_its_own(colour):
    picture = np.full((225, 300, 3), colour, np.uint8)
    label_set = LabelSet(("grass",), np.uint8([[0, 200, 0]]))
    sheet = np.array(draw_sheet([Labelled("", picture, np.zeros((225, 300), np.uint8))], label_set, np.ones(256, int)))
    red, green, blue = sheet[100, 500].astype(int)
    assert red == blue and green == red + 100


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

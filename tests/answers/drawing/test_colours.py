"""Which colours classes and segments are drawn in."""

import cv2
import numpy as np
import pytest

from ms_seg.answers.drawing.colours import NO_CLASS_COLOUR, blend, class_colours, segment_colours
from ms_seg.label_sets import numbered_labels, read_labels

PUBLISHED = ["ade20k", "cityscapes", "coco_panoptic", "cocostuff164k", "mapillary", "pascal_context_59"]


def nearest(table: np.ndarray) -> float:
    lab = cv2.cvtColor(np.float32(table)[None] / 255, cv2.COLOR_RGB2Lab)[0]
    distances = np.linalg.norm(lab[:, None] - lab, axis=2)
    np.fill_diagonal(distances, np.inf)
    return distances.min()


@pytest.mark.parametrize("name", PUBLISHED)
def test_no_two_classes_of_a_published_set_look_alike(name: str):
    assert nearest(class_colours(read_labels(name))[:-1]) >= 10


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_class_keeps_its_published_colour_unless_an_earlier_one_looks_like_it(name: str):
    labels, table = read_labels(name), class_colours(read_labels(name))
    kept = [index for index in range(len(labels)) if np.array_equal(table[index], labels.palette[index])]
    assert kept[0] == 0
    for index in set(range(len(labels))).difference(kept):
        earlier = [labels.palette[other] for other in kept if other < index]
        assert nearest(np.array([*earlier, labels.palette[index]])) < 10


def test_classes_that_share_a_published_colour_are_told_apart():
    labels = read_labels("cocostuff164k")
    person, bicycle = labels.names.index("person"), labels.names.index("bicycle")
    assert np.array_equal(labels.palette[person], labels.palette[bicycle])
    table = class_colours(labels)
    assert np.array_equal(table[person], labels.palette[person])
    assert np.abs(table[person].astype(int) - table[bicycle]).max() > 50


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_colour_that_stands_in_is_not_far_from_the_published_one(name: str):
    labels = read_labels(name)
    pairs = np.float32([labels.palette, class_colours(labels)[:-1]]) / 255
    published, drawn = (cv2.cvtColor(table[None], cv2.COLOR_RGB2Lab)[0] for table in pairs)
    moved = np.linalg.norm(published - drawn, axis=1)
    assert moved.mean() < 20 and moved.max() < 90  # 70 and more on average where it is any colour


def test_what_has_no_class_is_grey():
    assert tuple(class_colours(read_labels("ade20k"))[-1]) == NO_CLASS_COLOUR


def test_more_classes_than_colours_can_be_told_apart_all_get_one():
    table = class_colours(numbered_labels(1000))
    assert table.shape == (1001, 3)


def test_segments_of_a_class_begin_with_its_colour_and_never_share_one():
    labels = read_labels("coco_panoptic")
    colours = segment_colours([7, 3, 7, 7, 3, *[11] * 200], labels)
    assert colours[0].tolist() == class_colours(labels)[7].tolist()
    assert colours[1].tolist() == class_colours(labels)[3].tolist()
    assert len(np.unique(colours, axis=0)) == len(colours)
    assert colours.any(axis=1).all()


def test_a_map_of_bytes_is_coloured_as_one_of_any_other_type():
    drawn = np.random.default_rng(0)
    picture, table = drawn.integers(0, 256, (40, 60, 3), np.uint8), drawn.integers(0, 256, (256, 3), np.uint8)
    index_map = np.kron(drawn.integers(0, 256, (8, 12)), np.ones((5, 5), int))
    for clear in (None, 7):
        expected = blend(picture, index_map.astype(np.int32), table, 0.4, clear)
        np.testing.assert_array_equal(blend(picture, index_map.astype(np.uint8), table, 0.4, clear), expected)

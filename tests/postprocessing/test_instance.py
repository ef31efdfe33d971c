"""From queries to instances, and to the classes of pixels."""

import numpy as np
import pytest

from ms_seg.data.preprocessing import Geometry
from ms_seg.postprocessing.instance import find_instances
from ms_seg.postprocessing.rules import RULES
from ms_seg.postprocessing.semantic import label_queries
from tests.postprocessing.test_panoptic import CAR, PERSON, SKY, THINGS, columns, queries_of

INSIDE = 1 / (1 + np.exp(-8))


def test_masks_may_overlap_and_the_surest_comes_first():
    found = find_instances(queries_of(columns((0, 30), (20, 40)), [CAR, PERSON], [0.6, 0.9]), THINGS, RULES["mmdet"])
    assert found.labels[:2].tolist() == [PERSON, CAR]
    assert found.scores[:2] == pytest.approx([0.9 * INSIDE, 0.6 * INSIDE], rel=1e-5)
    assert found.areas[:2].tolist() == [600, 900]
    assert np.array_equal(found.mask(1)[0], np.arange(40) < 30)


def test_stuff_is_no_instance():
    found = find_instances(queries_of(columns((0, 30), (20, 40)), [CAR, SKY], [0.6, 0.9]), THINGS, RULES["mmdet"])
    assert SKY not in found.labels
    every = find_instances(
        queries_of(columns((0, 30), (20, 40)), [CAR, SKY], [0.6, 0.9]), THINGS, RULES["transformers"]
    )
    assert every.labels.tolist() == [SKY, CAR]


def test_at_most_a_hundred_are_found_and_none_without_a_pixel():
    masks = columns(*[(0, 40)] * 60)
    masks[7] = np.zeros_like(masks[7])
    found = find_instances(queries_of(masks, [CAR] * 60, [0.7] * 60), THINGS, RULES["mmdet"])
    assert len(found) <= 100
    assert np.all(found.areas > 0)


def test_a_width_that_is_no_multiple_of_eight_keeps_its_last_columns():
    geometry = Geometry((33, 203), (30, 40), (30, 40))
    found = find_instances(queries_of(columns((20, 40)), [CAR], [0.9], geometry), THINGS, RULES["mmdet"])
    mask = found.mask(0)
    assert mask.shape == (33, 203)
    assert mask[:, 110:].all()
    assert not mask[:, :95].any()


@pytest.mark.parametrize("rule", RULES)
def test_a_picture_without_queries_that_are_sure_has_an_answer(rule):
    queries = queries_of(columns((0, 0)), [CAR], [0.9])
    assert len(find_instances(queries, THINGS, RULES[rule])) == 0
    assert label_queries(queries, RULES[rule])[0].shape == (30, 40)


@pytest.mark.parametrize("rule", RULES)
def test_a_pixel_is_of_the_class_that_its_queries_say(rule):
    queries = queries_of(columns((0, 20), (20, 40), (0, 20)), [CAR, SKY, PERSON], [0.6, 0.9, 0.5])
    labels, scores = label_queries(queries, RULES[rule])
    assert labels.dtype == np.int32
    assert np.all(labels[:, :19] == CAR)
    assert np.all(labels[:, 21:] == SKY)
    assert scores[CAR] == pytest.approx(0.6 / 1.1, abs=0.02)
    assert scores[PERSON] == 0


def test_classes_of_padding_are_cut_off():
    geometry = Geometry((90, 60), (30, 20), (30, 40))
    labels, _ = label_queries(queries_of(columns((0, 20), (20, 40)), [CAR, SKY], [0.9, 0.9], geometry), RULES["mmdet"])
    assert labels.shape == (90, 60)
    assert np.all(labels[:, :57] == CAR)

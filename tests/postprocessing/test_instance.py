"""From queries to instances."""

import numpy as np
import pytest

from ms_seg.data.preprocessing import Geometry
from ms_seg.postprocessing.instance import instance_inference
from ms_seg.postprocessing.rules import RULES
from tests.postprocessing.test_panoptic import CAR, PERSON, SKY, THINGS, columns, queries_of

INSIDE = 1 / (1 + np.exp(-8))


def test_masks_may_overlap_and_the_surest_comes_first():
    queries = queries_of(columns((0, 30), (20, 40)), [CAR, PERSON], [0.6, 0.9])
    found = instance_inference(queries, THINGS, RULES["mmdet"])
    assert found.labels[:2].tolist() == [PERSON, CAR]
    assert found.scores[:2] == pytest.approx([0.9 * INSIDE, 0.6 * INSIDE], rel=1e-5)
    assert found.areas[:2].tolist() == [600, 900]
    assert np.array_equal(found.mask(1)[0], np.arange(40) < 30)


def test_stuff_is_no_instance():
    queries = queries_of(columns((0, 30), (20, 40)), [CAR, SKY], [0.6, 0.9])
    found = instance_inference(queries, THINGS, RULES["mmdet"])
    assert found.labels[0] == CAR and SKY not in found.labels
    assert instance_inference(queries, THINGS, RULES["transformers"]).labels.tolist() == [SKY, CAR]


def test_the_hundred_most_probable_pairs_are_candidates():
    scores = np.linspace(0.5, 0.9, 120)
    found = instance_inference(queries_of(columns(*[(0, 40)] * 120), [CAR] * 120, scores), THINGS, RULES["mmdet"])
    assert found.labels.tolist() == [CAR] * 100
    assert found.scores == pytest.approx(scores[:19:-1] * INSIDE, rel=1e-5)


def test_a_candidate_without_a_pixel_is_no_instance():
    queries = queries_of(columns((0, 0), (0, 40)), [CAR, PERSON], [0.9, 0.6])
    found = instance_inference(queries, THINGS, RULES["transformers"])
    assert found.labels.tolist() == [PERSON]
    assert found.areas.tolist() == [1200]


def test_a_width_that_is_no_multiple_of_eight_keeps_its_last_columns():
    geometry = Geometry((33, 203), (30, 40), (30, 40))
    found = instance_inference(queries_of(columns((20, 40)), [CAR], [0.9], geometry), THINGS, RULES["mmdet"])
    mask = found.mask(0)
    assert mask.shape == (33, 203)
    assert mask[:, 110:].all()
    assert not mask[:, :95].any()


@pytest.mark.parametrize("rule", RULES)
def test_a_picture_without_a_mask_has_no_instances(rule):
    found = instance_inference(queries_of(columns((0, 0)), [CAR], [0.9]), THINGS, RULES[rule])
    assert len(found) == 0
    assert found.size == (30, 40)

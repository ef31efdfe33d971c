"""From queries to the class of each pixel."""

import numpy as np
import pytest

from ms_seg.data.preprocessing import Geometry
from ms_seg.postprocessing.rules import RULES
from ms_seg.postprocessing.semantic import semantic_inference, semantic_scores
from tests.postprocessing.test_panoptic import CAR, PERSON, SKY, columns, queries_of


@pytest.mark.parametrize("rule", RULES)
def test_a_pixel_has_the_class_of_the_highest_score(rule):
    queries = queries_of(columns((0, 20), (20, 40), (0, 20)), [CAR, SKY, PERSON], [0.6, 0.9, 0.5])
    label_map, scores = semantic_inference(queries, RULES[rule])
    assert label_map.dtype == np.int32
    assert np.all(label_map[:, :19] == CAR)
    assert np.all(label_map[:, 21:] == SKY)
    assert scores[CAR] == pytest.approx(0.6 / 1.1, abs=0.02)
    assert scores[PERSON] == 0


@pytest.mark.parametrize("rule", RULES)
def test_where_no_mask_is_the_most_probable_class_is(rule):
    label_map, scores = semantic_inference(queries_of(columns((0, 0)), [CAR], [0.9]), RULES[rule])
    assert np.array_equal(label_map, np.full((30, 40), CAR))
    assert scores == pytest.approx([0, 1, 0], abs=1e-5)


def test_padding_is_cut_off():
    geometry = Geometry((90, 60), (30, 20), (30, 40))
    queries = queries_of(columns((0, 20), (20, 40)), [CAR, SKY], [0.9, 0.9], geometry)
    label_map, _ = semantic_inference(queries, RULES["mmdet"])
    assert label_map.shape == (90, 60)
    assert np.all(label_map[:, :57] == CAR)


def test_scores_that_are_made_at_the_input_are_resized_and_not_the_masks():
    """Each pixel is the mean of two of the input. In column 10 the car's logits are 8 and -2, of which the mean 3 is
    sure of a car, while the mean of 1.0 and 0.1 is below the sky's 0.75."""
    geometry = Geometry((30, 20), (30, 40), (30, 40))
    queries = queries_of(columns((0, 21), (0, 40)), [CAR, SKY], [0.9, 0.9], geometry)
    queries.mask_logits[0, :, 21:] = -2
    queries.mask_logits[1] = np.log(3)
    for rule, first in (("mmdet", 11), ("mmseg", 10)):
        label_map, _ = semantic_inference(queries, RULES[rule])
        assert np.all(label_map[:, :first] == CAR) and np.all(label_map[:, first:] == SKY)


def test_scores_are_the_sum_over_queries_of_class_times_mask():
    rng = np.random.default_rng(0)
    class_logits = rng.normal(0, 3, (100, 14)).astype(np.float32)
    mask_logits = rng.normal(0, 4, (100, 9, 11)).astype(np.float32)
    classes = np.exp(class_logits.astype(np.float64))
    classes /= classes.sum(axis=1, keepdims=True)
    masks = 1 / (1 + np.exp(-mask_logits.astype(np.float64)))
    expected = np.einsum("qc,qhw->chw", classes[:, :-1], masks)
    scores = semantic_scores(class_logits, mask_logits)
    assert (scores.shape, scores.dtype) == ((13, 9, 11), np.float32)
    assert scores == pytest.approx(expected, rel=2e-6)


def test_scores_label_a_picture_of_the_masks_size_as_inference_does():
    size = (30, 40)
    queries = queries_of(columns((0, 25), (15, 40)), [CAR, SKY], [0.6, 0.9], Geometry(size, size, size))
    scores = semantic_scores(queries.class_logits, queries.mask_logits)
    assert set(np.unique(scores.argmax(axis=0))) == {CAR, SKY}
    assert np.array_equal(scores.argmax(axis=0), semantic_inference(queries, RULES["mmdet"])[0])

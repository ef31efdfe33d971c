"""Mean intersection over union."""

import numpy as np
import pytest

from ms_seg.evaluation.semantic import ConfusionMatrix


def test_iou_is_intersection_over_union():
    matrix = ConfusionMatrix(3)
    matrix.update(prediction=np.array([[0, 0, 1, 2]]), truth=np.array([[0, 1, 1, 2]]))
    assert matrix.per_class_iou == pytest.approx([1 / 2, 1 / 2, 1])
    assert matrix.miou == pytest.approx(2 / 3)


def test_pictures_add_up():
    rng = np.random.default_rng(0)
    prediction, truth = rng.integers(0, 5, (2, 40, 30))
    whole, halves = ConfusionMatrix(5), ConfusionMatrix(5)
    whole.update(prediction, truth)
    for rows in (slice(0, 13), slice(13, 40)):
        halves.update(prediction[rows], truth[rows])
    assert np.array_equal(whole.counts, halves.counts)
    expected = [((prediction == c) & (truth == c)).sum() / ((prediction == c) | (truth == c)).sum() for c in range(5)]
    assert whole.per_class_iou == pytest.approx(expected)


def test_ignored_pixels_do_not_count_whatever_is_predicted():
    matrix = ConfusionMatrix(2)
    matrix.update(np.array([0, 1, 1], np.int32), np.array([0, 255, 1], np.uint8))
    assert matrix.miou == 1


def test_a_class_that_occurs_nowhere_is_left_out_of_the_mean():
    matrix = ConfusionMatrix(3)
    matrix.update(np.array([0, 1]), np.array([0, 0]))
    assert np.isnan(matrix.per_class_iou[2])
    assert matrix.miou == pytest.approx((1 / 2 + 0) / 2)


def test_an_output_beyond_the_classes_misses_the_true_class_only():
    matrix = ConfusionMatrix(2)
    matrix.update(np.array([0, 2, 1]), np.array([0, 0, 1]))
    assert matrix.per_class_iou == pytest.approx([1 / 2, 1])


def test_nothing_counted_has_no_mean():
    assert np.isnan(ConfusionMatrix(2).miou)


def test_maps_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        ConfusionMatrix(2).update(np.zeros((2, 3), int), np.zeros((3, 2), int))


@pytest.mark.parametrize("truth", [[0, 2], [-1, 0]])
def test_a_truth_outside_the_classes_is_refused(truth):
    with pytest.raises(ValueError, match="the truth has "):
        ConfusionMatrix(2).update(np.array([0, 0]), np.array(truth))

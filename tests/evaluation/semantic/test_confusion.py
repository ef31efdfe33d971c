"""Mean intersection over union."""

import timeit

import cv2
import numpy as np
import pytest

from ms_seg.evaluation.semantic.confusion import ConfusionMatrix

# aAcc, mIoU, mAcc
STORED = ["0x1.565586793de05p-1", "0x1.a6d7ca934aa7dp-2", "0x1.5666fe7750c91p-1"]


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
    with pytest.raises(ValueError, match=r"prediction and truth must have one shape: .* differ"):
        ConfusionMatrix(2).update(np.zeros((2, 3), int), np.zeros((3, 2), int))


@pytest.mark.parametrize("truth", [[0, 2], [-1, 0]])
def test_a_truth_outside_the_classes_is_refused(truth):
    with pytest.raises(ValueError, match="the truth must hold "):
        ConfusionMatrix(2).update(np.array([0, 0]), np.array(truth))


def test_the_three_figures_by_hand():
    matrix = ConfusionMatrix(3)
    matrix.update(prediction=np.array([0, 0, 1, 2, 0]), truth=np.array([0, 1, 1, 1, 255]))
    assert matrix.aacc == 2 / 4
    assert matrix.per_class_iou.tolist() == [1 / 2, 1 / 3, 0]
    assert matrix.per_class_accuracy[:2].tolist() == [1, 1 / 3]
    assert np.isnan(matrix.per_class_accuracy[2])  # never the truth
    assert matrix.miou == pytest.approx((1 / 2 + 1 / 3 + 0) / 3)
    assert matrix.macc == pytest.approx((1 + 1 / 3) / 2)


def test_the_figures_are_mmsegmentations_to_the_last_bit():
    """Of eval_metrics in mmsegmentation 0.30; see tests/parity/test_metrics.py, which runs it."""
    pixels = np.arange(40_000)
    truth = (pixels * pixels // 7 % 131).reshape(200, 200)
    prediction = np.where(pixels % 3, pixels * pixels // 7 % 131, pixels // 11 % 150).reshape(200, 200)
    matrix = ConfusionMatrix(150)
    matrix.update(prediction.astype(np.uint8), np.where(truth == 5, 255, truth).astype(np.uint8))
    figures = (matrix.aacc, matrix.miou, matrix.macc)
    assert [figure.hex() for figure in figures] == STORED


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_labels_of_any_integer_type_count_alike(dtype):
    rng = np.random.default_rng(1)
    prediction, truth = rng.integers(0, 5, (2, 40, 30))
    reference, matrix = ConfusionMatrix(5), ConfusionMatrix(5)
    reference.update(prediction, truth)
    matrix.update(prediction.astype(dtype), truth.astype(dtype))
    assert np.array_equal(matrix.counts, reference.counts)
    assert np.array_equal(matrix.counts.sum(axis=1), np.bincount(truth.ravel(), minlength=5))


def test_views_of_a_larger_array_are_counted_as_they_are():
    prediction, truth = np.random.default_rng(2).integers(0, 5, (2, 40, 30)).astype(np.uint8)
    matrix, copied = ConfusionMatrix(5), ConfusionMatrix(5)
    matrix.update(prediction[::2, 3:], truth[::2, 3:])
    copied.update(prediction[::2, 3:].copy(), truth[::2, 3:].copy())
    assert np.array_equal(matrix.counts, copied.counts)


def test_more_pixels_of_a_kind_than_float32_can_count():
    size = (1 << 24) + 5
    matrix = ConfusionMatrix(2)
    matrix.update(np.ones(size, np.uint8), np.ones(size, np.uint8))
    assert matrix.counts[1, 1] == size


def test_a_prediction_far_beyond_the_classes_is_a_miss():
    matrix = ConfusionMatrix(150)
    matrix.update(np.array([256 + 3, 70_000, 3]), np.array([3, 3, 3]))  # 259 is not 3
    assert matrix.counts[3, 3] == 1
    assert matrix.counts[3, -1] == 2


def test_a_negative_prediction_is_refused():
    with pytest.raises(ValueError, match="the prediction must hold labels 0 to the last class: it holds -1 to 0"):
        ConfusionMatrix(2).update(np.array([0, -1]), np.array([0, 1]))


@pytest.mark.parametrize("count", [0, 256])
def test_a_number_of_classes_that_bytes_cannot_hold_is_refused(count):
    with pytest.raises(ValueError, match=f"num_classes must be 1 to 255: it is {count}"):
        ConfusionMatrix(count)


def test_one_core_counts_200_megapixels_a_second():
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 150, (32, 43), np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    prediction = np.where(rng.random(truth.shape) < 0.3, rng.integers(0, 150, truth.shape, np.uint8), truth)
    matrix = ConfusionMatrix(150)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        seconds = min(timeit.repeat(lambda: matrix.update(prediction, truth), number=5, repeat=8)) / 5
    finally:
        cv2.setNumThreads(threads)
    assert truth.size / seconds > 200e6

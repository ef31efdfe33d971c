"""What a model of masks learns of a picture: the classes in its label map, and their masks."""

from __future__ import annotations

import numpy as np
import pytest

from ms_seg.data.targets import NO_TARGET, class_targets, masks_of

LABEL_MAP = np.int32([[7, 7, 255, 0], [7, 3, 255, 0], [3, 3, 3, 3]])


def test_each_class_in_a_label_map_is_a_target_and_what_is_ignored_is_in_none():
    labels, targets = class_targets(LABEL_MAP, 5)
    assert (labels.dtype, targets.dtype) == (np.int32, np.uint16)
    assert labels.tolist() == [0, 3, 7, NO_TARGET, NO_TARGET]
    masks = masks_of(targets[None], 5)[0]
    for label, mask in zip((0, 3, 7), masks[:3], strict=True):
        assert np.array_equal(mask, LABEL_MAP == label)
    assert not masks[3:].any()


def test_of_too_many_classes_the_smallest_are_left_out():
    labels, targets = class_targets(LABEL_MAP, 2)
    assert labels.tolist() == [3, 7]
    assert np.array_equal(targets == 1, LABEL_MAP == 3) and np.array_equal(targets == 2, LABEL_MAP == 7)


def test_a_label_map_of_ignored_pixels_has_no_target():
    labels, targets = class_targets(np.full((4, 4), 255, np.int32), 3)
    assert labels.tolist() == [NO_TARGET] * 3
    assert not targets.any()


def test_the_last_class_that_there_can_be_is_a_target():
    labels, targets = class_targets(np.int32([[254, 255]]), 1)
    assert (labels.tolist(), targets.tolist()) == ([254], [[1, 0]])


@pytest.mark.parametrize("count", [0, 2])
def test_masks_say_the_same_one_by_one(count):
    targets = np.random.default_rng(0).integers(0, count + 1, (2, 5, 5)).astype(np.uint16)
    masks = masks_of(targets, 3)
    assert (masks.shape, masks.dtype) == ((2, 3, 5, 5), np.uint8)
    for number in range(3):
        assert np.array_equal(masks[:, number], targets == number + 1)

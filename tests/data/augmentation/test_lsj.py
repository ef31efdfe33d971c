"""Large-scale jitter: what a sample holds of a picture's segments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ms_seg.data.augmentation.lsj import augment, augment_label_map
from ms_seg.data.panoptic import PanopticMap, Segment
from ms_seg.data.targets import NO_TARGET
from ms_seg.label_sets import LabelSet
from ms_seg.presets.recipe import Recipe

LABELS = LabelSet(("cat", "dog", "sky"), np.zeros((3, 3), np.uint8), (True, True, False))
RECIPE = Recipe(
    augmentation="lsj", crop_size=8, short_side=8, long_side=8, scale_min=1, scale_max=1, flip=0, photometric=False,
    cat_max_ratio=1, max_targets=4,
)  # fmt: skip


def stripes(labels: list[int], crowds: tuple[int, ...] = ()) -> PanopticMap:
    """Segments 1, 2, ... that are one row of eight pixels high each, then void."""
    ids = np.zeros((8, 8), np.int32)
    ids[: len(labels)] = np.arange(1, len(labels) + 1)[:, None]
    segments = (Segment(number, label, number in crowds, 8) for number, label in enumerate(labels, start=1))
    return PanopticMap(ids, tuple(segments))


def sample(panoptic: PanopticMap, **changes: object) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    picture = np.full((*panoptic.ids.shape, 3), (10, 20, 30), np.uint8)
    return augment(picture, panoptic, LABELS, replace(RECIPE, **changes), np.random.RandomState(0), (0,) * 3, (10,) * 3)


def test_things_come_first_and_stuff_of_a_class_is_one():
    image, labels, targets = sample(stripes([2, 1, 2, 0]))
    assert (image.dtype, labels.dtype, targets.dtype) == (np.float32, np.int32, np.uint16)
    assert np.allclose(image.transpose(1, 2, 0), (1, 2, 3))
    assert labels.tolist() == [1, 0, 2, NO_TARGET]
    assert targets[:, 0].tolist() == [3, 1, 3, 2, 0, 0, 0, 0]


def test_crowds_and_void_are_no_targets():
    _, labels, targets = sample(stripes([0, 0, 2], crowds=(2,)))
    assert labels.tolist() == [0, 2, NO_TARGET, NO_TARGET]
    assert targets[:, 0].tolist() == [1, 0, 2, 0, 0, 0, 0, 0]


def test_of_too_many_targets_the_smallest_are_left_out():
    panoptic = stripes([0, 1, 0, 1, 2])
    panoptic.ids[6:] = 5
    panoptic.ids[1, 3:] = 0
    panoptic.ids[3, :2] = 0
    _, labels, targets = sample(panoptic, max_targets=3)
    assert labels.tolist() == [0, 0, 2]
    assert targets[:, 0].tolist() == [1, 0, 2, 0, 3, 0, 3, 3]


def test_segments_beyond_the_crop_are_no_targets():
    _, labels, targets = sample(stripes([0, 1, 0, 1, 2, 2, 2, 2]), crop_size=2, scale_min=2, scale_max=2)
    of_crop = [label for label in labels.tolist() if label != NO_TARGET]
    assert 1 <= len(of_crop) <= 2
    assert np.unique(targets).tolist() == list(range(1, len(of_crop) + 1))


def test_a_picture_of_void_has_no_targets():
    _, labels, targets = sample(stripes([]))
    assert labels.tolist() == [NO_TARGET] * 4
    assert not targets.any()


def test_a_label_map_is_jittered_as_the_segments_of_its_picture_are():
    changes = {"crop_size": 12, "scale_min": 0.5, "scale_max": 2, "flip": 0.5}
    panoptic, picture = stripes([0, 2, 1, 2]), np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    panoptic.ids[:, 5:] = 0
    label_map = np.where(panoptic.ids, np.uint8([255, 0, 2, 1, 2])[panoptic.ids], 255).astype(np.uint8)
    for seed in range(8):
        recipe, mean_and_std = replace(RECIPE, **changes), ((0,) * 3, (10,) * 3)
        image, labels = augment_label_map(picture, label_map, recipe, np.random.RandomState(seed), *mean_and_std)
        expected = augment(picture, panoptic, LABELS, recipe, np.random.RandomState(seed), *mean_and_std)
        assert labels.dtype == np.int32 and np.array_equal(image, expected[0])
        assert np.array_equal(labels, np.append(255, expected[1])[expected[2]])

"""Which picture comes when, and what chance does to it: known from the seed and the position alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ms_seg.data.datasets import open_for_task
from ms_seg.data.drawn.world import DrawnPanoptic, DrawnWorld
from ms_seg.data.samples import ClassMaskSamples, EpochSampler, InstanceSamples, PanopticSamples, SemanticSamples
from ms_seg.data.targets import unpacked
from ms_seg.presets.recipe import Recipe
from tests.data.published import write_cityscapes

RECIPE = Recipe(steps=100, batch_size=4, crop_size=48, short_side=64, long_side=256, seed=3)
WORLD = DrawnWorld("validation", (64, 64))


def test_every_epoch_goes_through_all_pictures_in_an_order_of_its_own():
    order = EpochSampler(seed=1, count=50)
    epochs = [[order[position] for position in range(50 * epoch, 50 * (epoch + 1))] for epoch in range(4)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert epochs[0] != list(range(50))


def test_the_order_is_the_same_whatever_was_asked_before():
    forwards, random_access = EpochSampler(1, 10), EpochSampler(1, 10)
    expected = [forwards[position] for position in range(40)]
    assert [random_access[position] for position in reversed(range(40))] == expected[::-1]


def test_another_seed_is_another_order():
    assert [EpochSampler(1, 50)[p] for p in range(50)] != [EpochSampler(2, 50)[p] for p in range(50)]


def test_the_order_of_a_seed_stays_what_it_is():
    """A run continued with a later version of NumPy or of this package must go on with the same pictures."""
    order = EpochSampler(0, 8)
    assert [order[position] for position in range(16)] == [1, 0, 6, 5, 7, 3, 4, 2, 1, 2, 3, 0, 6, 7, 4, 5]


def test_a_sample_depends_on_its_position_alone():
    samples, others = SemanticSamples(WORLD, RECIPE), SemanticSamples(WORLD, RECIPE)
    others[399], others[17]
    for position in (0, 17, 250):
        for one, other in zip(samples[position], others[position], strict=True):
            assert np.array_equal(one, other)


def test_the_same_picture_is_augmented_anew_in_the_next_epoch():
    class OnePicture(DrawnWorld):
        def __len__(self) -> int:
            return 1

    samples = SemanticSamples(OnePicture("validation", (64, 64)), RECIPE)
    assert len({samples[position][0].tobytes() for position in range(8)}) == 8


def test_another_seed_augments_otherwise():
    class OnePicture(DrawnWorld):
        def __len__(self) -> int:
            return 1

    world = OnePicture("validation", (64, 64))
    one, other = (SemanticSamples(world, replace(RECIPE, seed=seed))[0][0] for seed in (1, 2))
    assert not np.array_equal(one, other)


def test_there_is_a_sample_for_every_place_of_the_run_and_no_more():
    samples = SemanticSamples(WORLD, RECIPE)
    assert len(samples) == 400
    image, labels = samples[399]
    assert (image.shape, image.dtype) == ((3, 48, 48), np.float32)
    assert (labels.shape, labels.dtype) == ((48, 48), np.int32)
    for position in (400, -1):
        with pytest.raises(IndexError, match=f"position {position} is outside the run's 400"):
            samples[position]


def test_the_models_own_normalisation_is_applied():
    samples = SemanticSamples(WORLD, replace(RECIPE, photometric=False), mean=(0, 0, 0), std=(1, 1, 1))
    image, labels = samples[0]
    pixels = image[:, labels != 255]
    assert np.array_equal(pixels, pixels.round()) and pixels.max() > 50


def test_panoptic_samples_depend_on_their_position_alone():
    recipe = replace(RECIPE, augmentation="lsj", photometric=False, cat_max_ratio=1, max_targets=12)
    world = DrawnPanoptic("validation", (64, 64))
    samples, others = PanopticSamples(world, recipe), PanopticSamples(world, recipe)
    others[399], others[17]
    for position in (0, 17, 250):
        assert [array.shape for array in samples[position]] == [(3, 48, 48), (12,), (48, 48)]
        for one, other in zip(samples[position], others[position], strict=True):
            assert np.array_equal(one, other)


@pytest.mark.parametrize("augmentation", ["mmseg", "lsj"])
def test_masks_of_classes_are_those_of_the_label_map(augmentation):
    recipe = replace(RECIPE, augmentation=augmentation, photometric=False, cat_max_ratio=1, max_targets=12)
    samples, label_maps = ClassMaskSamples(WORLD, recipe), SemanticSamples(WORLD, recipe)
    for position in (0, 17, 250):
        image, labels, targets = samples[position]
        expected, label_map = label_maps[position]
        assert np.array_equal(image, expected)
        assert (labels.shape, targets.shape) == ((12,), (48, 48))
        assert np.array_equal(np.append(255, labels)[targets], label_map)


def test_an_augmentation_for_other_labels_is_refused():
    recipe = replace(RECIPE, augmentation="lang_seg", photometric=False, cat_max_ratio=1)
    with pytest.raises(ValueError, match="augmentation is 'lang_seg': pictures .* take lsj or mmseg"):
        PanopticSamples(WORLD, recipe)


# ------------------------------------------------------------------------------------------- crops that are no squares

WIDE = replace(RECIPE, crop_size=24, crop_width=48, cat_max_ratio=1.0, max_targets=8, scales=(0.5, 1.0))


def test_a_crop_may_be_wider_than_high():
    image, labels = SemanticSamples(WORLD, WIDE)[3]
    assert (image.shape, labels.shape) == ((3, 24, 48), (24, 48))
    image, labels, targets = PanopticSamples(DrawnPanoptic("validation", (64, 64)), WIDE)[3]
    assert (image.shape, labels.shape, targets.shape) == ((3, 24, 48), (8,), (24, 48))
    assert (labels >= 0).sum() == targets.max() == len(np.unique(targets[targets > 0]))


def test_of_scales_that_are_listed_one_is_chosen():
    whole = replace(WIDE, crop_size=80, crop_width=80, flip=0.0, photometric=False)
    samples = SemanticSamples(WORLD, whole)
    sides = {int((samples[position][1] != 255).any(axis=1).sum()) for position in range(12)}
    assert sides == {32, 64}


def test_things_of_published_maps_are_targets_and_groups_are_not(tmp_path):
    dataset = open_for_task("cityscapes_instance", write_cityscapes(tmp_path), "validation")
    recipe = replace(WIDE, crop_size=40, crop_width=60, flip=0.0, photometric=False, scales=(1.0,), short_side=40)
    samples = InstanceSamples(dataset, recipe)
    classes, masks = dataset.targets(1)
    image, labels, packed = samples.sample(1, 0)
    assert (image.shape, packed.shape) == ((3, 40, 60), (8, 40, 8))
    assert labels[labels >= 0].tolist() == classes.tolist()
    assert np.array_equal(unpacked(packed[None], 60)[0, : len(masks)], np.array(masks))


def test_an_augmentation_that_cannot_do_it_refuses():
    with pytest.raises(ValueError, match="crop_width and scales are not for augmentation lang_seg"):
        replace(WIDE, augmentation="lang_seg", photometric=False)

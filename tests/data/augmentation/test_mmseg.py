"""Training pictures: what each transform keeps, and numbers stored from mmsegmentation 0.30 (see tests/parity)."""

from __future__ import annotations

import numpy as np
import pytest

from ms_seg.data.augmentation import mmseg as augmentation
from ms_seg.presets.recipe import Recipe

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def sample(height: int = 60, width: int = 90) -> tuple[np.ndarray, np.ndarray]:
    """A picture whose red is the row and green the column, and labels that show both halves."""
    rows, columns = np.mgrid[:height, :width]
    picture = np.stack((rows, columns, rows + columns), axis=-1).astype(np.uint8)
    return picture, (columns >= width // 2).astype(np.uint8)


def random(seed: int = 0) -> np.random.RandomState:
    return np.random.RandomState(seed)


@pytest.mark.parametrize(("seed", "size"), [(0, (67, 100)), (1, (60, 90))])
def test_resize_keeps_the_shape_and_draws_its_ratio(seed, size):
    ratio = 0.5 + 1.5 * random(seed).random_sample()
    picture, labels = augmentation.resize(*sample(), (400, 100), (0.5, 2.0), False, random(seed))
    assert picture.shape[:2] == labels.shape
    assert min(labels.shape) == int(100 * ratio)
    assert abs(labels.shape[1] / labels.shape[0] - 1.5) < 0.02
    assert set(np.unique(labels)) == {0, 1}  # no class between two classes


def test_a_long_picture_is_fitted_by_its_long_side():
    picture, _ = augmentation.resize(*sample(10, 200), (400, 100), (1.0, 1.0), False, random())
    assert picture.shape[:2] == (20, 400)


def test_no_side_of_a_thread_of_a_picture_vanishes():
    picture, labels = augmentation.resize(*sample(1, 200), (100, 50), (0.5, 0.5), False, random())
    assert picture.shape[:2] == labels.shape == (1, 50)


def test_crop_takes_the_same_window_of_both():
    picture, labels = augmentation.crop(*sample(), (32, 32), 1.0, random(3))
    assert picture.shape == (32, 32, 3)
    assert np.array_equal(labels, picture[..., 1] >= 45)


def test_a_crop_is_drawn_again_until_no_class_covers_too_much():
    whole = sample()
    once = [augmentation.crop(*whole, (32, 32), 1.0, random(seed))[1].mean() for seed in range(40)]
    again = [augmentation.crop(*whole, (32, 32), 0.75, random(seed))[1].mean() for seed in range(40)]
    assert sum(0.25 < share < 0.75 for share in once) < 20
    assert sum(0.25 < share < 0.75 for share in again) > 34  # ten tries fail now and then


def test_ignored_pixels_count_for_no_class_in_a_crop():
    picture, labels = sample()
    labels[:, 10:] = 255
    labels[:, :10] = np.arange(10) % 2  # half and half of what is labelled, wherever it is in sight
    window = [augmentation.crop(picture, labels, (60, 60), 0.75, random(seed))[1] for seed in range(20)]
    assert all((part != 255).any() for part in window)


def test_the_last_of_ten_tries_is_taken_as_it_is():
    picture, labels = sample()
    rng, drawn = random(5), random(5)
    _, cropped = augmentation.crop(picture, np.zeros_like(labels), (32, 32), 0.75, rng)
    for _ in range(11):
        drawn.randint(0, 29), drawn.randint(0, 59)
    assert cropped.shape == (32, 32)
    assert rng.randint(1 << 30) == drawn.randint(1 << 30)  # both have drawn eleven windows


def test_flip_mirrors_picture_and_labels_with_its_probability():
    picture, labels = sample()
    mirrored, mirrored_labels = augmentation.flip(picture, labels, 1.0, random())
    assert np.array_equal(mirrored, picture[:, ::-1]) and np.array_equal(mirrored_labels, labels[:, ::-1])
    assert augmentation.flip(picture, labels, 0.0, random())[0] is picture
    turned = sum(augmentation.flip(picture, labels, 0.3, random(seed))[0] is not picture for seed in range(500))
    assert 0.2 < turned / 500 < 0.4


def test_distortion_changes_colours_and_nothing_else():
    picture, _ = sample()
    distorted = [augmentation.distort(picture, random(seed)) for seed in range(30)]
    assert all(image.shape == picture.shape and image.dtype == np.uint8 for image in distorted)
    assert len({image.tobytes() for image in distorted}) > 25
    flat = np.full((8, 8, 3), (200, 90, 30), np.uint8)
    assert all(np.ptp(augmentation.distort(flat, random(seed)), axis=(0, 1)).max() == 0 for seed in range(30))


def test_distortion_leaves_the_given_picture_as_it_is():
    picture, _ = sample()
    kept = picture.copy()
    for seed in range(20):
        augmentation.distort(picture, random(seed))
    assert np.array_equal(picture, kept)


def test_normalised_pictures_are_padded_with_zeros_and_labels_with_ignored():
    picture, labels = sample(20, 30)
    image, padded = augmentation.normalise(picture, (40, 40), MEAN, STD), augmentation.pad(labels, (40, 40))
    assert (image.shape, image.dtype, padded.shape) == ((3, 40, 40), np.float32, (40, 40))
    assert np.allclose(image[:, :20, :30].transpose(1, 2, 0), (picture - np.array(MEAN)) / STD, atol=1e-6)
    assert not image[:, 20:].any() and not image[:, :, 30:].any()
    assert np.array_equal(padded[:20, :30], labels)
    assert (padded[20:] == 255).all() and (padded[:, 30:] == 255).all()


# mmsegmentation's image and labels for the sample above: mean and deviation of each channel; pixels of 0, 1 and 255.
STORED = {
    0: ([-1.8295, -1.2985, -0.6435], [0.2145, 0.2312, 0.3253], [1536, 2560, 0]),
    1: ([-1.7502, -1.6504, -0.9442], [0.2453, 0.2534, 0.3793], [2880, 1216, 0]),
    2: ([-1.348, -1.3644, -0.5796], [0.36, 0.2355, 0.3753], [2112, 1984, 0]),
    3: ([-1.6762, -1.4779, -0.6062], [0.2825, 0.1545, 0.3253], [1984, 2112, 0]),
    4: ([-1.1137, -1.2472, -0.134], [0.2741, 0.1241, 0.2203], [1600, 2496, 0]),
    5: ([-1.2852, -1.1186, -0.3143], [0.6761, 0.5541, 0.4523], [1325, 2067, 704]),
}


@pytest.mark.parametrize("seed", STORED)
def test_a_whole_sample_is_mmsegmentations(seed):
    recipe = Recipe(crop_size=64, short_side=64, long_side=256)
    image, labels = augmentation.augment(*sample(), recipe, random(seed))
    assert (image.shape, image.dtype, labels.dtype) == ((3, 64, 64), np.float32, np.int32)
    mean, deviation, pixels = STORED[seed]
    assert np.allclose(image.mean((1, 2), np.float64), mean, atol=2e-4)
    assert np.allclose(image.std((1, 2), np.float64), deviation, atol=2e-4)
    assert np.bincount(labels.ravel(), minlength=256)[[0, 1, 255]].tolist() == pixels


def test_a_recipe_without_photometric_distortion_keeps_the_colours():
    recipe = Recipe(
        crop_size=60, short_side=60, long_side=240, scale_min=1.0, scale_max=1.0, flip=0.0, photometric=False
    )
    picture, labels = sample(60, 60)
    image, kept = augmentation.augment(picture, labels, recipe, random())
    assert np.array_equal(image, augmentation.normalise(picture, (60, 60), MEAN, STD))
    assert np.array_equal(kept, labels)

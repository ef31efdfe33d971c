"""LSeg's training pictures: what becomes of a picture and its labels. (That they are lang-seg's: tests/parity.)"""

from __future__ import annotations

import numpy as np
import pytest

from ms_seg.data.augmentation.lang_seg import augment, normalise, resized_size
from ms_seg.data.drawn.world import DrawnWorld
from ms_seg.data.samples import SemanticSamples
from ms_seg.presets.recipe import Recipe

HALF = (127.5, 127.5, 127.5)
NUMBERS = {"augmentation": "lang_seg", "photometric": False, "cat_max_ratio": 1.0}
RECIPE = Recipe(crop_size=48, long_side=52, **NUMBERS)


def sample(height: int = 60, width: int = 90) -> tuple[np.ndarray, np.ndarray]:
    """A picture whose red is 100 where its label is 1, on the right, and 200 elsewhere; nothing in it is black."""
    labels = np.zeros((height, width), np.uint8)
    labels[:, width // 2 :] = 1
    picture = np.full((height, width, 3), 200, np.uint8)
    picture[labels == 1] = 100
    return picture, labels


def augmented(seed: int, recipe: Recipe = RECIPE, **size: int) -> tuple[np.ndarray, np.ndarray]:
    return augment(*sample(**size), recipe, np.random.RandomState(seed), HALF, HALF)


@pytest.mark.parametrize("seed", range(20))
def test_labels_stay_with_their_pixels(seed: int):
    image, labels = augmented(seed)
    assert (image.shape, image.dtype, labels.shape, labels.dtype) == ((3, 48, 48), np.float32, (48, 48), np.int32)
    expected = np.select([labels == 0, labels == 1], [200 / 127.5 - 1, 100 / 127.5 - 1], -1.0)
    assert (np.abs(image - expected) < 1e-6).mean() > 0.85  # all but the edge, which bilinear resizing blurs


def test_what_is_beyond_the_picture_is_black_before_it_is_normalised_and_ignored():
    image, labels = augmented(0, Recipe(crop_size=64, long_side=32, scale_min=1.0, scale_max=1.0, **NUMBERS))
    assert (image[:, 21:] == -1).all() and (image[:, :, 32:] == -1).all()
    assert (labels[21:] == 255).all() and (labels[:, 32:] == 255).all()
    assert (labels[:21, :32] != 255).all()


def test_the_long_side_is_any_whole_number_of_the_range():
    recipe = Recipe(crop_size=40, long_side=20, flip=0.0, **NUMBERS)
    longest = {int((augmented(seed, recipe)[1][0] != 255).sum()) for seed in range(500)}
    assert longest == set(range(10, 41))


def test_half_of_the_pictures_are_mirrored():
    recipe = Recipe(crop_size=40, long_side=40, scale_min=1.0, scale_max=1.0, **NUMBERS)
    mirrored = sum(int(augmented(seed, recipe)[1][0, 0]) for seed in range(400))
    assert 160 < mirrored < 240


def test_the_other_side_keeps_the_shape_and_never_vanishes():
    assert resized_size((60, 90), 300) == (200, 300)
    assert resized_size((90, 60), 300) == (300, 200)
    assert resized_size((60, 90), 1) == (1, 1)
    assert resized_size((1, 1000), 100) == (1, 100)


def test_normalising_divides_by_255_first():
    picture = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    image = normalise(picture, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    expected = (picture / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert np.allclose(image.transpose(1, 2, 0), expected, atol=1e-6)


def test_the_recipe_chooses_whose_pictures_a_run_has():
    samples = SemanticSamples(DrawnWorld("validation", (64, 64)), RECIPE, HALF, HALF)
    image, labels = samples[0]
    beyond = [samples[position][0][:, samples[position][1] == 255] for position in range(12)]
    assert image.shape == (3, 48, 48) and labels.shape == (48, 48)
    assert any(pixels.size for pixels in beyond) and all((pixels == -1).all() for pixels in beyond)


@pytest.mark.parametrize("other", [{"photometric": True}, {"cat_max_ratio": 0.75}])
def test_what_lang_seg_does_not_do_is_refused(other: dict):
    with pytest.raises(ValueError, match="photometric must be false and cat_max_ratio 1 for augmentation lang_seg"):
        Recipe(**{**NUMBERS, **other})

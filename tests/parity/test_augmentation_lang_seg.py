"""LSeg's training pictures against PyTorch-Encoding's own, to the last bit, for the same random numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import wheels
from PIL import Image

from ms_seg.data.augmentation.lang_seg import augment
from ms_seg.presets.recipe import Recipe

RECIPE = Recipe(augmentation="lang_seg", crop_size=480, long_side=520, photometric=False, cat_max_ratio=1.0)
HALF = (127.5, 127.5, 127.5)
SIZES = [(512, 683), (683, 512), (1000, 990), (60, 50), (30, 800), (480, 480)]


class Drawn:
    """What Python's `random` is to the original, drawn from the numbers that ours draws."""

    def __init__(self, seed: int):
        self._state = np.random.RandomState(seed)

    def random(self) -> float:
        return self._state.random_sample()

    def randint(self, least: int, most: int) -> int:
        return int(self._state.randint(least, most + 1))


def original(picture: np.ndarray, stored: np.ndarray, seed: int, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Their transform, then torchvision's ToTensor and Normalize, and ADE20K's shift of the labels."""
    module = wheels.module(wheels.unpacked("torch-encoding", "1.2.1") / "encoding" / "datasets" / "base.py")
    module.random = Drawn(seed)
    dataset = module.BaseDataset(None, "train", "train", base_size=recipe.long_side, crop_size=recipe.crop_size)
    image, mask = dataset._sync_transform(Image.fromarray(picture), Image.fromarray(stored))
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div(255)
    return tensor.sub_(torch.tensor(0.5)).div_(torch.tensor(0.5)).numpy(), mask.numpy() - 1


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("side", [480, 96])
def test_a_sample_equals_the_originals(size: tuple[int, int], side: int):
    rng = np.random.default_rng(sum(size))
    picture = rng.integers(0, 256, (*size, 3), np.uint8)
    stored = rng.integers(0, 151, size, np.uint8)  # 0 is ADE20K's "other"
    labels = np.where(stored == 0, 255, stored - 1).astype(np.uint8)
    recipe = Recipe(**{**vars(RECIPE), "crop_size": side, "long_side": side + side // 12})
    for seed in range(8):
        image, ours = augment(picture, labels, recipe, np.random.RandomState(seed), HALF, HALF)
        theirs, their_labels = original(picture, stored, seed, recipe)
        assert (image.dtype, ours.dtype) == (np.float32, np.int32)
        assert np.array_equal(image, theirs)
        assert np.array_equal(np.where(ours == 255, -1, ours), their_labels)

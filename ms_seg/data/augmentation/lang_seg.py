"""LSeg's training pictures: mirrored, resized by their long side, padded with black, cropped and normalised.

As lang-seg does through PyTorch-Encoding (torch-encoding 1.2.1, datasets/base.py): the same random numbers, in the same
order, give the same pictures and label maps to the last bit.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from ms_seg.data.augmentation.mmseg import Pair, Triple, pad
from ms_seg.presets.recipe import Recipe

_BYTES = np.arange(256, dtype=np.float32)
_WHITE = np.float32(255)


def augment(
    picture: np.ndarray, label_map: np.ndarray, recipe: Recipe, rng: np.random.RandomState, mean: Triple, std: Triple
) -> Pair:
    """One training sample by the numbers of a recipe (crop_size, long_side, scale_min, scale_max, flip).

    Args:
        picture: RGB (H, W, 3) uint8. label_map: (H, W) uint8.
        rng: draws the mirror image, the long side, and the crop's left and upper edges, in that order.
        mean, std: of RGB channels, for values 0..255.

    Returns: the image (3, crop, crop) float32, normalised, black beyond the picture's edge; and its label map
        (crop, crop) int32, 255 there. (The original's 0 there, ADE20K's "other", becomes its number for ignored.)
    """
    if rng.random_sample() < recipe.flip:
        picture, label_map = picture[:, ::-1], label_map[:, ::-1]
    shortest, longest = (max(int(recipe.long_side * ratio), 1) for ratio in (recipe.scale_min, recipe.scale_max))
    height, width = resized_size(label_map.shape, rng.randint(shortest, longest + 1))
    picture = _resized(picture, (height, width), Image.Resampling.BILINEAR)
    label_map = _resized(label_map, (height, width), Image.Resampling.NEAREST)
    side = recipe.crop_size
    left, top = (rng.randint(0, max(length - side, 0) + 1) for length in (width, height))
    picture, label_map = (array[top : top + side, left : left + side] for array in (picture, label_map))
    canvas = np.zeros((side, side, 3), np.uint8)
    canvas[: picture.shape[0], : picture.shape[1]] = picture
    return normalise(canvas, mean, std), pad(label_map, recipe.crop).astype(np.int32)


def resized_size(size: tuple[int, ...], longest: int) -> tuple[int, int]:
    """(height, width) of a picture whose long side becomes `longest`; the short one is rounded half up, at least 1."""
    height, width = size
    if height > width:
        return longest, max(int(1.0 * width * longest / height + 0.5), 1)
    return max(int(1.0 * height * longest / width + 0.5), 1), longest


def normalise(picture: np.ndarray, mean: Triple, std: Triple) -> np.ndarray:
    """(H, W, 3) uint8 -> (3, H, W) float32: divided by 255, minus mean, divided by std, as torchvision rounds each."""
    scaled = _BYTES / _WHITE
    image = np.empty((3, *picture.shape[:2]), np.float32)
    for channel in range(3):
        centre, spread = np.float32(mean[channel] / 255), np.float32(std[channel] / 255)
        image[channel] = ((scaled - centre) / spread)[picture[..., channel]]
    return image


def _resized(array: np.ndarray, size: tuple[int, int], method: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(np.ascontiguousarray(array)).resize(size[::-1], method))

"""SegFormer's training samples: resized, cropped, mirrored, distorted in colour, normalised and padded.

Each function draws from the given `RandomState` what mmsegmentation 0.30's transform of that name draws from
numpy.random, in the same order, and gives the same numbers to the last bit. Pictures are RGB (H, W, 3) uint8, where
theirs are BGR; label maps (H, W) uint8.
"""

from __future__ import annotations

import cv2
import numpy as np

from ms_seg.data.numbering import IGNORED, value_counts
from ms_seg.presets import IMAGENET_MEAN, IMAGENET_STD
from ms_seg.presets.recipe import Recipe

Pair = tuple[np.ndarray, np.ndarray]  # picture, label map
Size = tuple[int, int]  # height and width
Triple = tuple[float, float, float]  # of RGB channels, for values 0..255

_CROP_TRIES = 10
_BRIGHTNESS = 32.0  # at most added or taken away
_CONTRAST = _SATURATION = (0.5, 1.5)  # factors
_HUE = 18  # at most turned by, in OpenCV's half degrees
_BYTES = np.arange(256, dtype=np.uint8)


def augment(
    picture: np.ndarray,
    label_map: np.ndarray,
    recipe: Recipe,
    rng: np.random.RandomState,
    mean: Triple = IMAGENET_MEAN,
    std: Triple = IMAGENET_STD,
) -> Pair:
    """One training sample by the numbers of a recipe (crop_size to photometric).

    Returns: the image (3, h, w) float32, normalised, 0 beyond the picture's edge; and its label map (h, w) int32, 255
        there. h and w are those of `recipe.crop`.
    """
    image, label_map = augment_map(picture, label_map, recipe, rng, mean, std)
    return image, pad(label_map, recipe.crop).astype(np.int32)


def augment_map(
    picture: np.ndarray, truth: np.ndarray, recipe: Recipe, rng: np.random.RandomState, mean: Triple, std: Triple
) -> Pair:
    """The same of any map (H, W) uint8 or uint16, such as one of targets, which is not padded."""
    picture, truth = resize(picture, truth, *scaling(recipe), rng)
    picture, truth = crop(picture, truth, recipe.crop, recipe.cat_max_ratio, rng)
    picture, truth = flip(picture, truth, recipe.flip, rng)
    if recipe.photometric:
        picture = distort(picture, rng)
    return normalise(picture, recipe.crop, mean, std), truth


def scaling(recipe: Recipe) -> tuple[tuple[int, int], tuple[float, ...], bool]:
    """The frame (long, short) that pictures are fitted into, the ratios, and whether one of these is chosen."""
    chosen = recipe.scales
    return (recipe.long_side, recipe.short_side), chosen or (recipe.scale_min, recipe.scale_max), bool(chosen)


def resize(
    picture: np.ndarray,
    label_map: np.ndarray,
    sides: tuple[int, int],
    ratios: tuple[float, ...],
    one_of_them: bool,
    rng: np.random.RandomState,
) -> Pair:
    """Fit both into `sides` (long, short) times a ratio that is drawn between the two, keeping the aspect ratio.

    With one_of_them, one of the ratios is chosen, and it is that of the short side alone: mmsegmentation's Resize to
    one of several sizes, its RandomChoiceResize in 1.x and detectron2's ResizeShortestEdge bound the long side by one
    number.
    """
    if one_of_them:
        longest, shortest = sides[0], int(sides[1] * ratios[rng.randint(len(ratios))])
    else:
        ratio = rng.random_sample() * (ratios[1] - ratios[0]) + ratios[0]
        longest, shortest = (int(side * ratio) for side in sides)
    height, width = picture.shape[:2]
    scale = min(longest / max(height, width), shortest / min(height, width))
    # The short side of a very long picture would become 0; mmcv fails there.
    size = tuple(max(1, int(side * scale + 0.5)) for side in (width, height))
    resized = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    return resized, cv2.resize(label_map, size, interpolation=cv2.INTER_NEAREST)


def crop(picture: np.ndarray, label_map: np.ndarray, size: Size, max_ratio: float, rng: np.random.RandomState) -> Pair:
    """A window of at most `size`, drawn again while one class covers `max_ratio` of the labels.

    At most ten times: the last window is taken as it is, as mmsegmentation does.
    """
    window = draw_window(label_map.shape, size, rng)
    if max_ratio < 1:
        for _ in range(_CROP_TRIES):
            counts = value_counts(label_map[window])[:IGNORED]
            if np.count_nonzero(counts) > 1 and counts.max() / counts.sum() < max_ratio:
                break
            window = draw_window(label_map.shape, size, rng)
    return picture[window], label_map[window]


def draw_window(shape: tuple[int, ...], size: Size, rng: np.random.RandomState) -> tuple[slice, slice]:
    """Rows and columns of a window of at most `size`."""
    starts = [rng.randint(0, max(length - side, 0) + 1) for length, side in zip(shape, size, strict=True)]
    rows, columns = (slice(start, start + side) for start, side in zip(starts, size, strict=True))
    return rows, columns


def flip(picture: np.ndarray, label_map: np.ndarray, probability: float, rng: np.random.RandomState) -> Pair:
    """The mirror image of both, with that probability."""
    if rng.rand() < probability:
        return picture[:, ::-1], label_map[:, ::-1]
    return picture, label_map


def distort(picture: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Brightness, contrast, saturation and hue, each with probability one half; contrast before or after the colours.

    Source: mmsegmentation's PhotoMetricDistortion, which rounds to bytes after each; so bytes are looked up in tables.
    """
    if rng.randint(2):
        picture = cv2.LUT(picture, _scaled(1, rng.uniform(-_BRIGHTNESS, _BRIGHTNESS)))
    contrast_first = rng.randint(2)
    if contrast_first:
        picture = _contrast(picture, rng)
    if rng.randint(2):
        table = _scaled(rng.uniform(*_SATURATION), 0)
        picture = _look_up_hsv(picture, 1, table)
    if rng.randint(2):
        table = ((_BYTES.astype(int) + rng.randint(-_HUE, _HUE)) % 180).astype(np.uint8)
        picture = _look_up_hsv(picture, 0, table)
    return picture if contrast_first else _contrast(picture, rng)


def normalise(picture: np.ndarray, size: Size, mean: Triple, std: Triple) -> np.ndarray:
    """(value - mean) / std for each channel, with zeros up to `size`: (3, h, w) float32."""
    height, width = picture.shape[:2]
    # mmcv's arithmetic, once for every byte: float32 constants in float64, 1 / std multiplied.
    tables = np.repeat(_BYTES[:, None, None], 3, axis=2).astype(np.float32)  # (256, 1, 3)
    cv2.subtract(tables, np.array([mean], np.float32).astype(np.float64), tables)
    cv2.multiply(tables, 1 / np.array([std], np.float32).astype(np.float64), tables)
    image = np.zeros((3, *size), np.float32)
    for channel in range(3):
        image[channel, :height, :width] = tables[:, 0, channel][picture[..., channel]]
    return image


def pad(label_map: np.ndarray, size: Size) -> np.ndarray:
    """(h, w) -> `size`, uint8, with IGNORED at the right and bottom."""
    padded = np.full(size, IGNORED, np.uint8)
    padded[: label_map.shape[0], : label_map.shape[1]] = label_map
    return padded


def _contrast(picture: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    return cv2.LUT(picture, _scaled(rng.uniform(*_CONTRAST), 0)) if rng.randint(2) else picture


def _scaled(factor: float, offset: float) -> np.ndarray:
    """A table (256,) uint8: each byte scaled and shifted, clipped to 0..255 and rounded down."""
    return np.clip(_BYTES.astype(np.float32) * factor + offset, 0, 255).astype(np.uint8)


def _look_up_hsv(picture: np.ndarray, channel: int, table: np.ndarray) -> np.ndarray:
    """Replaces one of hue (0), saturation (1) and value (2)."""
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
    hsv[..., channel] = table[hsv[..., channel]]
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)

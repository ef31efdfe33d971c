"""Mask2Former's training samples: large-scale jitter, which scales a picture by 0.1 to 2 and crops a square.

Flip, resize, crop, normalise and pad draw from the given `RandomState` what mmdetection 2.28's transforms of the COCO
panoptic configurations draw from numpy.random, in the same order, and give the same numbers to the last bit.
Pictures are RGB where theirs are BGR.
"""

from __future__ import annotations

import cv2
import numpy as np

from ms_seg.data.augmentation.mmseg import Triple, draw_window, flip, resize
from ms_seg.data.panoptic import PanopticMap, target_map
from ms_seg.label_sets import LabelSet
from ms_seg.presets import IMAGENET_MEAN, IMAGENET_STD
from ms_seg.presets.recipe import Recipe

NO_TARGET = -1  # the class in the unused places of targets

Sample = tuple[np.ndarray, np.ndarray, np.ndarray]


def augment(
    picture: np.ndarray,
    panoptic: PanopticMap,
    label_set: LabelSet,
    recipe: Recipe,
    rng: np.random.RandomState,
    mean: Triple = IMAGENET_MEAN,
    std: Triple = IMAGENET_STD,
) -> Sample:
    """One training sample by the numbers of a recipe (crop_size to flip, and max_targets).

    Returns: the image (3, crop, crop) float32, normalised, 0 beyond the picture's edge; the targets' classes (M,)
        int32, M = max_targets, NO_TARGET behind the last one; and their index map (crop, crop) uint16: 1 for the first
        target, 0 for none. See `target_map` for what is a target.

    If there are more than M targets, the smallest are left out. mmdetection has no such limit; COCO's pictures rarely
    have 100.
    """
    labels, targets = target_map(panoptic, label_set)
    things = sum(label_set.isthing[label] for label in labels.tolist())
    # Floats are resized without rounding. In BGR order: OpenCV's vector code leaves over the last value of some rows,
    # which another instruction rounds, and it must be in the same channel as theirs.
    image, targets = flip(picture[..., ::-1].astype(np.float32), targets, recipe.flip, rng)
    boxes, size = _boxes(targets, things), targets.shape
    image, targets = np.ascontiguousarray(image), np.ascontiguousarray(targets)
    sides, ratios = (recipe.long_side, recipe.short_side), (recipe.scale_min, recipe.scale_max)
    image, targets = resize(image, targets, sides, ratios, rng)
    boxes *= np.tile(np.divide(targets.shape, size), 2).astype(np.float32)
    window = draw_window(targets.shape, recipe.crop_size, rng)
    image, targets = image[window], targets[window]

    areas = np.bincount(targets.ravel(), minlength=len(labels) + 1)[1:]
    present = np.concatenate((_reaches(boxes, window, targets.shape), areas[things:] > 0))
    chosen = _largest(areas, present, recipe.max_targets)
    places = np.zeros(len(labels) + 1, np.uint16)
    places[chosen + 1] = np.arange(1, len(chosen) + 1)
    padding = np.full(recipe.max_targets - len(chosen), NO_TARGET, np.int32)
    padded = np.zeros((recipe.crop_size,) * 2, np.uint16)
    padded[: targets.shape[0], : targets.shape[1]] = places[targets]
    return _normalise(image[..., ::-1], recipe.crop_size, mean, std), np.concatenate((labels[chosen], padding)), padded


def masks_of(targets: np.ndarray, max_targets: int) -> np.ndarray:
    """Index maps of targets (n, s, s) uint16 -> a mask for each target, (n, max_targets, s, s) uint8, 0 or 1."""
    masks = np.zeros((len(targets), max_targets, *targets.shape[1:]), np.uint8)
    count = int(targets.max())
    numbers = np.arange(1, count + 1, dtype=targets.dtype)[:, None, None]
    # Pages that stay zero take no memory until they are read.
    np.equal(targets[:, None], numbers, out=masks[:, :count].view(bool))
    return masks


def _boxes(targets: np.ndarray, count: int) -> np.ndarray:
    """Top, left, bottom and right of the first `count` targets, (count, 4) float32."""
    sides = []
    for axis in (0, 1):
        lines = np.zeros((targets.shape[axis], int(targets.max()) + 1), bool)
        lines[np.arange(len(lines)).reshape((-1, 1) if axis == 0 else (1, -1)), targets] = True
        lines = lines[:, 1 : count + 1]
        sides.append((lines.argmax(axis=0), len(lines) - lines[::-1].argmax(axis=0)))
    (top, bottom), (left, right) = sides
    return np.stack((top, left, bottom, right), axis=1).astype(np.float32)


def _reaches(boxes: np.ndarray, window: tuple[slice, slice], size: tuple[int, ...]) -> np.ndarray:
    """Which of the boxes overlap a window of size `size`, (K,) bool.

    mmdetection keeps these things, even one without a pixel there, as a target with an empty mask. It takes the boxes
    from the annotations; here they are around the segments' pixels, as panopticapi writes them.
    """
    corner = np.array([part.start for part in window] * 2, np.float32)
    inside = np.clip(boxes - corner, 0, np.array(size * 2))
    return (inside[:, 2] > inside[:, 0]) & (inside[:, 3] > inside[:, 1])


def _largest(areas: np.ndarray, present: np.ndarray, max_targets: int) -> np.ndarray:
    """Indices of the targets that are present, in their order; if there are too many, the largest of them."""
    chosen = np.flatnonzero(present)
    return np.sort(chosen[np.argsort(-areas[chosen], kind="stable")][:max_targets])


def _normalise(image: np.ndarray, side: int, mean: Triple, std: Triple) -> np.ndarray:
    """(h, w, 3) float32 -> (3, side, side) float32, by mmcv's arithmetic; see `mmseg.normalise`."""
    image = cv2.subtract(np.ascontiguousarray(image), np.array([mean], np.float32).astype(np.float64))
    cv2.multiply(image, 1 / np.array([std], np.float32).astype(np.float64), image)
    padded = np.zeros((3, side, side), np.float32)
    padded[:, : image.shape[0], : image.shape[1]] = image.transpose(2, 0, 1)
    return padded

"""Mask2Former's training samples: large-scale jitter, which scales a picture by 0.1 to 2 and crops a square.

Flip, resize, crop, normalise and pad draw from the given `RandomState` what mmdetection 2.28's transforms of the COCO
panoptic configurations draw from numpy.random, in the same order, and give the same numbers to the last bit.
Pictures are RGB where theirs are BGR.
"""

from __future__ import annotations

import cv2
import numpy as np

from ms_seg.data.augmentation.mmseg import Pair, Size, Triple, draw_window, flip, pad, resize, scaling
from ms_seg.data.panoptic import PanopticMap, target_map
from ms_seg.data.targets import choose_targets
from ms_seg.label_sets import LabelSet
from ms_seg.presets import IMAGENET_MEAN, IMAGENET_STD
from ms_seg.presets.recipe import Recipe

_GREY = 128.0
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
        int32, and their index map (crop, crop) uint16, as `choose_targets` gives them, 0 beyond the edge. See
        `target_map` for what is a target.

    mmdetection has no limit to the number of targets; COCO's pictures rarely have 100.
    """
    labels, targets = target_map(panoptic, label_set)
    drawn = np.bincount(targets.ravel(), minlength=len(labels) + 1)[1:] > 0  # not covered by what was drawn over it
    things = sum(label_set.isthing[label] for label in labels.tolist())
    image, targets = _flip(picture, targets, recipe, rng)
    boxes, size = _boxes(targets, things), targets.shape
    image, targets = _resize(image, targets, recipe, rng)
    boxes *= np.tile(np.divide(targets.shape, size), 2).astype(np.float32)
    window = draw_window(targets.shape, recipe.crop, rng)
    image, targets = image[window], targets[window]

    areas = np.bincount(targets.ravel(), minlength=len(labels) + 1)[1:]
    present = np.concatenate((_reaches(boxes, window, targets.shape), areas[things:] > 0))
    labels, targets = choose_targets(labels, targets, present & drawn, recipe.max_targets)
    padded = np.zeros(recipe.crop, np.uint16)
    padded[: targets.shape[0], : targets.shape[1]] = targets
    return _normalise(image, recipe.crop, mean, std), labels, padded


def augment_regions(
    picture: np.ndarray, regions: np.ndarray, recipe: Recipe, rng: np.random.RandomState, mean: Triple, std: Triple
) -> Pair:
    """The same picture, and the regions of things that may overlap, (H, W) uint16, as mmdetection's configurations of
    COCO's instances have them.

    Returns: the image (3, crop, crop) float32, in which what is beyond the picture's edge is grey, 128, before it is
        normalised; and the regions, which are not padded.
    """
    image, regions = _flip(picture, regions, recipe, rng)
    image, regions = _resize(image, regions, recipe, rng)
    window = draw_window(regions.shape, recipe.crop, rng)
    image, regions = image[window], regions[window]
    padded = np.full((*recipe.crop, 3), _GREY, np.float32)
    padded[: image.shape[0], : image.shape[1]] = image
    return _normalise(padded, recipe.crop, mean, std), regions


def augment_label_map(
    picture: np.ndarray,
    label_map: np.ndarray,
    recipe: Recipe,
    rng: np.random.RandomState,
    mean: Triple = IMAGENET_MEAN,
    std: Triple = IMAGENET_STD,
) -> Pair:
    """The same picture, and what it shows as a label map.

    Returns: the image (3, crop, crop) float32, normalised, 0 beyond the picture's edge; and its label map (crop,
        crop) int32, 255 there.
    """
    image, label_map = _flip(picture, label_map, recipe, rng)
    image, label_map = _resize(image, label_map, recipe, rng)
    window = draw_window(label_map.shape, recipe.crop, rng)
    labels = pad(label_map[window], recipe.crop).astype(np.int32)
    return _normalise(image[window], recipe.crop, mean, std), labels


def _flip(picture: np.ndarray, truth: np.ndarray, recipe: Recipe, rng: np.random.RandomState) -> Pair:
    """An RGB picture and its map -> both in memory of their own, the picture as float32 and BGR.

    Floats are resized without rounding. In BGR order: OpenCV's vector code leaves over the last value of some rows,
    which another instruction rounds, and it must be in the same channel as theirs.
    """
    image, truth = flip(picture[..., ::-1].astype(np.float32), truth, recipe.flip, rng)
    return np.ascontiguousarray(image), np.ascontiguousarray(truth)


def _resize(image: np.ndarray, truth: np.ndarray, recipe: Recipe, rng: np.random.RandomState) -> Pair:
    return resize(image, truth, *scaling(recipe), rng)


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


def _normalise(image: np.ndarray, size: Size, mean: Triple, std: Triple) -> np.ndarray:
    """BGR (h, w, 3) float32 -> RGB (3, *size) float32, by mmcv's arithmetic; see `mmseg.normalise`."""
    image = cv2.subtract(np.ascontiguousarray(image[..., ::-1]), np.array([mean], np.float32).astype(np.float64))
    cv2.multiply(image, 1 / np.array([std], np.float32).astype(np.float64), image)
    padded = np.zeros((3, *size), np.float32)
    padded[:, : image.shape[0], : image.shape[1]] = image.transpose(2, 0, 1)
    return padded

"""What a model of masks learns of a picture: targets, each of them a class and a binary mask.

They are kept as their classes and one index map, (H, W) uint16, in which the first target is 1, the second 2, and 0 is
none; `masks_of` makes the masks of it. Targets that overlap, such as COCO's instances, are kept as masks in bits.
"""

from __future__ import annotations

import numpy as np

from ms_seg.data.numbering import IGNORED

NO_TARGET = -1  # the class in the unused places of targets


def class_targets(label_map: np.ndarray, max_targets: int) -> tuple[np.ndarray, np.ndarray]:
    """A target for each class in a label map (H, W) int32: see `choose_targets`.

    Ignored pixels are in no mask. As in the original of ViT-Adapter (its transform ToMask), a mask is 0 there, like
    where another class is: a query that covers them is told that it should not.
    """
    labels = np.flatnonzero(np.bincount(label_map.ravel(), minlength=IGNORED)[:IGNORED]).astype(np.int32)
    places = np.zeros(IGNORED + 1, np.uint16)
    places[labels] = np.arange(1, len(labels) + 1)
    return choose_targets(labels, places[label_map], np.ones(len(labels), bool), max_targets)


def choose_targets(
    labels: np.ndarray, targets: np.ndarray, present: np.ndarray, max_targets: int
) -> tuple[np.ndarray, np.ndarray]:
    """Those targets that are present, (K,) bool; if there are more than max_targets, the largest of them.

    labels: (K,) int32. targets: their index map, (H, W) uint16.
    Returns: classes (max_targets,) int32, in the order that they had, NO_TARGET behind the last one; and the index map.
    """
    areas = np.bincount(targets.ravel(), minlength=len(labels) + 1)[1:]
    chosen = np.flatnonzero(present)
    chosen = np.sort(chosen[np.argsort(-areas[chosen], kind="stable")][:max_targets])
    places = np.zeros(len(labels) + 1, np.uint16)
    places[chosen + 1] = np.arange(1, len(chosen) + 1)
    padding = np.full(max_targets - len(chosen), NO_TARGET, np.int32)
    return np.concatenate((labels[chosen], padding)), places[targets]


def choose_masks(
    labels: np.ndarray, regions: np.ndarray, members: np.ndarray, max_targets: int, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Those of several masks that have a pixel, which may overlap; if there are more than max_targets, the largest.

    labels: (K,) int32. regions, members: the masks as `instance.regions_of` has them, (h, w) and (R, K).
    Returns: classes (max_targets,) int32, as `choose_targets`; and the masks in bits, with zeros up to `size`,
        (max_targets, height, width / 8 rounded up) uint8. See `unpacked`.
    """
    areas = np.bincount(regions.ravel(), minlength=len(members)) @ members
    chosen = np.flatnonzero(areas)
    chosen = np.sort(chosen[np.argsort(-areas[chosen], kind="stable")][:max_targets])
    packed = np.zeros((max_targets, size[0], -(-size[1] // 8)), np.uint8)
    masks = np.packbits(members.T[chosen][:, regions], axis=-1)
    packed[: len(chosen), : masks.shape[1], : masks.shape[2]] = masks
    padding = np.full(max_targets - len(chosen), NO_TARGET, np.int32)
    return np.concatenate((labels[chosen].astype(np.int32), padding)), packed


def unpacked(packed: np.ndarray, width: int) -> np.ndarray:
    """Masks in bits (n, M, h, w / 8) uint8 -> (n, M, h, width) uint8, 0 or 1."""
    return np.unpackbits(packed, axis=-1, count=width)


def masks_of(targets: np.ndarray, max_targets: int) -> np.ndarray:
    """Index maps of targets (n, s, s) uint16 -> a mask for each target, (n, max_targets, s, s) uint8, 0 or 1."""
    masks = np.zeros((len(targets), max_targets, *targets.shape[1:]), np.uint8)
    count = int(targets.max())
    numbers = np.arange(1, count + 1, dtype=targets.dtype)[:, None, None]
    # Pages that stay zero take no memory until they are read.
    np.equal(targets[:, None], numbers, out=masks[:, :count].view(bool))
    return masks

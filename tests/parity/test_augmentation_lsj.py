"""Large-scale jitter against mmdetection's own transforms and targets, to the last bit, for the same draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import references
from test_augmentation import drawn_sample

from ms_seg.data.augmentation.lsj import augment, augment_regions
from ms_seg.data.instance import regions_of
from ms_seg.data.panoptic import PanopticMap, Segment
from ms_seg.data.targets import choose_masks, masks_of, unpacked
from ms_seg.label_sets import read_labels
from ms_seg.presets import IMAGENET_MEAN, IMAGENET_STD, find_preset

LABELS = read_labels("coco_panoptic")
THINGS, CLASSES = 80, 133
RECIPE = find_preset("mask2former_r50_coco_panoptic").recipe
SIZES = [(96, 128), (200, 90), (60, 50)]


def drawn_map(size: tuple[int, int], seed: int) -> PanopticMap:
    """Stuff in stripes, two of one class; void; and many things on top, small ones and crowds among them."""
    rng = np.random.default_rng(seed)
    ids, labels, crowds = np.zeros(size, np.int32), {}, set()
    for number, label in enumerate((100, 90, 100, 132), start=5001):
        ids[(number - 5001) * size[0] // 5 :] = number
        labels[number] = label
    ids[-size[0] // 5 :] = 0
    for number in rng.permutation(np.arange(1, 40)).tolist():
        height, width = rng.integers(1, 4 if number % 3 else 40, 2)
        top, left = rng.integers(0, np.array(size) - 1)
        ids[top : top + height, left : left + width] = number
        labels[number] = int(rng.integers(0, THINGS))
        if number % 7 == 0:
            crowds.add(number)
    present, areas = np.unique(ids[ids > 0], return_counts=True)
    rows = zip(present.tolist(), areas.tolist(), strict=True)
    return PanopticMap(ids, tuple(Segment(number, labels[number], number in crowds, area) for number, area in rows))


def mmdetection(
    picture: np.ndarray, panoptic: PanopticMap, seed: int, side: int, ratios: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image (h, w, 3), labels (K,) and masks (K, h, w), as the detector's head has them."""
    references.import_mmdet()
    import torch
    from mmdet.core import BitmapMasks
    from mmdet.datasets.pipelines import Compose
    from mmdet.models.utils.panoptic_gt_processing import preprocess_panoptic_gt

    things = [segment for segment in panoptic.segments if segment.label < THINGS and not segment.iscrowd]
    masks = [(panoptic.ids == segment.id).astype(np.uint8) for segment in things]
    semantic = np.full(panoptic.ids.shape, 255, np.int32)
    for segment in panoptic.segments:
        semantic[panoptic.ids == segment.id] = segment.label
    shape = picture.shape
    results = {
        "img": np.ascontiguousarray(picture[..., ::-1]).astype(np.float32),
        "img_shape": shape, "ori_shape": shape, "img_fields": ["img"],
        "gt_bboxes": np.array([*map(box_of, masks)], np.float32).reshape(-1, 4), "bbox_fields": ["gt_bboxes"],
        "gt_labels": np.array([segment.label for segment in things], np.int64),
        "gt_masks": BitmapMasks(masks, *shape[:2]), "mask_fields": ["gt_masks"],
        "gt_semantic_seg": semantic, "seg_fields": ["gt_semantic_seg"],
    }  # fmt: skip
    size = (side, side)
    chain = [
        {"type": "RandomFlip", "flip_ratio": 0.5},
        {
            "type": "Resize", "img_scale": size, "ratio_range": ratios, "multiscale_mode": "range", "keep_ratio": True,
        },
        {
            "type": "RandomCrop", "crop_size": size, "crop_type": "absolute", "recompute_bbox": True,
            "allow_negative_crop": True,
        },
        {"type": "Normalize", "mean": IMAGENET_MEAN, "std": IMAGENET_STD, "to_rgb": True},
        {"type": "Pad", "size": size},
    ]  # fmt: skip
    np.random.seed(seed)
    results = Compose(chain)(results)
    labels, masks = preprocess_panoptic_gt(
        torch.from_numpy(results["gt_labels"]),
        results["gt_masks"],
        torch.from_numpy(results["gt_semantic_seg"])[None],
        THINGS,
        CLASSES - THINGS,
        {"pad_shape": results["pad_shape"]},
    )
    return results["img"], labels.numpy(), masks.numpy()


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    """As COCO's annotations have it, but by its corners."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(("side", "ratios"), [(128, (0.1, 2.0)), (64, (0.9, 2.0))])
def test_the_whole_chain_equals_mmdetection(size, seed, side, ratios):
    picture, panoptic = drawn_sample(size)[0], drawn_map(size, seed)
    recipe = replace(RECIPE, crop_size=side, short_side=side, long_side=side, scale_min=ratios[0], scale_max=ratios[1])
    image, labels, targets = augment(picture, panoptic, LABELS, recipe, np.random.RandomState(seed))
    their_image, their_labels, their_masks = mmdetection(picture, panoptic, seed, side, ratios)
    assert image.dtype == their_image.dtype == np.float32
    assert np.array_equal(image.transpose(1, 2, 0), their_image)
    count = len(their_labels)
    assert labels.tolist() == their_labels.tolist() + [-1] * (recipe.max_targets - count)
    masks = masks_of(targets[None], recipe.max_targets)[0]
    assert np.array_equal(masks[:count], their_masks) and not masks[count:].any()


def drawn_things(size: tuple[int, int], seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Masks that overlap, small ones among them, and a class for each."""
    rng = np.random.default_rng(seed)
    masks = []
    for number in range(12):
        height, width = rng.integers(1, 3 if number % 3 else 60, 2)
        top, left = rng.integers(0, np.array(size) - 1)
        masks.append(np.zeros(size, bool))
        masks[-1][top : top + height, left : left + width] = True
    return masks, rng.integers(0, THINGS, len(masks))


def mmdetections_instances(
    picture: np.ndarray, masks: list[np.ndarray], labels: np.ndarray, seed: int, side: int, ratios: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """By the pipeline of its configurations of COCO's instances; None where it takes another picture instead."""
    references.import_mmdet()
    from mmdet.core import BitmapMasks
    from mmdet.datasets.pipelines import Compose

    shape, size = picture.shape, (side, side)
    results = {
        "img": np.ascontiguousarray(picture[..., ::-1]).astype(np.float32),
        "img_shape": shape, "ori_shape": shape, "img_fields": ["img"],
        "gt_bboxes": np.array([*map(box_of, masks)], np.float32), "bbox_fields": ["gt_bboxes"],
        "gt_labels": labels, "gt_masks": BitmapMasks([m.astype(np.uint8) for m in masks], *shape[:2]),
        "mask_fields": ["gt_masks"],
    }  # fmt: skip
    chain = [
        {"type": "RandomFlip", "flip_ratio": 0.5},
        {
            "type": "Resize", "img_scale": size, "ratio_range": ratios, "multiscale_mode": "range", "keep_ratio": True,
        },
        {
            "type": "RandomCrop", "crop_size": size, "crop_type": "absolute", "recompute_bbox": True,
            "allow_negative_crop": True,
        },
        {"type": "FilterAnnotations", "min_gt_bbox_wh": (1e-5, 1e-5), "by_mask": True},
        {"type": "Pad", "size": size, "pad_val": {"img": (128, 128, 128), "masks": 0, "seg": 255}},
        {"type": "Normalize", "mean": IMAGENET_MEAN, "std": IMAGENET_STD, "to_rgb": True},
    ]  # fmt: skip
    np.random.seed(seed)
    results = Compose(chain)(results)
    return results and (results["img"], results["gt_labels"], results["gt_masks"].masks)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(("side", "ratios"), [(128, (0.1, 2.0)), (60, (0.9, 2.0))])
def test_things_that_overlap_equal_mmdetections(size, seed, side, ratios):
    picture, (masks, labels) = drawn_sample(size)[0], drawn_things(size, seed)
    recipe = replace(RECIPE, crop_size=side, short_side=side, long_side=side, scale_min=ratios[0], scale_max=ratios[1])
    regions, members = regions_of(masks, size)
    rng = np.random.RandomState(seed)
    image, regions = augment_regions(picture, regions, recipe, rng, IMAGENET_MEAN, IMAGENET_STD)
    found, packed = choose_masks(labels, regions, members, recipe.max_targets, recipe.crop)
    theirs = mmdetections_instances(picture, masks, labels, seed, side, ratios)
    if theirs is None:
        assert (found == -1).all()
        return
    their_image, their_labels, their_masks = theirs
    assert np.array_equal(image.transpose(1, 2, 0), their_image)
    count = len(their_labels)
    assert found.tolist() == their_labels.tolist() + [-1] * (recipe.max_targets - count)
    unpacked_masks = unpacked(packed[None], side)[0]
    assert np.array_equal(unpacked_masks[:count], their_masks) and not unpacked_masks[count:].any()


def test_things_without_a_pixel_in_the_crop_are_among_those_compared():
    """mmdetection keeps a thing whose box reaches into the crop, though resizing left nothing of it."""
    empty = 0
    for seed in range(10):
        _, _, masks = mmdetection(drawn_sample((96, 128))[0], drawn_map((96, 128), seed), seed, 128, (0.1, 2.0))
        empty += np.count_nonzero(~masks.any(axis=(1, 2)))
    assert empty

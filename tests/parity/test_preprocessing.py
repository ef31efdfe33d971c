"""The network's input against the references' own pipelines, on pictures of many shapes."""

from __future__ import annotations

import numpy as np
import pytest
import references

from ms_seg.data.preprocessing import network_input
from ms_seg.presets import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

SIZES = [(512, 683), (364, 500), (1200, 1800), (50, 40), (1, 1), (777, 333), (1500, 3000), (33, 2100)]


def drawn_picture(size: tuple[int, int]) -> np.ndarray:
    """Smooth in places and noisy in others, so that interpolation and rounding both show."""
    noise = np.random.default_rng(sum(size)).integers(0, 256, (*size, 3))
    rows, columns = np.mgrid[: size[0], : size[1]]
    smooth = np.stack((rows, columns, rows + columns), axis=-1) % 256
    return np.where((rows // 16 % 2 == 0)[..., None], smooth, noise).astype(np.uint8)


def mmsegmentations_input(picture: np.ndarray, *steps: dict) -> np.ndarray:
    references.import_mmseg()
    from mmseg.datasets.pipelines import Compose

    normalise = {"type": "Normalize", "mean": IMAGENET_MEAN, "std": IMAGENET_STD, "to_rgb": True}
    bgr = np.ascontiguousarray(picture[..., ::-1])
    results = {"img": bgr, "img_shape": bgr.shape, "ori_shape": bgr.shape, "img_fields": ["img"], "scale_factor": 1.0}
    return Compose([*steps, normalise])(results)["img"].transpose(2, 0, 1)[None]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("short_side", [512, 640])
def test_keep_ratio_equals_mmsegmentation_to_the_last_bit(size, short_side):
    picture = drawn_picture(size)
    images, geometry = network_input(picture, Preprocessing("keep_ratio", short_side=short_side))
    theirs = mmsegmentations_input(picture, {"type": "Resize", "img_scale": (2048, short_side), "keep_ratio": True})
    assert geometry.resized == theirs.shape[2:]
    assert np.array_equal(images[:, :, : theirs.shape[2], : theirs.shape[3]], theirs)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_round_up_equals_mmsegmentation_to_the_last_bit(size):
    picture = drawn_picture(size)
    images, _ = network_input(picture, Preprocessing("round_up"))
    resize = {"type": "Resize", "img_scale": (2048, 512), "keep_ratio": True}
    theirs = mmsegmentations_input(picture, resize, {"type": "ResizeToMultiple", "size_divisor": 32})
    assert np.array_equal(images, theirs)


@pytest.mark.parametrize("size", [size for size in SIZES if min(size) > 3], ids=lambda size: f"{size[0]}x{size[1]}")
def test_squash_equals_transformers(size):
    from transformers import SegformerImageProcessor

    picture = drawn_picture(size)
    images, _ = network_input(picture, Preprocessing("squash"))
    theirs = SegformerImageProcessor(do_reduce_labels=False)(picture, return_tensors="np")["pixel_values"]
    assert np.abs(images - theirs).max() < 1e-6

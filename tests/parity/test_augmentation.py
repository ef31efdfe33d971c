"""Training pictures against mmsegmentation's own, to the last bit, for the same random numbers."""

from __future__ import annotations

import ast
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import references

from ms_seg.data.augmentation import mmseg as augmentation
from ms_seg.data.datasets import open_dataset
from ms_seg.data.numbering import coco_stuff
from ms_seg.presets import IMAGENET_MEAN, IMAGENET_STD, find_preset
from ms_seg.presets.recipe import Recipe
from tests.data.small_datasets import write_ade20k

SIZES = [(512, 683), (300, 400), (683, 200), (60, 50)]
SEEDS = range(12)  # enough for every branch of the distortion, mirror images and crops drawn again
NORMALISE = {"type": "Normalize", "mean": IMAGENET_MEAN, "std": IMAGENET_STD, "to_rgb": True}


def drawn_sample(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A picture with every colour in it, and labels of which one class covers most and 255 a part."""
    rng = np.random.default_rng(sum(size))
    noise = rng.integers(0, 256, (*size, 3))
    rows, columns = np.mgrid[: size[0], : size[1]]
    smooth = np.stack((rows, columns, rows + columns), axis=-1) % 256
    picture = np.where((rows // 16 % 2 == 0)[..., None], smooth, noise).astype(np.uint8)
    labels = np.where(columns > 0.7 * size[1], rows // 40 % 5, 7).astype(np.uint8)
    labels[: size[0] // 8, : size[1] // 3] = 255
    return picture, labels


def mmsegmentation(picture: np.ndarray, labels: np.ndarray, seed: int, *steps: dict) -> tuple[np.ndarray, np.ndarray]:
    """Picture (RGB unless normalised by them, which turns BGR round) and labels after their transforms."""
    references.import_mmseg()
    from mmseg.datasets.pipelines import Compose

    bgr = np.ascontiguousarray(picture[..., ::-1])
    results = {"img": bgr, "img_shape": bgr.shape, "ori_shape": bgr.shape, "img_fields": ["img"], "scale_factor": 1.0}
    np.random.seed(seed)
    results = Compose(steps)({**results, "gt_semantic_seg": labels.copy(), "seg_fields": ["gt_semantic_seg"]})
    turned = any(step["type"] == "Normalize" for step in steps)
    return results["img"] if turned else results["img"][..., ::-1], results["gt_semantic_seg"]


def assert_equal(ours: tuple[np.ndarray, np.ndarray], theirs: tuple[np.ndarray, np.ndarray]) -> None:
    for mine, reference in zip(ours, theirs, strict=True):
        assert mine.dtype == reference.dtype
        assert np.array_equal(mine, reference)


@pytest.fixture(params=SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def sample(request):
    return drawn_sample(request.param)


@pytest.mark.parametrize("seed", SEEDS)
def test_resize_equals_mmsegmentation(sample, seed):
    ours = augmentation.resize(*sample, (2048, 512), (0.5, 2.0), False, np.random.RandomState(seed))
    assert_equal(
        ours, mmsegmentation(*sample, seed, {"type": "Resize", "img_scale": (2048, 512), "ratio_range": (0.5, 2.0)})
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_a_choice_of_scales_and_a_wide_crop_equal_mmsegmentations(sample, seed):
    recipe = find_preset("mask2former_swin_t_cityscapes_semantic_mmseg").recipe
    recipe = replace(recipe, crop_size=64, crop_width=128, short_side=128, long_side=512, flip=0.0, photometric=False)
    image, labels = augmentation.augment(*sample, recipe, np.random.RandomState(seed))
    scales = [(512, int(128 * scale)) for scale in recipe.scales]
    theirs = mmsegmentation(
        *sample,
        seed,
        {"type": "Resize", "img_scale": scales, "multiscale_mode": "value", "keep_ratio": True},
        {"type": "RandomCrop", "crop_size": (64, 128), "cat_max_ratio": 0.75},
        {"type": "Normalize", "mean": IMAGENET_MEAN, "std": IMAGENET_STD, "to_rgb": True},
        {"type": "Pad", "size": (64, 128), "pad_val": 0, "seg_pad_val": 255},
    )
    assert_equal((image.transpose(1, 2, 0), labels.astype(np.uint8)), theirs)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("side", "most"), [(256, 0.75), (256, 1.0), (64, 0.5), (512, 0.75)])
def test_crop_equals_mmsegmentation(sample, seed, side, most):
    ours = augmentation.crop(*sample, (side, side), most, np.random.RandomState(seed))
    step = {"type": "RandomCrop", "crop_size": (side, side), "cat_max_ratio": most}
    assert_equal(ours, mmsegmentation(*sample, seed, step))


@pytest.mark.parametrize("seed", SEEDS)
def test_flip_equals_mmsegmentation(sample, seed):
    ours = augmentation.flip(*sample, 0.5, np.random.RandomState(seed))
    assert_equal(ours, mmsegmentation(*sample, seed, {"type": "RandomFlip", "prob": 0.5}))


@pytest.mark.parametrize("seed", range(48))
def test_distortion_equals_mmsegmentation(seed):
    picture, labels = drawn_sample((300, 400))
    ours = augmentation.distort(picture, np.random.RandomState(seed))
    assert_equal((ours, labels), mmsegmentation(picture, labels, seed, {"type": "PhotoMetricDistortion"}))


def test_normalising_and_padding_equal_mmsegmentation(sample):
    picture, labels = sample
    side = max(labels.shape) + 5
    theirs = mmsegmentation(
        picture, labels, 0, NORMALISE, {"type": "Pad", "size": (side, side), "pad_val": 0, "seg_pad_val": 255}
    )
    image = augmentation.normalise(picture, (side, side), IMAGENET_MEAN, IMAGENET_STD)
    assert_equal((image.transpose(1, 2, 0), augmentation.pad(labels, (side, side))), theirs)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("side", [512, 640])
def test_the_whole_chain_equals_mmsegmentation(sample, seed, side):
    image, labels = augmentation.augment(*sample, Recipe(crop_size=side, short_side=side), np.random.RandomState(seed))
    theirs, their_labels = mmsegmentation(
        *sample,
        seed,
        {"type": "Resize", "img_scale": (2048, side), "ratio_range": (0.5, 2.0)},
        {"type": "RandomCrop", "crop_size": (side, side), "cat_max_ratio": 0.75},
        {"type": "RandomFlip", "prob": 0.5},
        {"type": "PhotoMetricDistortion"},
        NORMALISE,
        {"type": "Pad", "size": (side, side), "pad_val": 0, "seg_pad_val": 255},
    )
    assert_equal((image.transpose(1, 2, 0), labels), (theirs, their_labels.astype(np.int32)))


def test_ade20k_is_loaded_as_mmsegmentation_loads_it(tmp_path):
    references.import_mmseg()
    from mmseg.datasets.pipelines import Compose

    write_ade20k(tmp_path, values=[*range(151), 255])
    dataset = open_dataset("ade20k", tmp_path, "training")
    for index in range(len(dataset)):
        picture = {"img_prefix": str(dataset.pictures), "img_info": {"filename": dataset.pairs[index].picture}}
        labels = {"seg_prefix": None, "ann_info": {"seg_map": str(dataset.label_file(index))}, "seg_fields": []}
        load = Compose([{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations", "reduce_zero_label": True}])
        theirs = load({**picture, **labels})
        ours = dataset.picture(index), dataset.label_map(index)
        assert_equal(ours, (theirs["img"][..., ::-1], theirs["gt_semantic_seg"]))


def test_coco_stuff_numbers_equal_mmsegmentations_table():
    """The table of its conversion script, which is no module of the package."""
    package = Path(find_spec("mmseg").origin).parent
    source = (package / ".mim/tools/convert_datasets/coco_stuff164k.py").read_text()
    statement = next(
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "clsID_to_trID"
    )
    theirs = ast.literal_eval(statement.value)
    assert {value: int(label) for value, label in enumerate(coco_stuff().table) if label != 254} == theirs

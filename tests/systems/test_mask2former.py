"""Mask2Former's doors: the sizes it takes, its presets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

import mindspore as ms
import numpy as np
import pytest

import ms_seg
from ms_seg.backbones import build_backbone
from ms_seg.backbones.resnet import ResNet
from ms_seg.backbones.swin import SwinTransformer
from ms_seg.checkpoints.loading import outline, shapes_of
from ms_seg.presets import find_preset
from ms_seg.systems import Mask2Former

DECODERS = {"num_classes": 5, "queries": 4, "width": 32, "decoder_heads": 2, "points": 2}
DECODERS |= {"pixel_layers": 1, "pixel_hidden": 16, "query_layers": 1, "query_hidden": 16}
SWIN = ("swin", {"channels": 8, "depths": (1, 1, 1, 1), "heads": (1, 1, 2, 2), "window": 3, "drop_path_rate": 0.0})
MIT = ("mit", {"embed_dims": (8, 8, 16, 16), "depths": (1, 1, 1, 1), "heads": (1, 1, 2, 2)})


@pytest.mark.parametrize(
    ("backbone", "size"),
    [(SWIN, (32, 32)), (SWIN, (33, 70)), (SWIN, (9, 40)), (MIT, (33, 70))],
    ids=["swin", "swin-odd", "swin-small", "mit-odd"],
)
def test_masks_have_a_quarter_of_the_pictures_size(backbone: tuple[str, dict], size: tuple[int, int]):
    model = Mask2Former(build_backbone(*backbone), **DECODERS).set_train(False)
    images = np.random.default_rng(0).standard_normal((1, 3, *size)).astype(np.float32)
    classes, masks = model(ms.Tensor(images))
    assert classes.shape == (1, 4, 6)
    assert masks.shape == (1, 4, -(-size[0] // 4), -(-size[1] // 4))
    assert np.isfinite(masks.asnumpy()).all()


SWIN_SIZES = {  # the appendix of Swin's paper, arXiv:2103.14030, and mmdetection's configurations of Mask2Former
    "swin_t": {"widths": [96, 192, 384, 768], "depths": [2, 2, 6, 2], "heads": [3, 6, 12, 24], "window": 7},
    "swin_s": {"widths": [96, 192, 384, 768], "depths": [2, 2, 18, 2], "heads": [3, 6, 12, 24], "window": 7},
    "swin_b": {"widths": [128, 256, 512, 1024], "depths": [2, 2, 18, 2], "heads": [4, 8, 16, 32], "window": 12},
    "swin_l": {"widths": [192, 384, 768, 1536], "depths": [2, 2, 18, 2], "heads": [6, 12, 24, 48], "window": 12},
}


def shapes(size: str) -> dict[str, tuple[int, ...]]:
    return shapes_of(outline(find_preset(f"mask2former_{size}_coco_panoptic")))


def lengths(names: Iterable[str], pattern: str) -> list[int]:
    """How many blocks each stage has, or how many layers there are, by the names of their parameters."""
    found = {match.groups() for match in map(re.compile(pattern).match, names) if match}
    return [count for _, count in sorted(Counter(stage for stage, *_ in found).items())]


@pytest.mark.parametrize("size", SWIN_SIZES)
def test_swins_stages_are_as_deep_and_as_wide_as_its_paper_says(size: str):
    expected, tensors = SWIN_SIZES[size], shapes(size)
    assert lengths(tensors, r"backbone\.stages\.(\d)\.blocks\.(\d+)\.") == expected["depths"]
    assert [tensors[f"backbone.norm{stage}.gamma"] for stage in range(4)] == [(width,) for width in expected["widths"]]
    for stage, (width, heads) in enumerate(zip(expected["widths"], expected["heads"], strict=True)):
        for block in range(expected["depths"][stage]):
            attention = f"backbone.stages.{stage}.blocks.{block}.attn"
            assert tensors[f"{attention}.qkv.weight"] == (3 * width, width)
            offsets = (2 * expected["window"] - 1) ** 2
            assert tensors[f"{attention}.relative_position_bias_table"] == (offsets, heads)


def test_resnets_stages_are_as_deep_and_as_wide_as_its_paper_says():
    tensors = shapes("r50")
    assert lengths(tensors, r"backbone\.stages\.(\d)\.blocks\.(\d+)\.") == [3, 4, 6, 3]
    ends = [tensors[f"backbone.stages.{stage}.blocks.0.expand.conv.weight"] for stage in range(4)]
    assert ends == [(256, 64, 1, 1), (512, 128, 1, 1), (1024, 256, 1, 1), (2048, 512, 1, 1)]


@pytest.mark.parametrize("size", ["r50", *SWIN_SIZES])
def test_decoders_are_as_deep_and_as_wide_as_the_paper_says(size: str):
    tensors = shapes(size)
    assert lengths(tensors, r"(pixel|query)_decoder\.layers\.(\d+)\.") == [6, 9]
    assert tensors["pixel_decoder.layers.5.mlp.fc1.weight"] == (1024, 256)
    assert tensors["query_decoder.layers.8.mlp.fc1.weight"] == (2048, 256)
    heads, levels, points = 8, 3, 4
    assert tensors["pixel_decoder.layers.0.self_attn.attention_weights.bias"] == (heads * levels * points,)
    assert tensors["query_decoder.query_feat"] == (200 if size == "swin_l" else 100, 256)
    assert tensors["query_decoder.class_embed.bias"] == (133 + 1,)  # and none


def test_the_published_models_are_prepared_for_as_their_configurations_say():
    names = ms_seg.list_models("mask2former_*_coco_panoptic")
    sizes = ("r50", "r101", *SWIN_SIZES, "swin_b_in21k")
    assert sorted(names) == sorted(f"mask2former_{size}_coco_panoptic" for size in sizes)
    for name in names:
        preset = find_preset(name)
        rule = preset.preprocessing
        assert (rule.resize, rule.short_side, rule.long_side, rule.pad_multiple) == ("keep_ratio", 800, 1333, 32)
        assert preset.licence == "CC-BY-NC-4.0"


def test_the_published_backbones_are_those_of_their_names_and_resnets_norms_never_learn():
    small = {"query_layers": 1, "pixel_layers": 1, "queries": 3}
    resnet = ms_seg.create_model("mask2former_r50_coco_panoptic", depths=(1, 1, 1, 1), **small)
    swin = ms_seg.create_model("mask2former_swin_t_coco_panoptic", depths=(1, 1, 1, 1), **small)
    assert isinstance(resnet.backbone, ResNet) and isinstance(swin.backbone, SwinTransformer)
    assert not any("norm" in parameter.name for parameter in resnet.backbone.trainable_params())

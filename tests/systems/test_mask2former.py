"""Mask2Former's doors: its backbones, the sizes it takes, its presets."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest

import ms_seg
from ms_seg.backbones.resnet import ResNet
from ms_seg.backbones.swin import SwinTransformer
from ms_seg.presets import find_preset
from ms_seg.systems.mask2former import Mask2Former

DECODERS = {"num_classes": 5, "queries": 4, "width": 32, "decoder_heads": 2, "points": 2}
DECODERS |= {"pixel_layers": 1, "pixel_hidden": 16, "query_layers": 1, "query_hidden": 16}
SWIN = {"channels": 8, "depths": (1, 1, 1, 1), "heads": (1, 1, 2, 2), "window": 3, "drop_path_rate": 0.0}
MIT = {"mit_channels": (8, 8, 16, 16), "mit_depths": (1, 1, 1, 1), "mit_heads": (1, 1, 2, 2)}


def test_arguments_of_several_backbones_or_of_none_are_refused():
    for arguments in ({}, {"window": 7}, {**SWIN, "resnet_depths": (1, 1, 1, 1)}, {**MIT, **SWIN}, {"mit_heads": (1,)}):
        with pytest.raises(ValueError, match="of one backbone: channels, .*; or resnet_depths; or mit_channels"):
            Mask2Former(**DECODERS, **arguments)


@pytest.mark.parametrize(
    ("backbone", "size"),
    [(SWIN, (32, 32)), (SWIN, (33, 70)), (SWIN, (9, 40)), (MIT, (33, 70))],
    ids=["swin", "swin-odd", "swin-small", "mit-odd"],
)
def test_masks_have_a_quarter_of_the_pictures_size(backbone: dict, size: tuple[int, int]):
    model = Mask2Former(**DECODERS, **backbone).set_train(False)
    images = np.random.default_rng(0).standard_normal((1, 3, *size)).astype(np.float32)
    classes, masks = model(ms.Tensor(images))
    assert classes.shape == (1, 4, 6)
    assert masks.shape == (1, 4, -(-size[0] // 4), -(-size[1] // 4))
    assert np.isfinite(masks.asnumpy()).all()


def test_the_published_models_are_those_of_the_papers_table():
    names = ms_seg.list_models("mask2former_*_coco_panoptic")
    assert sorted(names) == [f"mask2former_{size}_coco_panoptic" for size in ("r50", *(f"swin_{s}" for s in "blst"))]
    for name in names:
        preset = find_preset(name)
        rule = preset.preprocessing
        assert (rule.resize, rule.short_side, rule.long_side, rule.pad_multiple) == ("keep_ratio", 800, 1333, 32)
        assert preset.licence == "CC-BY-NC-4.0"
        assert preset.arguments["queries"] == (200 if name == "mask2former_swin_l_coco_panoptic" else 100)
    small = {"query_layers": 1, "pixel_layers": 1, "queries": 3}
    resnet = ms_seg.create_model("mask2former_r50_coco_panoptic", resnet_depths=(1, 1, 1, 1), **small)
    swin = ms_seg.create_model("mask2former_swin_t_coco_panoptic", depths=(1, 1, 1, 1), **small)
    assert isinstance(resnet.backbone, ResNet) and isinstance(swin.backbone, SwinTransformer)
    assert not any("norm" in parameter.name for parameter in resnet.backbone.trainable_params())

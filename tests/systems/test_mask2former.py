"""Mask2Former's doors: the sizes it takes, its presets."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest

import ms_seg
from ms_seg.backbones import build_backbone
from ms_seg.backbones.resnet import ResNet
from ms_seg.backbones.swin import SwinTransformer
from ms_seg.checkpoints.loading import outline
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


# Channels of the first map and blocks of each stage: arXiv:2103.14030, section 3.3, and arXiv:1512.03385, table 1.
PUBLISHED = {
    "swin_t": (SwinTransformer, 96, (2, 2, 6, 2)),
    "swin_s": (SwinTransformer, 96, (2, 2, 18, 2)),
    "swin_b": (SwinTransformer, 128, (2, 2, 18, 2)),
    "swin_l": (SwinTransformer, 192, (2, 2, 18, 2)),
    "r50": (ResNet, 256, (3, 4, 6, 3)),
}


def test_every_published_model_is_there():
    assert sorted(ms_seg.list_models("mask2former_*_coco_panoptic")) == sorted(
        f"mask2former_{size}_coco_panoptic" for size in PUBLISHED
    )


@pytest.mark.parametrize("size", PUBLISHED)
def test_the_published_models_are_those_of_the_papers_tables(size: str):
    preset = find_preset(f"mask2former_{size}_coco_panoptic")
    rule = preset.preprocessing
    assert (rule.resize, rule.short_side, rule.long_side, rule.pad_multiple) == ("keep_ratio", 800, 1333, 32)
    assert preset.licence == "CC-BY-NC-4.0"
    model, (kind, channels, depths) = outline(preset), PUBLISHED[size]
    assert isinstance(model.backbone, kind)
    assert model.backbone.out_channels == tuple(channels * 2**level for level in range(4))
    assert tuple(len(stage.blocks) for stage in model.backbone.stages) == depths
    assert model.query_decoder.query_feat.shape == (200 if size == "swin_l" else 100, 256)
    assert (len(model.pixel_decoder.layers), len(model.query_decoder.layers)) == (6, 9)


def test_the_batch_norms_of_a_published_resnet_do_not_learn():
    small = {"query_layers": 1, "pixel_layers": 1, "queries": 3}
    resnet = ms_seg.create_model("mask2former_r50_coco_panoptic", depths=(1, 1, 1, 1), **small)
    assert not any("norm" in parameter.name for parameter in resnet.backbone.trainable_params())

"""What mmsegmentation's and mmdetection's trainings leave, opened here and there: their configurations say how pictures
are answered."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import drawn
import mask2former_reference
import mindspore as ms
import numpy as np
import pytest
import references
import torch
from errors import relative_error
from PIL import Image

import ms_seg
from ms_seg.presets import find_preset

NAMES = ("road", "verge", "a lake", "sky", "house", "boat", "hill")
CONFIG = """
norm_cfg = dict(type='BN', requires_grad=True)
img_norm_cfg = dict(mean=[120.0, 110.0, 100.0], std=[60.0, 50.0, 40.0], to_rgb=COLOURS)
model = dict(
    type='EncoderDecoder', pretrained=None,
    backbone=dict(type='MixVisionTransformer', embed_dims=8, num_layers=[1, 2, 1, 1], num_heads=[1, 2, 3, 4],
                  sr_ratios=[4, 2, 2, 1], mlp_ratio=2),
    decode_head=dict(type='SegformerHead', in_channels=[8, 16, 24, 32], in_index=[0, 1, 2, 3], channels=20,
                     num_classes=7, OUTPUTS dropout_ratio=0.1, norm_cfg=norm_cfg, align_corners=False),
    train_cfg=dict(), test_cfg=TEST)
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(160, 96), flip=False, transforms=[
        dict(type='Resize', keep_ratio=RATIO), dict(type='RandomFlip'), dict(type='Normalize', **img_norm_cfg),
        dict(type='ImageToTensor', keys=['img']), dict(type='Collect', keys=['img'])])]
data = dict(test=dict(type='CustomDataset', classes=CLASSES, pipeline=test_pipeline))
"""
KINDS = {
    "whole": {"TEST": "dict(mode='whole')", "RATIO": "True", "OUTPUTS": ""},
    "stretched": {"TEST": "dict(mode='whole')", "RATIO": "False", "OUTPUTS": ""},
    "blue first": {"TEST": "dict(mode='whole')", "RATIO": "True", "OUTPUTS": "", "COLOURS": "False"},
    "by windows": {"TEST": "dict(mode='slide', crop_size=(64, 64), stride=(48, 48))", "RATIO": "True", "OUTPUTS": ""},
    "by windows that are no squares": {
        "TEST": "dict(mode='slide', crop_size=(64, 96), stride=(40, 64))",
        "RATIO": "True",
        "OUTPUTS": "",
    },
    "of one output": {"TEST": "dict(mode='whole')", "RATIO": "True", "OUTPUTS": "out_channels=1, threshold=0.4,"},
}


def trained(folder: Path, kind: str):
    """Its model with drawn weights and its configuration; the folder gets the checkpoint that its runner writes."""
    references.import_mmseg()
    import mmcv
    from mmseg.models import build_segmentor

    outputs = 2 if "out_channels" in KINDS[kind]["OUTPUTS"] else len(NAMES)
    text = CONFIG.replace("num_classes=7", f"num_classes={outputs}").replace("CLASSES", repr(NAMES[:outputs]))
    for word, value in {"COLOURS": "True", **KINDS[kind]}.items():
        text = text.replace(word, value)
    (folder / "written.py").write_text(text)
    config = mmcv.Config.fromfile(str(folder / "written.py"))
    model = references.draw_weights(build_segmentor(config.model), 1).eval()
    meta = {"config": config.pretty_text, "mmseg_version": "0.30.0", "CLASSES": NAMES[:outputs]}
    torch.save({"meta": meta, "state_dict": model.state_dict()}, folder / "iter_100.pth")
    (folder / "written.py").unlink()
    return model, config


def answered(model: torch.nn.Module, config, picture: Path) -> np.ndarray:
    """The label map of its single-scale test."""
    from mmseg.datasets.pipelines import Compose

    seen = Compose(config.data.test.pipeline)({"img_info": {"filename": str(picture)}, "img_prefix": None})
    metas = [seen["img_metas"][0].data]
    with torch.no_grad():
        return model.simple_test(seen["img"][0][None], metas, rescale=True)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_answers_as_in_mmsegmentation(kind: str, tmp_path: Path):
    """With sizes that nobody published, and whatever its tests do with a picture."""
    coarse = np.random.RandomState(3).randint(0, 256, (6, 8, 3)).astype(np.uint8)
    Image.fromarray(coarse).resize((93, 71), Image.Resampling.BICUBIC).save(tmp_path / "picture.png")
    theirs = answered(*trained(tmp_path, kind), tmp_path / "picture.png")
    model = ms_seg.create_model("auto", tmp_path / "iter_100.pth")
    answer = ms_seg.Segmenter(model, "pynative")(tmp_path / "picture.png")
    assert answer.label_set.names == NAMES[: len(answer.label_set)]
    assert len(np.unique(theirs)) > 1
    assert np.mean(answer.label_map != theirs) <= 1e-3


PIPELINE = [
    {"type": "LoadImageFromFile"},
    {
        "type": "MultiScaleFlipAug", "img_scale": (200, 96), "flip": False,
        "transforms": [
            {"type": "Resize", "keep_ratio": True},
            {"type": "Normalize", "mean": [120.0, 110.0, 100.0], "std": [60.0, 50.0, 40.0], "to_rgb": True},
            {"type": "Pad", "size_divisor": 32},
        ],
    },
]  # fmt: skip


def test_a_checkpoint_of_mmdetection_predicts_as_there(tmp_path: Path):
    """Heads and points of attention are in its configuration alone."""
    sizes = {
        "num_classes": 5, "queries": 7, "width": 32, "decoder_heads": 4, "points": 3, "pixel_layers": 1,
        "pixel_hidden": 48, "query_layers": 2, "query_hidden": 40, "channels": 12, "depths": (1, 1, 2, 1),
        "heads": (1, 2, 3, 4), "window": 3, "mlp_ratio": 2, "drop_path_rate": 0.0,
    }  # fmt: skip
    preset = find_preset("mask2former_swin_t_coco_panoptic").override(**sizes)
    references.import_mmdet()
    import mmcv
    from mmdet.models import build_detector

    built: list[mmcv.ConfigDict] = []
    with mock.patch("mmdet.models.build_detector", lambda model: built.append(model) or build_detector(model)):
        reference = references.draw_weights(mask2former_reference.build(preset), 2)
    config = mmcv.Config({"model": built[0].to_dict(), "test_pipeline": PIPELINE})
    meta = {"config": config.pretty_text, "CLASSES": NAMES[:5]}
    torch.save({"meta": meta, "state_dict": reference.state_dict()}, tmp_path / "epoch_3.pth")
    model = ms_seg.create_model("auto", tmp_path / "epoch_3.pth")
    rule = model.preset.preprocessing
    assert (rule.short_side, rule.long_side, rule.pad_multiple, rule.mean) == (96, 200, 32, (120.0, 110.0, 100.0))
    assert model.preset.tasks[0] == "panoptic" and model.preset.label_set.things == (True, True, True, False, False)
    images = drawn.images((1, 3, 64, 96), 4)
    with torch.no_grad():
        theirs = mask2former_reference.all_layers(reference, torch.from_numpy(images))[-1]
    for ours, expected in zip(model(ms.Tensor(images)), theirs, strict=True):
        assert relative_error(ours.asnumpy(), expected.numpy()) <= 1e-4

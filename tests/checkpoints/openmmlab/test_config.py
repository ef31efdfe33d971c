"""OpenMMLab's configurations, beside weights and in them: what is read of them, and what ours cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ms_seg
from convert import CheckpointError, open_checkpoint
from convert.__main__ import main as convert
from convert.plan import find_layout
from convert.recognition import recognise
from ms_seg.checkpoints.identification import identify
from ms_seg.checkpoints.openmmlab.config import read_config, read_recorded
from ms_seg.presets import ASSETS, TASKS, Window, find_preset
from tests.convert.layouts.published import manifests, read_manifest
from tests.convert.reading import files

SEGFORMER = """
norm_cfg = dict(type='SyncBN', requires_grad=True)
classes = ('road', 'verge', 'lake', 'sky', 'house', 'boat', 'hill')
palette = [[1, 2, 3], [4, 5, 6], [7, 8, 9], [1, 1, 1], [2, 2, 2], [3, 3, 3], [4, 4, 4]]
crop_size = (64, 64)
model = dict(
    type='EncoderDecoder',
    backbone=dict(type='MixVisionTransformer', embed_dims=8, num_layers=[1, 2, 1, 1], num_heads=[1, 2, 3, 4],
                  sr_ratios=[4, 2, 2, 1], mlp_ratio=2),
    decode_head=dict(type='SegformerHead', channels=20, num_classes=len(classes), norm_cfg=norm_cfg,
                     align_corners=False),
    test_cfg=dict(mode='slide', crop_size=crop_size, stride=(48, 48)))
img_norm_cfg = dict(mean=[120.0, 110.0, 100.0], std=[60.0, 50.0, 40.0], to_rgb=True)
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(256, 96), flip=False, transforms=[
        dict(type='Resize', keep_ratio=True), dict(type='RandomFlip'), dict(type='Normalize', **img_norm_cfg),
        dict(type='Pad', size_divisor=32), dict(type='ImageToTensor', keys=['img']),
        dict(type='Collect', keys=['img'])])]
data = dict(test=dict(type='MyDataset', classes=classes, palette=palette, pipeline=test_pipeline))
"""
SIZES = {
    "embed_dims": (8, 16, 24, 32), "depths": (1, 2, 1, 1), "heads": (1, 2, 3, 4), "sr_ratios": (4, 2, 2, 1),
    "mlp_ratios": (2, 2, 2, 2),
}  # fmt: skip
ONE_X = """
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], bgr_to_rgb=True,
                           size=(64, 64), test_cfg=dict(size_divisor=32)),
    backbone=dict(type='mmpretrain.SomethingElse'), decode_head=dict(type='SegformerHead'), test_cfg=dict(mode='whole'))
test_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='Resize', scale=(96, 64)), dict(type='PackSegInputs')]
test_dataloader = dict(dataset=dict(type='CityscapesDataset', pipeline=test_pipeline))
"""


@pytest.fixture(scope="module")
def tensors() -> dict[str, Any]:
    """A SegFormer of those sizes under mmsegmentation's names."""
    sizes = {"embed_dims", "depths", "heads", "sr_ratios", "mlp_ratios"}
    model = ms_seg.create_model(
        "segformer_b0_ade20k_mmseg", num_classes=7, head_width=20, **{key: SIZES[key] for key in sizes}
    )
    from convert.reading.entry import ArrayEntry

    parameters = {parameter.name: ArrayEntry(parameter.asnumpy()) for parameter in model.get_parameters()}
    plan = recognise(parameters).plan_back(find_layout("mmseg", "segformer"))
    return {name: files.tensor(entry.numpy().copy()) for name, entry in plan.apply(parameters).items()}


def check(model: Any) -> None:
    preset = model.preset
    assert {key: preset.sizes[key] for key in SIZES} == SIZES and preset.sizes["level_norm"]
    rule = preset.preprocessing
    assert (rule.resize, rule.short_side, rule.long_side, rule.pad_multiple) == ("keep_ratio", 96, 256, 32)
    assert (rule.mean, rule.std) == ((120.0, 110.0, 100.0), (60.0, 50.0, 40.0)) and rule.logits_via_input
    assert preset.window == Window(64, 48)
    assert preset.label_set.names[:2] == ("road", "verge") and preset.label_set.palette[1].tolist() == [4, 5, 6]


def test_a_configuration_beside_weights_describes_them(tensors: dict[str, Any], tmp_path: Path):
    (folder := tmp_path / "work_dir").mkdir()
    (folder / "iter_16000.pth").write_bytes(files.torch_zip({"state_dict": tensors}))
    (folder / "my_segformer.py").write_text(SEGFORMER)
    check(ms_seg.create_model("auto", folder))
    assert convert([str(folder), str(tmp_path / "model.ckpt")]) == 0
    check(ms_seg.create_model("auto", tmp_path / "model.ckpt"))


@pytest.mark.parametrize("key", ["config", "cfg"])
def test_a_configuration_in_a_checkpoint_describes_it(key: str, tensors: dict[str, Any], tmp_path: Path):
    """However long it is: most are longer than what is read of a pickle at once."""
    text = SEGFORMER + f"note = {'x' * 5000!r}"
    content = {"meta": {key: text, "mmseg_version": "0.30.0"}, "state_dict": tensors}
    (tmp_path / "latest.pth").write_bytes(files.torch_zip(content))
    check(ms_seg.create_model("auto", tmp_path / "latest.pth"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("num_layers=[1, 2, 1, 1]", "num_layers=[2, 2, 2, 2]"), "says depths=(2, 2, 2, 2), and its weights have"),
        (("type='SegformerHead'", "type='UPerHead'"), "describes a UPerHead, and its weights are mmsegmentation's"),
        (("align_corners=False", "align_corners=True"), "decode_head.align_corners=True: only False can be loaded"),
        (("to_rgb=True", "to_rgb=1"), "to_rgb=1: it must be true or false"),
        (("std=[60.0, 50.0, 40.0]", "std=[60.0, 0, 40.0]"), "std=[60.0, 0, 40.0]: it must be above 0"),
        (("embed_dims=8", "embed_dims='8'"), "embed_dims='8': it must be like 64"),
        (("norm_cfg = dict(", "norm_cfg = dict(("), "cannot be read as one"),
    ],
)
def test_what_contradicts_the_weights_or_cannot_be_ours_is_one_sentence(
    change: tuple[str, str], sentence: str, tensors: dict[str, Any], tmp_path: Path
):
    (tmp_path / "iter_16000.pth").write_bytes(files.torch_zip({"state_dict": tensors}))
    (tmp_path / "config.py").write_text(SEGFORMER.replace(*change))
    with pytest.raises(CheckpointError) as error:
        ms_seg.create_model("auto", tmp_path)
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_another_programs_python_is_left_alone(tmp_path: Path):
    with open_checkpoint(ASSETS / "segformer_tiny_shapes.pth") as checkpoint:
        tensors = {name: files.tensor(entry.numpy().copy()) for name, entry in checkpoint.items()}
    (tmp_path / "model.pth").write_bytes(files.torch_zip(tensors))
    (tmp_path / "train.py").write_text("epochs = 3")
    assert (
        ms_seg.create_model("auto", tmp_path).preset.preprocessing == find_preset("segformer_tiny_shapes").preprocessing
    )


def test_mmengines_model_normalises_and_pads():
    """And a network that is not known is described by its pictures alone."""
    notes = read_recorded({"CONFIG": ONE_X})
    fields = {"resize": "stretch_cv2", "short_side": 64, "long_side": 96, "pad_multiple": 32, "window": None}
    fields |= {"mean": (1.0, 2.0, 3.0), "std": (4.0, 5.0, 6.0)}
    assert notes.fields == fields and not notes.arguments and not notes.lines and not notes.blue_first
    blue_first = read_recorded({"CONFIG": ONE_X.replace("bgr_to_rgb=True", "bgr_to_rgb=False")})
    assert blue_first.blue_first and blue_first.fields["mean"] == (3.0, 2.0, 1.0)


def test_a_part_of_mmengines_configuration_does_not_say_how_pictures_are_normalised():
    notes = read_recorded({"CONFIG": ONE_X.replace("data_preprocessor", "another")})
    assert "mean" not in notes.fields and not notes.blue_first and "has no data_preprocessor" in notes.lines[0]


@pytest.mark.parametrize(
    ("steps", "line"),
    [
        ("dict(type='CenterCrop', size=3)", "its step 'CenterCrop' of the tests is not followed"),
        (
            "dict(type='Resize', img_scale=[(1, 2), (3, 4)])",
            "pictures of the size [(1, 2), (3, 4)] in its tests cannot",
        ),
        ("dict(type='Pad', size=(64, 64))", "pictures are not padded to [64, 64]"),
        ("dict(type='ResizeToMultiple', size_divisor=14)", "sides are not taken up to multiples of 14"),
    ],
)
def test_what_is_not_followed_is_said(steps: str, line: str):
    notes = read_recorded({"CONFIG": f"model = dict()\ntest_pipeline = [{steps}]"})
    assert line in notes.lines[0]


def test_the_originals_sides_are_rounded_up():
    notes = read_recorded({"CONFIG": ONE_X.replace("dict(type='Resize', scale=(96, 64))",
        "dict(type='AlignedResize', img_scale=(2048, 512), keep_ratio=True, size_divisor=32)")})  # fmt: skip
    assert {key: notes.fields[key] for key in ("resize", "short_side")} == {"resize": "round_up", "short_side": 512}


def mask2former(**changes: Any) -> dict[str, Any]:
    attention = {"num_heads": 4, "num_points": 3}
    head = {
        "type": "Mask2FormerHead", "num_things_classes": 2, "num_stuff_classes": 1, "num_queries": 9,
        "feat_channels": 32,
        "pixel_decoder": {"encoder": {"num_layers": 2, "transformerlayers": {"attn_cfgs": attention}}},
        "transformer_decoder": {"num_layers": 3, "transformerlayers": {"attn_cfgs": {"num_heads": 4}}},
        **changes,
    }  # fmt: skip
    swin = {"type": "SwinTransformer", "embed_dims": 12, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 3, 4]}
    return {"model": {"backbone": swin, "panoptic_head": head}, "metainfo": {"classes": ["cat", "dog", "sky"]}}


def test_a_mask2former_says_what_it_answers_and_what_are_things():
    notes = read_config(mask2former(), "config")
    assert notes.fields["tasks"] == TASKS and notes.things == 2 and len(notes.labels) == 3
    assert notes.arithmetic == {"decoder_heads": 4, "points": 3, "heads": (1, 2, 3, 4)}
    assert notes.arguments == {"queries": 9, "width": 32, "num_classes": 3, "pixel_layers": 2, "query_layers": 3}
    assert read_config(mask2former(num_stuff_classes=0), "config").fields["tasks"] == ("instance",)
    semantic = mask2former(num_classes=3)
    semantic["model"]["decode_head"] = semantic["model"].pop("panoptic_head")
    found = read_config(semantic, "config")
    assert found.fields == {"tasks": ("semantic",), "query_rule": "mmseg"} and found.things is None


def test_easycvs_mask2former_is_told_by_its_shapes_and_asked_as_in_its_tests():
    """150 of its classes are called things, and are asked for pixel by pixel."""
    config = mask2former(num_stuff_classes=0)["model"]
    model = {"head": config["panoptic_head"], "backbone": {"type": "ResNet", "out_indices": [1, 2, 3, 4]}}
    notes = read_config({"model": {**model, "test_cfg": {"semantic_on": True}}}, "config")
    assert notes.system == "mask2former" and notes.backbone is None and not notes.arguments
    assert notes.fields["tasks"] == ("semantic",)


@pytest.mark.parametrize(
    ("manifest", "backbone", "head", "name"),
    [
        (
            "segformer_b0_mmseg_ade150",
            {
                "type": "MixVisionTransformer",
                "embed_dims": 32,
                "num_layers": [2] * 4,
                "num_heads": [1, 2, 5, 8],
                "drop_path_rate": 0.1,
            },  # fmt: skip
            {"type": "SegformerHead", "channels": 256, "num_classes": 150},
            "segformer_b0_ade20k_mmseg",
        ),
        (
            "mask2former_r101_cityscapes_semantic_mmseg1",
            {"type": "ResNet", "depth": 101, "norm_cfg": {"type": "BN", "requires_grad": False}},
            {"type": "Mask2FormerHead", "num_classes": 19},
            "mask2former_r101_cityscapes_semantic_mmseg",
        ),
    ],
)
def test_a_published_model_is_the_one_that_its_shapes_tell(manifest: str, backbone: dict, head: dict, name: str):
    """Its configuration says the same of it."""
    notes = read_config({"model": {"backbone": backbone, "decode_head": head}}, "config")
    source = recognise(read_manifest(manifests(manifest)[manifest]))
    found = identify(source, {}, beside=notes)
    assert (found.name, found.sizes) == (name, find_preset(name).sizes)


def test_decoders_of_different_heads_are_refused():
    odd = {"num_layers": 3, "layer_cfg": {"self_attn_cfg": {"num_heads": 8}}}
    with pytest.raises(CheckpointError, match=r"panoptic_head.num_heads=\[4, 8\]: only one number for both"):
        read_config(mask2former(transformer_decoder=odd), "config")


def test_easycvs_pictures_stand_in_modelscopes_json():
    """Its tuples are tables that say so, and its steps have MM before their names."""
    size = {"__class__": "tuple", "__value__": [2048, 640]}
    steps = [{"type": "MMResize", "keep_ratio": True}, {"type": "MMRandomFlip"},
             {"type": "MMNormalize", "mean": [1, 2, 3], "std": [4, 5, 6], "to_rgb": True}]  # fmt: skip
    pipeline = [{"type": "MMMultiScaleFlipAug", "img_scale": size, "flip": False, "transforms": steps}]
    config = {"model": {"type": "Segformer"}, "dataset": {"val": {"pipeline": pipeline}}}
    fields = read_config(json.loads(json.dumps(config)), "configuration.json").fields
    assert (fields["resize"], fields["short_side"], fields["long_side"]) == ("keep_ratio", 640, 2048)
    np.testing.assert_array_equal([fields["mean"], fields["std"]], [[1, 2, 3], [4, 5, 6]])

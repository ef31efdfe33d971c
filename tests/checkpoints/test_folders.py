"""Folders of models: what stands beside the weights, what contradicts them, and what is no model of ours."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import ms_seg
from convert import CheckpointError, open_checkpoint
from convert.layouts.row import NATIVE
from convert.recognition import recognise
from convert.writing import write_checkpoint
from ms_seg.checkpoints.identification import identify, notes_beside
from ms_seg.checkpoints.loading import match
from ms_seg.checkpoints.modelscope import read_modelscope
from ms_seg.checkpoints.notes import Notes
from ms_seg.checkpoints.transformers.config import read_transformers, write_config
from ms_seg.label_sets import read_labels
from ms_seg.presets import ASSETS, TASKS, Window, find_preset
from tests.convert.layouts.published import manifests, read_manifest

TINY = find_preset("segformer_tiny_shapes")
PANOPTIC = find_preset("mask2former_swin_t_coco_panoptic")


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    """The tiny SegFormer's, as transformers writes it."""
    return json.loads(json.dumps(write_config(TINY)))


@pytest.fixture
def folder(tmp_path: Path, config: dict[str, Any]) -> Path:
    shutil.copy(ASSETS / "segformer_tiny_shapes.pth", tmp_path / "pytorch_model.bin")
    return changed(tmp_path, config)


def changed(folder: Path, config: dict[str, Any], **changes: Any) -> Path:
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(ValueError) as error:
        ms_seg.create_model("auto", folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_weights_named_in_a_folder_are_described_by_it_too(folder: Path):
    for path in (folder, folder / "pytorch_model.bin"):
        preset = ms_seg.create_model("auto", path).preset
        assert preset.label_set == "shapes" and preset.preprocessing.resize == "squash"
    moved = (folder / "pytorch_model.bin").rename(folder / "my.pth")
    assert ms_seg.create_model("auto", moved).preset.preprocessing.resize == "shrink"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"id2label": {"0": "a", "1": "b"}}, "says num_classes=2, and its weights have num_classes=9"),
        ({"id2label": {"0": "a", "two": "b"}}, "a table of 2 entries: each must be a number with a name"),
        ({"id2label": {"0": "a", "1" * 5000: "b"}}, "each must be a number with a name"),
        ({"depths": [2, 2, 2, 2]}, "says depths="),
        ({"decoder_hidden_size": 256}, "says head_width=256, and its weights have head_width=96"),
        ({"depths": [1, 2]}, "it must be four whole numbers"),
        ({"mlp_ratios": [4, 4, 4, 2.5]}, "it must be four whole numbers"),
        ({"id2label": ["a", "b"]}, "id2label=['a', 'b']: it must be a table"),
        ({"sr_ratios": [4, 2, 1, 1]}, "says sr_ratios=(4, 2, 1, 1), and its weights have"),
        ({"hidden_act": "relu"}, "only gelu can be loaded here"),
        ({"num_attention_heads": [5, 5, 5, 5]}, "channels must be a multiple of heads: 24 is not a multiple of 5"),
        ({"model_type": "maskformer"}, "is a MaskFormer"),
        ({"model_type": "oneformer"}, "is a OneFormer"),
        ({"model_type": "bert"}, "of the type 'bert'"),
        ({"quantization_config": {"bits": 8}}, "a quantised model"),
        ({"id2label": {str(index): "\n" for index in range(9)}}, "has no name for class 0"),
    ],
)
def test_what_contradicts_the_weights_or_cannot_be_ours_is_one_sentence(
    folder: Path, config: dict[str, Any], changes: dict[str, Any], sentence: str
):
    assert sentence in refusal(changed(folder, config, **changes))


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"model_type": "swin", "depths": [2, 2, 18, 2]}, ""),
        ({"model_type": "resnet"}, ""),
        ({"model_type": "clip", "text_config": {}}, ""),
        ({"model_type": "resnet", "layer_type": "basic"}, "layer_type='basic': only bottleneck"),
        ({"model_type": "swin", "mlp_ratio": 2.0}, ""),
        ({"model_type": "swin", "qkv_bias": False}, "qkv_bias=False: only True"),
    ],
)
def test_a_part_of_a_model_is_no_model_of_another_kind(config: dict[str, Any], sentence: str, tmp_path: Path):
    """An ImageNet backbone or a text transformer, of which a model can begin."""
    changed(tmp_path, config)
    if not sentence:
        assert not read_transformers(tmp_path).arguments
        return
    with pytest.raises(CheckpointError, match=sentence):
        read_transformers(tmp_path)


def test_how_label_files_were_numbered_comes_from_the_folder_and_not_for_other_classes(
    folder: Path, config: dict[str, Any]
):
    (folder / "preprocessor_config.json").write_text('{"do_reduce_labels": true}')
    changed(folder, config)
    assert ms_seg.create_model("auto", folder).preset.label_values["values"] == tuple(range(1, 10))
    other = ms_seg.create_model("auto", folder, fine_tune=True, num_classes=3).preset
    assert other.num_classes == 3 and other.label_values is None


def test_numbers_are_read_as_transformers_reads_them(folder: Path, config: dict[str, Any]):
    changed(folder, config, mlp_ratios=[4.0] * 4, id2label={str(index): index for index in range(9)})
    preset = ms_seg.create_model("auto", folder).preset
    assert preset.sizes["mlp_ratios"] == (4, 4, 4, 4) and preset.label_set.names == tuple("012345678")


def told(folder: Path) -> str:
    """What a person is told when the model of a folder is opened."""
    with open_checkpoint(folder) as tensors:
        return "\n".join(match(tensors).lines)


def test_of_two_copies_of_the_weights_the_one_that_is_taken_is_told(folder: Path):
    (folder / "preprocessor_config.json").write_text("{}")
    assert told(folder) == ""
    with open_checkpoint(folder) as tensors:
        write_checkpoint(folder / "model.safetensors", dict(tensors))
    assert told(folder) == "of the folder's weights model.safetensors is taken, and not pytorch_model.bin"


@pytest.mark.parametrize(
    ("processor", "line"),
    [
        (None, "there is no preprocessor_config.json beside the weights: .*height 512, width 512"),
        ({"image_processor_type": "SegformerImageProcessorFast"}, ""),
        ({"feature_extractor_type": "SegformerFeatureExtractor"}, ""),
        ({"image_processor_type": "ViTImageProcessor"}, "'ViTImageProcessor': what it does not say is taken as Segf"),
        ({"do_center_crop": True}, "do_center_crop=true: it is not followed"),
    ],
)
def test_how_pictures_are_prepared_is_told_where_the_folder_leaves_it_open(processor: Any, line: str, folder: Path):
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    assert re.search(line, told(folder)) if line else told(folder) == ""


@pytest.mark.parametrize(
    ("configuration", "line"),
    [
        ({"framework": "pytorch", "task": "image-segmentation"}, ""),
        ({"CLASSES": ["a", "b"]}, "config.json is followed, and not .*configuration.json, which says other classes"),
        ({"model": {"type": "vitadapter-semantic-segmentation"}}, "which says other system"),
        ([], "config.json is followed, and not another beside it: .*configuration.json must hold a JSON object"),
    ],
)
def test_a_second_description_that_says_otherwise_is_told(configuration: Any, line: str, folder: Path):
    (folder / "preprocessor_config.json").write_text("{}")
    (folder / "configuration.json").write_text(json.dumps(configuration))
    assert re.search(line, told(folder)) if line else told(folder) == ""


def test_a_configuration_of_another_system_is_refused(folder: Path):
    changed(folder, write_config(PANOPTIC))
    assert "describes a mask2former, and its weights are transformers' Segformer" in refusal(folder)


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000])
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_a_description_that_is_no_json_is_refused(folder: Path, name: str, text: str):
    (folder / name).write_text(text)
    assert name in refusal(folder)


def test_another_programs_config_is_left_alone(folder: Path):
    (folder / "config.json").write_text('{"learning_rate": 0.1}')
    assert ms_seg.create_model("auto", folder).preset.preprocessing.resize == "shrink"


def test_a_file_of_ours_describes_itself(folder: Path, tmp_path: Path):
    changed(folder, {}, model_type="bert")
    with open_checkpoint(ASSETS / "segformer_tiny_shapes.pth") as tensors:
        entries = recognise(tensors).plan(None).apply(tensors)
        (folder / "pytorch_model.bin").unlink()
        write_checkpoint(folder / "model.safetensors", entries)
    with open_checkpoint(folder) as tensors:
        source = recognise(tensors)
        assert source.layout.name == NATIVE
        assert notes_beside(source, tensors.folder, tensors.metadata) == Notes()


def test_no_file_of_transformers_says_what_a_mask2former_answers(tmp_path: Path):
    """But classes that are published for one answer alone do, and so does the place of a published one in the cache."""
    custom = {"0": "cat", "1": "dog"}
    fields = read_transformers(changed(tmp_path, write_config(PANOPTIC), id2label=custom)).fields
    assert fields["tasks"] == TASKS and fields["ask_task"]
    notes = read_transformers(changed(tmp_path, write_config(PANOPTIC)))
    assert notes.labels == "coco_panoptic" and notes.fields["tasks"] == TASKS and "ask_task" not in notes.fields
    for known, asks, tasks in (("coco_things", False, ("instance",)), ("cityscapes", True, TASKS)):
        names = {str(index): name for index, name in enumerate(read_labels(known).names)}
        fields = read_transformers(changed(tmp_path, write_config(PANOPTIC), id2label=names)).fields
        assert (fields.get("ask_task", False), fields["tasks"]) == (asks, tasks)
    cached = tmp_path / "models--facebook--mask2former-swin-tiny-coco-panoptic" / "snapshots" / "c0ffee"
    cached.mkdir(parents=True)
    assert read_transformers(changed(cached, write_config(PANOPTIC))).published is PANOPTIC
    assert read_transformers(changed(cached, write_config(PANOPTIC), id2label=custom)).published is None


def test_a_name_says_what_a_model_answers_where_its_folder_does_not(tmp_path: Path):
    """Of the same shapes there is a model that answers everything and one of semantic segmentation."""
    (manifest,) = manifests("mask2former_r50_coco_panoptic_hf").values()
    source, notes = recognise(read_manifest(manifest)), Notes(fields={"tasks": TASKS, "ask_task": True})
    found = identify(source, {}, beside=notes)
    assert found.tasks == TASKS and found.ask_task
    named = identify(source, {}, "mask2former_r50_coco_panoptic", beside=notes)
    assert named.tasks == TASKS and not named.ask_task
    named = identify(source, {}, "mask2former_r50_cityscapes_semantic", {"num_classes": 133}, beside=notes)
    assert named.tasks == ("semantic",) and not named.ask_task
    again = identify(source, {}, "mask2former_r50_coco_panoptic", beside=Notes(fields={"tasks": ("semantic",)}))
    assert again.tasks == ("semantic",)


def test_modelscope_asks_one_swin_l_for_the_class_of_each_pixel_alone(tmp_path: Path):
    config = {"model": {"type": "swinL-semantic-segmentation"}}
    (tmp_path / "configuration.json").write_text(json.dumps(config))
    assert read_modelscope(tmp_path).fields == {"tasks": ("semantic",)}


def test_modelscopes_configuration_says_which_model_it_is(tmp_path: Path):
    assert read_modelscope(tmp_path) is None
    config = {"model": {"type": "vitadapter-semantic-segmentation"}, "CLASSES": ["a", "b"]}
    (tmp_path / "configuration.json").write_text(json.dumps(config))
    notes = read_modelscope(tmp_path)
    assert notes.model == "vit_adapter_beit_l_cocostuff164k" and notes.labels.names == ("a", "b")
    config = {"model": {"type": "text-driven-segmentation"}}
    (tmp_path / "configuration.json").write_text(json.dumps(config))
    (manifest,) = manifests("lseg_modelscope_vitl16").values()
    source = recognise(read_manifest(manifest))
    assert identify(source, {}, beside=read_modelscope(tmp_path)).name == "lseg_vitl16_text_driven"
    with pytest.raises(ValueError, match="lseg_vitl16_text_driven"):
        identify(source, {})


def test_modelscopes_configuration_of_another_model_is_refused(folder: Path):
    (folder / "config.json").unlink()
    (folder / "configuration.json").write_text('{"model": {"type": "vitadapter-semantic-segmentation"}}')
    assert "is vit_adapter_beit_l_cocostuff164k's, and its weights are transformers' Segformer" in refusal(folder)


VIT_ADAPTER = """
model = dict(type='EncoderDecoderMask2Former', backbone=dict(type='BEiTAdapter', img_size=896),
             decode_head=dict(type='Mask2FormerHeadFromMMSeg', num_classes=171, num_queries=200),
             test_cfg=dict(mode='slide', crop_size=(896, 896), stride=(448, 448)))
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='MultiScaleFlipAug', img_scale=(3584, 896), transforms=[
    dict(type='Resize', keep_ratio=True), dict(type='ResizeToMultiple', size_divisor=32),
    dict(type='Normalize', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)])]
"""


def test_modelscopes_vit_adapter_has_the_arithmetic_of_its_type_and_the_windows_of_its_configuration(tmp_path: Path):
    """Windows of one size alone, which a configuration does not say."""
    (tmp_path / "configuration.json").write_text('{"model": {"type": "vitadapter-semantic-segmentation"}}')
    (tmp_path / "mmcv_config.py").write_text(VIT_ADAPTER)
    (manifest,) = manifests("vitadapter_beitl_mask2former_cocostuff_modelscope").values()
    preset = identify(recognise(read_manifest(manifest)), {}, beside=read_modelscope(tmp_path))
    row = find_preset("vit_adapter_beit_l_cocostuff164k")
    assert (preset.name, preset.sizes, preset.preprocessing) == (row.name, row.sizes, row.preprocessing)
    assert preset.window == Window(896, 448, exact=True)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("segformer_b0_cocostuff164k", "has level_norm=False"),
        ("mask2former_tiny_shapes", "is written here with a swin or resnet"),
        ("lseg_vitb32_ade20k", "transformers has no lseg"),
    ],
)
def test_what_transformers_does_not_have_is_not_written_for_it(name: str, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        write_config(find_preset(name))

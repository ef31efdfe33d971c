"""What a checkpoint holds, whatever stands before its names and beside its model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from convert import CheckpointError, open_checkpoint
from convert.__main__ import main
from convert.reading.entry import ArrayEntry
from convert.recognition import recognise
from tests.convert.layouts.published import Declared, manifests, read_manifest
from tests.convert.reading import files

HF, MMSEG, SWIN = "segformer_b0_hf_ade150", "segformer_b0_mmseg_ade150", "mask2former_swinl_coco_panoptic_hf"
MMDET, LSEG = "mask2former_r50_coco_panoptic_mmdet", "lseg_lang-seg_clip_vitb32_384"

# The names of transformers 5, by its own renaming of files of version 4.
OF_SEGFORMER = {
    r"segformer\.encoder\.patch_embeddings\.(\d)\.": r"segformer.stages.\1.patch_embeddings.",
    r"segformer\.encoder\.block\.(\d)\.(\d+)\.": r"segformer.stages.\1.blocks.\2.",
    r"segformer\.encoder\.layer_norm\.(\d)\.": r"segformer.stages.\1.layer_norm.",
    r"layer_norm_1\.": "layernorm_before.",
    r"layer_norm_2\.": "layernorm_after.",
    r"attention\.self\.(q|k|v)\w+\.": r"attention.\1_proj.",
    r"attention\.output\.dense\.": "attention.o_proj.",
    r"attention\.self\.sr\.": "attention.sequence_reduction.sequence_reduction.",
    r"attention\.self\.layer_norm\.": "attention.sequence_reduction.layer_norm.",
    r"mlp\.dense": "mlp.fc",
}
OF_SWIN = {
    r"(module\.encoder\.)(encoder|embeddings)": r"\1swin.\2",
    r"attention\.self\.(query|key|value)\.": lambda found: f"attention.{found[1][0]}_proj.",
    r"attention\.self\.relative": "attention.relative_position_bias.relative",
    r"attention\.output\.dense\.": "attention.o_proj.",
    r"(blocks\.\d+\.)intermediate\.dense\.": r"\1mlp.fc1.",
    r"(blocks\.\d+\.)output\.dense\.": r"\1mlp.fc2.",
}


@cache
def published(name: str) -> Mapping[str, Declared]:
    return read_manifest(manifests(name)[name])


def renamed(name: str, rules: Mapping) -> dict[str, Declared]:
    tensors = {}
    for key, entry in published(name).items():
        for old, new in rules.items():
            key = re.sub(old, new, key)
        tensors[key] = entry
    return tensors


def targets(tensors: Mapping) -> dict[str, tuple[int, ...]]:
    """Names and shapes of ours that a checkpoint gives, all of its tensors being accounted for."""
    plan = recognise(tensors).plan(None)
    assert not plan.unused
    return dict(plan.shapes)


@pytest.mark.parametrize("prefix", ["model.", "_orig_mod.", "module._orig_mod.", "net.", "a.b.c.", "student."])
def test_whatever_stands_before_all_names_is_taken_off(prefix: str):
    for name in (HF, MMDET):
        wrapped = {prefix + key: entry for key, entry in published(name).items()}
        assert targets(wrapped) == targets(published(name))
        assert recognise(wrapped).prefix == prefix


@pytest.mark.parametrize(
    ("name", "beginning", "layout"),
    [
        (LSEG, "net.", "lang-seg"),
        ("mit_b0_hf", "segformer.", "hf-backbone"),
        ("mit_b0_hf", "segformer.encoder.", "hf-backbone"),
    ],
)
def test_what_all_names_of_a_layout_begin_with_may_be_missing(name: str, beginning: str, layout: str):
    if name == "mit_b0_hf":
        whole = {key: entry for key, entry in published(HF).items() if key.startswith("segformer.")}
    else:
        whole = dict(published(name))
    bare = {key.removeprefix(beginning): entry for key, entry in whole.items()}
    assert recognise(bare).layout.name == layout
    assert targets(bare) == targets(whole)


@pytest.mark.parametrize(("name", "rules"), [(HF, OF_SEGFORMER), (SWIN, OF_SWIN)])
def test_the_names_of_transformers_5_are_those_of_4(name: str, rules: Mapping):
    later = renamed(name, rules)
    assert later.keys() != published(name).keys()
    assert recognise(later).layout.name == "hf5"
    assert targets(later) == targets(published(name))


def test_a_backbone_in_the_names_of_transformers_5_is_one():
    encoder = {key: entry for key, entry in renamed(HF, OF_SEGFORMER).items() if key.startswith("segformer.")}
    assert recognise(encoder).layout.name == "hf5-backbone"
    swin = {
        "swin." + key.split("encoder.", 1)[1]: entry
        for key, entry in published(SWIN).items()
        if "module.encoder." in key and "hidden_states_norms" not in key
    }
    assert recognise(swin).layout.name == "hf-swin"
    assert targets(swin).items() <= targets(published(SWIN)).items()


def test_the_norm_that_transformers_5_adds_to_a_swin_is_dropped():
    norm = {
        f"model.pixel_level_module.encoder.swin.layernorm.{leaf}": Declared("", (1536,), "float32")
        for leaf in ("weight", "bias")
    }
    assert targets({**published(SWIN), **norm}) == targets(published(SWIN))


@pytest.mark.parametrize(("head", "layout"), [("panoptic_head.", "mmdet3"), ("decode_head.", "mmseg1")])
def test_mmdetection_3_and_mmsegmentation_1_are_read(head: str, layout: str):
    def now(name: str) -> str:
        if "encoder.layers" in name:
            name = name.replace("attentions.0", "self_attn").replace("ffns.0", "ffn")
        if "transformer_decoder.layers" in name:
            name = (
                name.replace("attentions.0", "cross_attn").replace("attentions.1", "self_attn").replace("ffns.0", "ffn")
            )
        return name.replace("panoptic_head.", head)

    later = {now(key): entry for key, entry in published(MMDET).items()}
    assert recognise(later).layout.name == layout
    assert targets(later) == targets(published(MMDET))


ONE = Declared("", (150,), "float32")


@pytest.mark.parametrize(
    ("name", "prefix", "beside", "reason"),
    [
        (HF, "module.", {"n_averaged": ONE}, "how many models"),
        (HF, "", {"criterion.weight": ONE}, "of a loss"),
        (HF, "model.", {"criterion.weight": ONE, "loss_fn.dice.weight": ONE}, "of a loss"),
        (HF, "", {"val_iou.confmat": ONE}, "counts of a metric"),
        (MMSEG, "", {"auxiliary_head.conv_seg.weight": ONE}, "auxiliary head"),
        (MMSEG, "", {"decode_head.loss_decode.class_weight": ONE}, "of a loss"),
        (MMSEG, "", {"data_preprocessor.mean": ONE, "pixel_mean": ONE}, "how pictures were normalised"),
        (MMSEG, "", {"ema_backbone_layers_0_0_projection_weight": ONE}, "--weights ema"),
    ],
)
def test_what_training_leaves_beside_a_model_is_dropped(name: str, prefix: str, beside: dict, reason: str):
    tensors = {prefix + key: entry for key, entry in published(name).items()} | beside
    assert targets(tensors) == targets(published(name))
    dropped = recognise(tensors).plan(None).dropped
    assert all(reason in dropped[key] for key in beside)


def test_what_nobody_knows_is_dropped_by_hand_alone():
    tensors = {**published(HF), "depth_head.0.weight": ONE}
    assert recognise(tensors).plan(None).unused == ("depth_head.0.weight",)
    plan = recognise(tensors, drop=("depth_head.*",)).plan(None)
    assert not plan.unused and plan.dropped["depth_head.0.weight"] == "--drop depth_head.*"
    with pytest.raises(CheckpointError, match="--drop nothing matches none of the file's"):
        recognise(tensors, drop=("nothing",))


def test_of_teacher_and_student_one_is_chosen():
    both = {side + key: entry for side in ("student.", "teacher.") for key, entry in published(HF).items()}
    with pytest.raises(CheckpointError, match="several sets of weights, student, teacher: choose by --weights"):
        recognise(both)
    plan = recognise(both, weights="teacher").plan(None)
    assert plan.steps[0].sources[0].startswith("teacher.") and not plan.unused
    with pytest.raises(CheckpointError, match="no weights 'ema': it has student, teacher"):
        recognise(both, weights="ema")


def test_an_average_in_the_same_list_is_left_unless_it_is_asked_for():
    both = {side + key: entry for side in ("model.", "ema_model.module.") for key, entry in published(HF).items()}
    assert recognise(both).prefix == "model."
    assert recognise(both, weights="ema_model").prefix == "ema_model.module."
    flat = {**published(HF), **{"ema_" + key.replace(".", "_"): entry for key, entry in published(HF).items()}}
    source, own = recognise(flat, weights="ema"), recognise(published(HF))
    steps = [(step.sources, step.targets) for step in source.plan(None).steps]
    assert steps == [
        (tuple(f"ema_{key.replace('.', '_')}" for key in step.sources), step.targets) for step in own.plan(None).steps
    ]
    assert source.backbone == own.backbone and not source.plan(None).unused


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("segformer.encoder.block.0.0.attention.self.query.lora_A.default.weight", "LoRA adapters"),
        ("decode_head.classifier.weight.absmax", "is quantised"),
        ("model.task_encoder.task_mlp.layers.0.weight", "is a OneFormer"),
        ("model.transformer_module.decoder.layers.0.encoder_attn.q_proj.weight", "is a MaskFormer"),
        ("track_head.predictor.weight", "through a video"),
    ],
)
def test_another_kind_of_model_is_called_by_its_name(key: str, sentence: str):
    with pytest.raises(CheckpointError, match=sentence) as error:
        recognise({**published(HF), key: ONE})
    assert "\n" not in str(error.value)


def small(value: float) -> dict[str, object]:
    return {"head.weight": files.tensor(np.full(2, value, np.float32))}


@pytest.mark.parametrize(
    ("checkpoint", "asked", "value", "others"),
    [
        ({"model": small(1), "ema": small(2)}, "", 1, ("ema",)),
        ({"model": small(1), "ema": small(2)}, "ema", 2, ("model",)),
        ({"state_dict": small(1), "state_dict_ema": small(2)}, "ema", 2, ("state_dict",)),
        ({"student": small(1), "teacher": small(2)}, "teacher", 2, ()),
        ({"state_dict": small(1)}, "", 1, ()),
    ],
)
def test_of_several_sets_in_a_file_one_is_taken(
    checkpoint: dict, asked: str, value: float, others: tuple, tmp_path: Path
):
    (tmp_path / "a.pth").write_bytes(files.torch_zip(checkpoint))
    with open_checkpoint(tmp_path / "a.pth", asked) as tensors:
        assert tensors["head.weight"].numpy()[0] == value
        assert tensors.others == others


@pytest.mark.parametrize(
    ("wrapped", "known"),
    [(("model", "ema"), ": it has model, ema"), (("state_dict",), ": it has state_dict"), ((), "")],
)
def test_a_set_of_weights_that_a_file_does_not_have_is_refused(wrapped: tuple, known: str, tmp_path: Path):
    tensors = {key: files.tensor(np.zeros(entry.shape, np.float32)) for key, entry in published(HF).items()}
    checkpoint = {name: tensors for name in wrapped} or tensors
    (tmp_path / "a.pth").write_bytes(files.torch_zip(checkpoint))
    with open_checkpoint(tmp_path / "a.pth", "teacher") as opened:
        with pytest.raises(CheckpointError, match=f"the file has no weights 'teacher'{known}$"):
            recognise(opened, "teacher")


def test_what_was_decided_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture):
    from convert.writing import write_checkpoint

    tensors = {f"model.{key}": np.zeros(entry.shape, entry.dtype) for key, entry in published(HF).items()}
    tensors |= {"criterion.weight": np.ones(150, np.float32), "other.x": np.ones(1, np.float32)}
    write_checkpoint(tmp_path / "a.pth", {key: ArrayEntry(array) for key, array in tensors.items()})
    assert main([str(tmp_path / "a.pth"), str(tmp_path / "a.ckpt"), "--drop", "other.*"]) == 0
    said = capsys.readouterr().out
    assert "model. was taken off the names" in said
    assert "dropped 1 (criterion.weight, ...): of a loss" in said and "(other.x, ...): --drop other.*" in said

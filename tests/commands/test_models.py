"""`python -m ms_seg models`: the table of models."""

import subprocess
import sys
from pathlib import Path

import pytest

import ms_seg
from tests.commands.command_line import run

ROOT = Path(__file__).resolve().parents[2]


def test_the_table_lists_the_models_of_a_pattern(capsys):
    assert run("models", "segformer_b0*") == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split()[:3] == ["name", "input", "classes"]
    assert {row.split()[0] for row in rows} == set(ms_seg.list_models("segformer_b0*"))
    assert any("172 cocostuff164k" in row and "mIoU 35.91" in row for row in rows)


@pytest.mark.parametrize(
    ("words", "some", "others"),
    [
        (["cityscapes", "instance"], "mask2former_r50_cityscapes_instance", "mask2former_r50_cityscapes_semantic"),
        (["mapillary", "Semantic"], "mask2former_r50_mapillary_panoptic", "mask2former_r50_ade20k_semantic"),
        (["facebook/*-tiny-*"], "mask2former_swin_t_coco_panoptic", "mask2former_swin_s_coco_panoptic"),
        (["segformer-b3-finetuned-city"], "segformer_b3_cityscapes", "segformer_b3_cityscapes_mmseg"),
        (["damo/*b0_*"], "segformer_b0_cocostuff164k", "segformer_b1_cocostuff164k"),
        (["iic/cv_r50_panoptic"], "mask2former_r50_coco_panoptic", "mask2former_swin_l_coco_panoptic"),
        (["model_final_9fd0ae*"], "mask2former_swin_t_coco_panoptic", "mask2former_swin_s_coco_panoptic"),
        (["COCO-Stuff 10k"], "vit_adapter_beit_l_cocostuff10k_czczup", "segformer_b0_cocostuff164k"),
    ],
)
def test_words_find_models_by_dataset_task_and_name_on_a_hub(words, some, others, capsys):
    assert run("models", *words) == 0
    found = {row.split()[0] for row in capsys.readouterr().out.splitlines()[1:]}
    assert some in found and others not in found


def test_it_lists_where_weights_are_published(capsys):
    assert run("models", "mask2former_swin_l_mapillary_semantic", "--published") == 0
    _, _, *places = capsys.readouterr().out.splitlines()
    assert [place.split() for place in places] == [
        ["huggingface:", "facebook/mask2former-swin-large-mapillary-vistas-semantic"],
        [
            "detectron2:",
            "mapillary_vistas/semantic/maskformer2_swin_large_IN21k_384_bs16_300k/model_final_90ee2d.pkl",
            "md5:90ee2d",
        ],
    ]


def test_what_a_training_can_begin_with_has_a_table_of_its_own(capsys):
    assert run("models", "swin_t") == 0
    printed = capsys.readouterr().out.splitlines()
    (heading,) = (place for place, line in enumerate(printed) if line.startswith("to begin a training with"))
    assert any(line.startswith("mask2former_swin_t_coco_panoptic ") for line in printed[:heading])
    assert [line.split()[:2] for line in printed[heading + 1 :]] == [["swin_tiny_patch4_window7_224.pth", "backbone"]]


def test_a_pattern_without_models_is_refused(capsys):
    assert run("models", "resnet*") == 2
    assert "no model matches 'resnet*'" in capsys.readouterr().err


def test_it_does_not_wait_for_mindspore():
    code = "import sys; from ms_seg.__main__ import main; main(['models']); sys.exit('mindspore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT).returncode == 0

"""What a training begins with, and by which numbers."""

from __future__ import annotations

import pytest

from ms_seg.__main__ import main
from ms_seg.presets import ASSETS

SHAPES = ("--dataset", "shapes", "--pictures", "4")
FILE = str(ASSETS / "segformer_tiny_shapes.pth")


def train(tmp_path, *options: str) -> int:
    return main(["train", *SHAPES, "--output", str(tmp_path / "run"), *options])


@pytest.mark.parametrize("options", [("--model", "auto", "--checkpoint", FILE), ("--checkpoint", FILE)])
def test_a_file_says_which_model_it_is(untrained, tmp_path, capsys, options):
    assert train(tmp_path, *options) == 0
    (model, _, _, recipe, _), _ = untrained[0]
    assert (model.preset.name, recipe) == ("segformer_tiny_shapes", model.preset.recipe)
    assert "randomly initialised" not in capsys.readouterr().out


def test_without_weights_it_is_said_what_a_training_could_begin_with(untrained, tmp_path, capsys):
    assert train(tmp_path, "--model", "segformer_b0_ade20k", "--crop-size", "64") == 0
    assert capsys.readouterr().out.splitlines()[0] == (
        "no --checkpoint: all weights of segformer_b0_ade20k are randomly initialised; published ones to begin with: "
        "nvidia/mit-b0 (backbone), nvidia/segformer-b0-finetuned-ade-512-512 (all)"
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "the model is not named: pass --model (see `models`), or --checkpoint, which says it"),
        (("--model", "auto"), "the model is not named: pass --model (see `models`), or --checkpoint, which says it"),
        (
            ("--model", "segformer_tiny_shapes", "--class-weight", "9"),
            "--class-weight would change nothing for segformer_tiny_shapes: it is for models that give masks of "
            "queries, such as Mask2Former, as the weight of one of their losses",
        ),
        (
            ("--model", "segformer_tiny_shapes", "--momentum", "0.9"),
            "--momentum would change nothing for segformer_tiny_shapes: the optimizer is adamw",
        ),
        (
            ("--model", "segformer_tiny_shapes", "--milestones", "0.5"),
            "--milestones would change nothing for segformer_tiny_shapes: the schedule is poly",
        ),
        (
            ("--model", "segformer_tiny_shapes", "--steps", "6", "--warmup-steps", "100"),
            "warmup_steps must be at most steps, 6: 100 are more",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(untrained, tmp_path, capsys, options, sentence):
    assert train(tmp_path, *options) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"ms_seg train: {sentence}"
    assert not (tmp_path / "run").exists()


def test_numbers_that_follow_from_others_are_said(untrained, tmp_path, capsys):
    assert train(tmp_path, "--model", "segformer_tiny_shapes", "--steps", "450") == 0
    assert "450 steps instead of the recipe's 4500, and so --warmup-steps 10 and --validate-every 45\n" in (
        capsys.readouterr().out
    )

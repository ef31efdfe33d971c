"""`python -m ms_seg train`: what fine-tuning can be told, refused where it would mean nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ms_seg.__main__ import main
from ms_seg.presets.recipe import steps_of
from ms_seg.training.step import TrainStep
from ms_seg.training.tasks import semantic
from ms_seg.training.trainer import Scores
from tests.commands import broken_datasets as small


@pytest.fixture
def data(tmp_path) -> Path:
    return small.write_dataset("folder", tmp_path / "data")


def run(data: Path, *more: str, model: str = "segformer_tiny_shapes") -> int:
    output = data.parent / "run"
    return main(["train", "--model", model, "--dataset", "folder", "--data", str(data), "--output", str(output), *more])


def recipe_of(data: Path) -> dict:
    return json.loads((data.parent / "run" / "options.json").read_text())["recipe"]


def test_epochs_are_steps(untrained, data, capsys):
    assert run(data, "--epochs", "20", "--batch-size", "8") == 0
    assert recipe_of(data)["steps"] == 8  # of 3 pictures
    assert "20 epochs are 8 steps" in capsys.readouterr().out
    assert run(data, "--epochs", "20", "--batch-size", "8", "--resume") == 0
    assert run(data, "--epochs", "40", "--resume") == 2
    assert "was begun with steps 8, not 15" in capsys.readouterr().err
    assert (steps_of(0.5, [100], 16), steps_of(2, [100], 16), steps_of(1, [100, 10], 16)) == (4, 13, 8)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--epochs", "2", "--steps", "5"], "--epochs and --steps say the same in two ways"),
        (["--ce-class-weight", "1,2"], "ce_class_weight must be 3 numbers, one for each output of the model: 2 are"),
        (["--ohem-thresh", "0.7"], "ohem_thresh is of pixels that are hard: say ohem_min_kept"),
        (["--frozen", "back(bone"], "frozen is no regular expression: 'back(bone'"),
        (["--frozen", "no_such_part"], "frozen 'no_such_part' matches none of the model's parameters"),
        (["--save-best", "IoU.read"], "a figure of the validation: 'IoU.read' is not; the nearest are IoU.red"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_before_the_first_step(untrained, data, capsys, options, sentence):
    assert run(data, *options) == 2
    assert sentence in capsys.readouterr().err and not untrained
    assert not (data.parent / "run" / "options.json").exists()


@pytest.mark.parametrize("options", [["--dice-loss-weight", "3"], ["--ce-class-weight", "median-frequency"]])
def test_losses_of_logits_are_not_for_queries(untrained, data, capsys, options):
    assert run(data, *options, model="mask2former_tiny_shapes") == 2
    assert "would change nothing for mask2former_tiny_shapes" in capsys.readouterr().err


def test_weights_of_classes_are_counted_and_recorded(untrained, data):
    assert run(data, "--ce-class-weight", "median-frequency", "--frozen", "backbone") == 0
    recipe = recipe_of(data)
    assert len(recipe["ce_class_weight"]) == 3 and np.isclose(np.median(recipe["ce_class_weight"]), 1)
    assert recipe["frozen"] == "backbone"
    assert run(data, "--resume") == 0


def test_the_best_checkpoint_is_that_of_the_named_figure(data, monkeypatch):
    said = iter([(0.1, 0.9), (0.3, np.nan), (0.2, 0.5)])

    def score() -> Scores:
        miou, red = next(said)
        return Scores({"mIoU": miou}, "mIoU", classes={"IoU.red": red})

    monkeypatch.setattr(TrainStep, "__call__", lambda self, step, batch: 1.0)
    monkeypatch.setattr(semantic, "make_validation", lambda *_: score)
    more = ["--steps", "3", "--validate-every", "1", "--keep", "1", "--crop-size", "32", "--workers", "0"]
    assert run(data, "--save-best", "IoU.red", "--batch-size", "1", *more) == 0
    checkpoints = data.parent / "run" / "checkpoints"
    assert sorted(folder.name for folder in checkpoints.iterdir()) == ["00000001", "00000003"]
    progress = json.loads((checkpoints / "00000003" / "progress.json").read_text())
    assert (progress["best_step"], progress["best_score"]) == (1, 0.9)


def test_all_of_it_trains_and_validates(data):
    more = ["--ohem-min-kept", "50", "--ohem-thresh", "0.7", "--dice-loss-weight", "3", "--avg-non-ignore", "true"]
    small_run = ["--steps", "2", "--batch-size", "1", "--crop-size", "32", "--workers", "0", "--frozen", "backbone"]
    assert run(data, *more, *small_run, "--ce-class-weight", "median-frequency", "--save-best", "mAcc") == 0
    lines = [json.loads(line) for line in (data.parent / "run" / "log.jsonl").read_text().splitlines()]
    assert [np.isfinite(line["loss"]) for line in lines[:2]] == [True, True]
    assert {"mIoU", "mAcc", "aAcc"} <= lines[2].keys()

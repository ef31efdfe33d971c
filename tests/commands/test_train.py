"""`python -m ms_seg train`: its options, and what it says before the first step."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest

from ms_seg.__main__ import main
from ms_seg.commands.train import default_workers
from ms_seg.training.step import TrainStep
from tests.commands import broken_datasets as small
from tests.training.event_files import shown


def run(data: Path, output: Path, *more: str) -> int:
    options = ["--model", "segformer_tiny_shapes", "--dataset", "folder", "--data", str(data), "--output", str(output)]
    return main(["train", *options, *more])


def test_what_else_the_validation_pictures_hold_is_said_in_one_line(untrained, tmp_path, capfd):
    data = small.write_dataset("folder", tmp_path / "data")
    for number in range(small.COUNT):
        small.write_labels(small.pair("folder", data, "validation", number).label, [1, 255, 255, 255], small.SIZE)
    assert run(data, tmp_path / "run") == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.startswith("validation: ") for line in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[:2] == [
        "no --checkpoint: all weights of segformer_tiny_shapes are randomly initialised",
        "3 pictures, 3 classes; labels of 3 read",
    ]
    assert lines[-1].startswith(
        "validation: 3 pictures, 3 classes; labels of 3 read; values 1..1 and 255 with 3 classes"
    )
    assert lines[-1].endswith(
        "; 75.0% of the pixels are ignored; 2 of 3 classes were not met in this sample: red, blue"
    )


def test_workers_leave_two_cores_to_the_network_and_are_not_recorded(untrained, tmp_path):
    assert [default_workers(cores) for cores in (1, 2, 3, 8, 10, 192)] == [0, 0, 1, 6, 8, 8]
    data = small.write_dataset("folder", tmp_path / "data")
    assert run(data, tmp_path / "run", "--workers", "5") == 0
    assert untrained[-1][1]["workers"] == 5
    recorded = json.loads((tmp_path / "run" / "options.json").read_text())
    assert "workers" not in recorded and "workers" not in recorded["recipe"]


def test_a_run_is_trained_by_one_process_at_a_time(untrained, tmp_path, capsys):
    data = small.write_dataset("folder", tmp_path / "data")
    assert run(data, tmp_path / "run") == 0
    with (tmp_path / "run" / "options.json").open() as held:  # as another process would
        fcntl.flock(held, fcntl.LOCK_EX)
        assert run(data, tmp_path / "run", "--resume") == 2
    assert f"another process is training the run in {tmp_path / 'run'}" in capsys.readouterr().err
    assert (tmp_path / "run" / "options.json").is_file()
    assert run(data, tmp_path / "run", "--resume") == 0
    assert len(untrained) == 2


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--steps", "0", "steps must be at least 1: 0 is not"),
        ("--batch-size", "0", "batch_size must be at least 1: 0 is not"),
        ("--validate-every", "-3", "validate_every must be at least 1: -3 is not"),
        ("--learning-rate", "nan", "learning_rate must be at least 0: nan is not"),
        ("--learning-rate", "inf", "learning_rate must be at least 0: inf is not"),
        ("--ema", "1.5", "ema must be 0 to 1: 1.5 is not"),
        ("--scale-min", "1.5", "scale_min must be above 0 and up to scale_max 1.0: 1.5 is not"),
    ],
)
def test_a_number_that_no_run_can_have_is_refused(untrained, tmp_path, capsys, option, value, sentence):
    data = small.write_dataset("folder", tmp_path / "data")
    assert run(data, tmp_path / "run", option, value) == 2
    assert capsys.readouterr().err == f"ms_seg train: {sentence}\n"
    assert not (tmp_path / "run").exists()


def test_every_number_of_the_recipe_has_its_help(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "the defaults are the model's published recipe" in text
    assert "--clip-norm FLOAT gradient clipping: to this global norm; 0 leaves it (default: 0.0)" in text
    assert "recipe: optimiser and learning rate:" in text and "recipe: pictures:" in text
    assert "--steps INT optimiser steps of the whole run (default: 160000)" in text
    assert "--photometric {true,false} whether" in text
    assert "--precision {float32,float16,bfloat16} mixed precision" in text
    assert "at most 8; here" in text
    assert "--undecayed" not in text and "--most-targets" not in text


def test_the_help_has_the_defaults_of_the_model_that_is_named(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--model", "mask2former_swin_l_coco_panoptic", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "--steps INT optimiser steps of the whole run (default: 737500)" in text
    assert "(default: lsj)" in text and "(default: step)" in text


def test_a_word_that_is_no_choice_is_a_wrong_call(tmp_path, capsys):
    for option in ("--precision", "--photometric", "--recompute"):
        with pytest.raises(SystemExit) as end:
            run(tmp_path, tmp_path / "run", option, "perhaps")
        assert end.value.code == 2
        assert option in capsys.readouterr().err.splitlines()[-1]


def test_tensorboard_gets_the_curves_and_the_validation(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(TrainStep, "__call__", lambda self, step, batch: 1.5)
    data, output = small.write_dataset("folder", tmp_path / "data"), tmp_path / "run"
    more = ("--steps", "2", "--batch-size", "2", "--crop-size", "32", "--short-side", "32", "--workers", "0")
    assert run(data, output, "--tensorboard", *more) == 0
    content = shown(output / "tensorboard")
    assert content["loss"] == {1: 1.5, 2: 1.5}
    of_steps = {"loss", "learning_rate", "images_per_second", "waiting_for_data"}
    assert content.keys() == of_steps | {"mIoU", "mAcc", "aAcc", "validation"}
    assert list(content["mIoU"]) == list(content["validation"]) == [2]
    progress = capfd.readouterr().err
    assert progress.index("compiling the training step") < progress.index("compiling SegFormer for 32x45, once")
    assert "step 2: mIoU 0." in progress
    assert (output / "validation" / "00000002.png").read_bytes()


def test_tensorboard_without_its_package_ends_before_anything_else(untrained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("ms_seg.training.journal.find_spec", lambda name: None)
    assert run(tmp_path / "nowhere", tmp_path / "run", "--tensorboard") == 2
    sentence = "ms_seg train: --tensorboard needs a package that is not installed: pip install tensorboardX\n"
    assert capsys.readouterr().err == sentence
    assert not (tmp_path / "run").exists()


def test_a_run_begun_before_an_option_was_invented_goes_on_at_its_default(untrained, tmp_path, capsys):
    data = small.write_dataset("folder", tmp_path / "data")
    assert run(data, tmp_path / "run") == 0
    path = tmp_path / "run" / "options.json"
    recorded = json.loads(path.read_text())
    del recorded["recipe"]["precision"]
    path.write_text(json.dumps(recorded))
    assert run(data, tmp_path / "run", "--resume") == 0
    assert run(data, tmp_path / "run", "--resume", "--precision", "bfloat16") == 2
    assert "was begun with precision float32, not bfloat16" in capsys.readouterr().err


def test_former_names_of_options_mean_todays(untrained, tmp_path):
    data = small.write_dataset("folder", tmp_path / "data")
    assert run(data, tmp_path / "run", "--undecayed", "norm|bias") == 0
    (_, _, _, recipe, _), _ = untrained[0]
    assert recipe.no_weight_decay == "norm|bias"
    assert run(data, tmp_path / "run", "--resume", "--no-weight-decay", "norm|bias") == 0


def test_a_run_whose_numbers_were_recorded_under_former_names_goes_on(untrained, tmp_path, capsys):
    data = small.write_dataset("folder", tmp_path / "data")
    more = ("--no-weight-decay", "bias", "--override", "depths=[1,1,1,1]")
    assert run(data, tmp_path / "run", *more) == 0
    path = tmp_path / "run" / "options.json"
    recorded = json.loads(path.read_text())
    for former, name in (("undecayed", "no_weight_decay"), ("most_targets", "max_targets")):
        recorded["recipe"][former] = recorded["recipe"].pop(name)
    recorded["overrides"] = {"mit_depths": recorded["overrides"].pop("depths")}
    path.write_text(json.dumps(recorded))
    assert run(data, tmp_path / "run", "--resume", *more) == 0
    assert run(data, tmp_path / "run", "--resume", *more[:2], "--override", "mit_depths=[1,1,1,1]") == 0
    assert run(data, tmp_path / "run", "--resume", *more[2:], "--no-weight-decay", "norm") == 2
    assert "was begun with no_weight_decay bias, not norm" in capsys.readouterr().err
    assert run(data, tmp_path / "run", "--resume", *more[:2], "--override", "depths=[1,1,2,1]") == 2
    assert "was begun with overrides {'depths': [1, 1, 1, 1]}, not" in capsys.readouterr().err

"""scripts/train_lseg.py: the original's arguments become ours, its first lines are printed, its runs go on."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from ms_seg.__main__ import main as ms_seg
from ms_seg.presets import find_preset
from ms_seg.training.schedule import learning_rate
from tests.data.small_datasets import write_ade20k

ROOT = Path(__file__).resolve().parents[2]
LINE = [
    "--dataset", "ade20k", "--data_path", "../datasets", "--batch_size", "1", "--exp_name", "lseg_ade20k_l16",
    "--base_lr", "0.004", "--weight_decay", "1e-4", "--no-scaleinv", "--max_epochs", "200", "--widehead",
    "--accumulate_grad_batches", "2", "--backbone", "clip_vitl16_384",
]  # fmt: skip


@pytest.fixture
def script(tmp_path, monkeypatch) -> ModuleType:
    """The script as a module, in a folder beside which an ADE20K of 5 pictures lies; it takes no step."""
    spec = importlib.util.spec_from_file_location("train_lseg", ROOT / "scripts" / "train_lseg.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for split, count in (("training", 5), ("validation", 2)):
        write_ade20k(tmp_path / "datasets" / "ADEChallengeData2016", split, count)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    module.commands = []
    monkeypatch.setattr(module, "ms_seg", lambda words: module.commands.append(words) or 0)
    return module


def options_of(words: list[str]) -> dict[str, list[str]]:
    """Every option of a command with its values, in their order."""
    found: dict[str, list[str]] = {}
    for word, value in zip(words, [*words[1:], "--"], strict=True):
        if word.startswith("--"):
            found.setdefault(word, []).extend([] if value.startswith("--") else [value])
    return found


def test_train_sh_runs_the_script_with_the_originals_line(tmp_path):
    (tmp_path / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "python").chmod(0o755)
    command = [ROOT / "train.sh", "--vit-weights", "vit.pth"]
    said = subprocess.run(
        command, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    assert said.stdout.splitlines() == ["-u", "scripts/train_lseg.py", *LINE, "--vit-weights", "vit.pth"]


def test_the_originals_line_is_a_train_command(script):
    assert script.main(LINE) == 0
    (words,) = script.commands
    options = options_of(words)
    assert words[0] == "train" and options["--model"] == ["lseg_vitl16_ade20k"]
    assert (options["--dataset"], options["--data"]) == (["ade20k"], ["../datasets"])
    assert options["--output"] == ["checkpoints/lseg_ade20k_l16/version_0"]
    assert "--resume" not in options and "--checkpoint" not in options and "--override" not in options
    numbers = {name: float(values[0]) for name, values in options.items() if values[0].replace(".", "").isdecimal()}
    assert numbers == {
        "--batch-size": 2, "--accumulate": 2, "--steps": 3 * 200, "--decay-every": 3, "--validate-every": 3,
        "--momentum": 0.9, "--learning-rate": 0.00025, "--weight-decay": 0.0001,
    }  # fmt: skip


def test_what_the_line_leaves_out_is_the_recipe_of_the_model():
    recipe = find_preset("lseg_vitl16_ade20k").recipe
    assert (recipe.augmentation, recipe.crop_size, recipe.long_side) == ("lang_seg", 480, 520)
    assert (recipe.warmup_steps, recipe.power, recipe.head_multiplier) == (0, 0.9, 10)
    assert learning_rate(recipe, 0) == 0.004 / 16


def test_the_first_lines_are_the_originals(script, capsys):
    assert script.main(LINE) == 0
    output = capsys.readouterr()
    assert output.out.splitlines()[:-1] == [
        "** Use norm [0.5, 0.5, 0.5], [0.5, 0.5, 0.5] as the mean and std **",
        "{'base_size': 520, 'crop_size': 480}",
        "train",
        "BaseDataset: base_size 520, crop_size 480",
        "../datasets",
        "---------../datasets/ADEChallengeData2016",
        "len(img_paths): 5",
        "val",
        "../datasets",
        "---------../datasets/ADEChallengeData2016",
        "len(img_paths): 2",
    ]
    label_path = output.out.splitlines()[-1].removeprefix("label path is ")
    assert Path(label_path).read_text().splitlines()[1].startswith("wall\t")
    assert [line.split(":")[0] for line in output.err.splitlines()] == [
        "there is no --vit-weights", "there is no --clip-weights",
    ]  # fmt: skip


def test_the_other_arguments_mean_what_they_mean_there(script):
    more = ["--arch_option", "1", "--block_depth", "2", "--activation", "tanh", "--num_features", "128"]
    more += ["--midasproto", "--vit-weights", "vit.pth", "--clip-weights", "clip.pt", "--dropout", "0.3"]
    assert script.main([*LINE, *more, "--backbone", "clip_vitb32_384", "--train", "--workers", "3"]) == 0
    options = options_of(script.commands[0])
    assert options["--model"] == ["lseg_vitb32_ade20k"]
    overrides = dict(text.split("=") for text in options["--override"])
    assert overrides == {"features": "128", "head_block": "bottleneck", "block_depth": "2", "activation": "tanh"}
    assert options["--optimizer"] == ["adam"]
    assert options["--checkpoint"] == ["vit.pth", "clip.pt"]
    assert options["--workers"] == ["3"]


def test_under_msrun_the_batch_is_that_of_each_process(script, monkeypatch, capsys):
    monkeypatch.setenv("MS_WORKER_NUM", "4")
    monkeypatch.setenv("MS_NODE_ID", "1")
    assert script.main(LINE) == 0
    options = options_of(script.commands[0])
    assert (options["--batch-size"], options["--steps"], options["--learning-rate"]) == (["8"], ["200"], ["0.00025"])
    assert capsys.readouterr().out == ""  # one process speaks for all


def test_the_same_line_goes_on_with_the_newest_run(script, capsys):
    for version in (0, 9, 10):
        (script.RUNS / "lseg_ade20k_l16" / f"version_{version}").mkdir(parents=True)
    for more in ([], ["--resume"], ["--no_resume"]):
        assert script.main([*LINE, *more]) == 0
    runs = [(options_of(words)["--output"][0], "--resume" in words) for words in script.commands]
    folder = "checkpoints/lseg_ade20k_l16"
    assert runs == [(f"{folder}/version_10", True)] * 2 + [(f"{folder}/version_11", False)]
    assert f"Resuming checkpoint {folder}/version_10/checkpoints, exp_version=10" in capsys.readouterr().out


def test_a_dry_run_takes_a_step_on_a_few_pictures_in_a_folder_of_its_own(script):
    assert script.main([*LINE, "--dry-run"]) == 0
    options = options_of(script.commands[0])
    assert (options["--steps"], options["--pictures"]) == (["1"], ["2"])
    assert options["--output"] == ["checkpoints/lseg_ade20k_l16/dry_run"]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--se-loss"], "--se-loss does not work in the original"),
        (["--backbone", "resnet50"], "no LSeg model has the backbone 'resnet50': choose from clip_vitl16_384, "),
        (["--data_path", "nowhere"], "there is no folder nowhere"),
        (["--batch_size", "0"], "--batch_size and --accumulate_grad_batches must be 1 or more"),
        (["--resume"], "there is no run in checkpoints/lseg_ade20k_l16 to resume"),
        (["--finetune_weights", "a.ckpt", "--vit-weights", "b.pth"], "--finetune_weights is a whole model"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(script, capsys, more, sentence):
    assert script.main([*LINE, *more]) == 2
    assert capsys.readouterr().err.startswith(f"train_lseg: {sentence}")
    assert not script.commands


def test_every_command_that_is_made_is_one_that_train_takes(script, capsys):
    """All but the model's weights, which are the first thing that is looked for."""
    assert script.main([*LINE, "--vit-weights", "no.pth", "--arch_option", "2", "--vocab", "no.txt"]) == 0
    assert ms_seg(script.commands[0]) == 2
    assert "no.txt" in capsys.readouterr().err.splitlines()[-1]

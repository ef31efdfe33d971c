"""`train --output RUN --resume`: a run knows what it was begun with, wherever it and its pictures lie now."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ms_seg.__main__ import main
from ms_seg.training.step import TrainStep
from ms_seg.training.tasks import semantic
from ms_seg.training.trainer import Scores
from tests.commands import broken_datasets as small

BEGIN = [
    "train", "--model", "segformer_tiny_shapes", "--dataset", "folder", "--workers", "0", "--steps", "2",
    "--batch-size", "2", "--crop-size", "32", "--short-side", "48", "--keep-every", "1", "--keep", "9",
    "--override", "drop_path_rate=0.1",
]  # fmt: skip


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds a run of two steps that compute nothing, stopped after the first, and its pictures.
    Nothing is measured either."""
    monkeypatch.setattr(TrainStep, "__call__", lambda self, step, batch: 1.0)
    monkeypatch.setattr(semantic, "make_validation", lambda *_: lambda: Scores({"mIoU": 0.5}, "mIoU"))
    monkeypatch.chdir(tmp_path)
    small.write_dataset("folder", tmp_path / "data")
    assert main([*BEGIN, "--data", "data", "--output", "run"]) == 0
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "00000002")
    return tmp_path


def resume(*options: str, run: str = "run") -> int:
    return main(["train", "--output", run, "--resume", "--workers", "0", *options])


def test_a_run_needs_no_other_option_and_says_where_it_goes_on(begun, monkeypatch, capsys):
    capsys.readouterr()
    monkeypatch.chdir("/")
    assert resume(run=str(begun / "run")) == 0
    said = capsys.readouterr()
    assert "going on from step 1 of 2" in said.err
    assert "randomly initialised" not in said.out + said.err
    assert [json.loads(line)["step"] for line in (begun / "run/log.jsonl").read_text().splitlines()] == [1, 2, 2]


def test_a_finished_run_says_so_and_what_comes_next(begun, capsys):
    assert resume() == 0
    capsys.readouterr()
    assert resume() == 0
    said = capsys.readouterr()
    assert not said.err
    (begun / "data").rename(begun / "moved")  # its pictures are not needed any more
    assert resume() == 0
    assert capsys.readouterr().out == said.out
    file = "run/checkpoints/00000002/model.ckpt"
    assert said.out.splitlines() == [
        f"run is finished, 2 steps. The best weights with mIoU 0.5000, of step 2: {file}",
        f"  to score them: python -m ms_seg evaluate --checkpoint {file} --dataset folder --data {begun / 'data'} "
        "--output run/scores",
        f"  to use them: python -m ms_seg segment PICTURE --checkpoint {file}",
        "  to train further: begin another run with that --checkpoint",
    ]


def test_a_run_and_its_pictures_may_move(begun, capsys):
    (begun / "run").rename(begun / "elsewhere")
    (begun / "data").rename(begun / "moved")
    assert resume(run="elsewhere") == 2
    assert f"the pictures of elsewhere were in {begun / 'data'}, which is not there: pass --data" in (
        capsys.readouterr().err
    )
    assert resume("--data", "moved", run="elsewhere") == 0
    capsys.readouterr()
    assert resume(run="elsewhere") == 0  # where they are now is known
    assert f"--data {begun / 'moved'} " in capsys.readouterr().out


def test_other_pictures_are_refused_before_their_labels_are_looked_at(begun, capsys, monkeypatch):
    monkeypatch.setattr(semantic, "preflight", lambda *_: pytest.fail("the labels were looked at"))
    pair = small.pair("folder", begun / "data", "training", 0)
    pair.picture.write_bytes(pair.picture.read_bytes() + b"\0")
    assert resume() == 2
    assert "the files of the training pictures are not those that run was begun with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--learning-rate", "0.5"), "run was begun with learning_rate 0.003, not 0.5"),
        (("--dataset", "ade20k"), "run was begun with dataset folder, not ade20k"),
        (("--model", "segformer_b0_ade20k"), "run was begun with model segformer_tiny_shapes, not segformer_b0_ade20k"),
        (("--override", "drop_path_rate=0.2"), "run was begun with overrides {'drop_path_rate': 0.1}, not"),
    ],
)
def test_what_a_run_was_not_begun_with_is_refused_before_its_pictures_are_read(begun, capsys, options, sentence):
    shutil.rmtree(begun / "data" / "labels")
    assert resume(*options) == 2
    assert sentence in capsys.readouterr().err


def test_a_folder_without_a_run_says_what_begins_one(tmp_path, capsys):
    assert resume(run=str(tmp_path / "nowhere")) == 2
    assert capsys.readouterr().err == (
        f"ms_seg train: {tmp_path / 'nowhere'} holds no run to go on with: pass --dataset, and --model or "
        "--checkpoint, to begin one\n"
    )

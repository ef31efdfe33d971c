"""A run without the command line: the call in docs/fine_tuning.md, and what the run's folder keeps."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ms_seg
from convert.reading.entry import ArrayEntry
from convert.writing import write_checkpoint
from ms_seg.__main__ import main
from ms_seg.data.datasets import open_for_task
from ms_seg.data.drawn.world import DrawnWorld
from ms_seg.data.picture import UnreadablePicture
from ms_seg.presets import PRESETS
from ms_seg.training import memory, train
from ms_seg.training.loader import Loader
from ms_seg.training.record import OPTIONS
from ms_seg.training.step import TrainStep
from tests.commands import broken_datasets as small

ROOT = Path(__file__).resolve().parents[2]
MODEL = "segformer_tiny_shapes"
DOCUMENTED = {"steps=4000": "steps=2", "warmup_steps=200": "warmup_steps=1", "batch_size=8": "batch_size=2"}
DOCUMENTED |= {"validate_every=500": "validate_every=1, crop_size=32, short_side=48"}
DOCUMENTED |= {"segformer_b0_ade20k": "segformer_tiny_shapes", "pytorch_model.bin": "published.pth"}
COMMAND = [
    "train", "--model", "segformer_tiny_shapes", "--checkpoint", "published.pth", "--dataset", "folder", "--data",
    "garden", "--workers", "0", "--steps", "2", "--warmup-steps", "1", "--batch-size", "2", "--validate-every", "1",
    "--crop-size", "32", "--short-side", "48",
]  # fmt: skip


def lines(run: Path) -> list[dict]:
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    timed = ("images_per_second", "waiting_for_data")
    return [{key: value for key, value in line.items() if key not in timed} for line in log]


def documented() -> str:
    """The code of the documentation, with a small model and few steps."""
    (code,) = re.findall(r"```python\n(from dataclasses.*?)```", (ROOT / "docs/fine_tuning.md").read_text(), re.S)
    for there, here in DOCUMENTED.items():
        assert there in code
        code = code.replace(there, here)
    return code


def test_the_documented_call_is_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """From a file, of a model of one block."""
    monkeypatch.chdir(tmp_path)
    small.write_dataset("folder", tmp_path / "garden")
    monkeypatch.setitem(PRESETS, MODEL, PRESETS[MODEL].override(depths=(0, 0, 0, 1)))
    parameters = ms_seg.create_model(MODEL).get_parameters()
    write_checkpoint(tmp_path / "published.pth", {p.name: ArrayEntry(p.asnumpy()) for p in parameters})
    assert main([*COMMAND, "--output", "runs/command"]) == 0
    exec(documented(), {})
    called, command = tmp_path / "runs/garden", tmp_path / "runs/command"
    assert [line["step"] for line in lines(called)] == [1, 1, 2, 2]
    assert lines(called) == lines(command)
    for name in ("model.ckpt", "optimizer.ckpt"):
        last = f"checkpoints/00000002/{name}"
        assert (called / last).read_bytes() == (command / last).read_bytes(), name


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Trains, in steps that compute nothing, on the drawn world."""
    monkeypatch.setattr(TrainStep, "__call__", lambda self, step, batch: 1.5)
    model = ms_seg.create_model("segformer_tiny_shapes")
    recipe = replace(
        model.preset.recipe, steps=1, warmup_steps=1, batch_size=1, crop_size=32, short_side=32, long_side=32
    )

    def begin(
        datasets: int = 1, seed: int = 0, warmup_steps: int = 1, pictures: int = 2, steps: int = 1, **options: object
    ) -> None:
        dataset = DrawnWorld("training", (32, 32)).first(pictures)
        numbers = replace(recipe, seed=seed, warmup_steps=warmup_steps, steps=steps)
        train(model, [dataset] * datasets, dataset, numbers, tmp_path / "run", **options)

    return begin


def test_a_folder_is_begun_once_and_resumed_with_the_recipe_and_the_options_it_was_begun_with(begin, tmp_path: Path):
    begin(options={"dataset": "mine", "data": "here"})
    record = json.loads((tmp_path / "run" / OPTIONS).read_text())
    assert (record["model"], record["dataset"], record["recipe"]["steps"]) == ("segformer_tiny_shapes", "mine", 1)
    with pytest.raises(ValueError, match="holds a run"):
        begin(options={"dataset": "mine"})
    begin(options={"dataset": "mine", "data": "elsewhere"}, resume=True)
    begin(resume=True)  # options that are not given are not compared
    with pytest.raises(ValueError, match="was begun with dataset mine, not yours"):
        begin(options={"dataset": "yours"}, resume=True)
    with pytest.raises(ValueError, match="was begun with seed 0, not 1"):
        begin(seed=1, resume=True)
    assert len(lines(tmp_path / "run")) == 2


@pytest.mark.parametrize(("reading", "computing", "least", "most"), [(0.2, 0.0, 80, 100), (0.0, 0.4, 0, 20)])
def test_the_bar_and_the_log_tell_how_long_the_steps_waited_for_data(
    begin, tmp_path, monkeypatch, capsys, reading: float, computing: float, least: int, most: int
):
    def batches(*_: object) -> Iterator[tuple]:
        for _ in range(3):
            time.sleep(reading)
            yield (np.zeros((1, 3, 32, 32), np.float32), np.zeros((1, 32, 32), np.int32))

    def step(*_: object) -> float:
        time.sleep(computing)
        return 1.5

    monkeypatch.setattr(Loader, "batches", batches)
    monkeypatch.setattr(TrainStep, "__call__", step)
    begin(steps=3)
    (said,) = re.findall(r"training: 100%.*, (\d+)% of the time waiting for data", capsys.readouterr().err)
    assert least <= int(said) <= most
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert all(least <= 100 * line["waiting_for_data"] <= most for line in log if "loss" in line)


def test_what_a_model_with_classes_of_its_own_cannot_learn_from_is_refused_before_there_is_a_folder(
    begin, tmp_path: Path
):
    for refused, sentence in (
        ({"datasets": 2}, "segformer_tiny_shapes has classes of its own: 2 datasets are for a model that takes words"),
        ({"datasets": 0}, "there is no dataset to train on: pass at least one"),
        ({"vocab": "merges.txt"}, "a vocabulary is for a model that takes words"),
    ):
        with pytest.raises(ValueError, match=sentence):
            begin(**refused)
    assert not (tmp_path / "run").exists()


def test_a_dataset_of_other_classes_than_the_models_is_refused(tmp_path: Path):
    data = open_for_task("folder", small.write_dataset("folder", tmp_path / "data"), "training")
    model = ms_seg.create_model("segformer_tiny_shapes")
    recipe = replace(model.preset.recipe, steps=1, warmup_steps=1, batch_size=1, crop_size=32)
    with pytest.raises(ValueError, match="tells shapes's 9 classes apart .* and the dataset has 3 others"):
        train(model, [data], data, recipe, tmp_path / "run")
    assert not (tmp_path / "run" / OPTIONS).exists()


def test_a_warm_up_that_is_longer_than_the_run_is_refused(begin, tmp_path: Path):
    with pytest.raises(ValueError, match="warmup_steps must be at most steps, 1: 2 are more"):
        begin(warmup_steps=2)
    assert not (tmp_path / "run").exists()


def test_the_pictures_of_a_run_may_move_but_not_change(begin, tmp_path: Path):
    begin()
    with pytest.raises(ValueError, match=r"training pictures .* 2 pictures of 0 bytes then, 3 pictures of 0 bytes now"):
        begin(pictures=3, resume=True)


def test_a_validation_that_was_stopped_is_repeated_by_who_resumes(begin, tmp_path: Path, monkeypatch):
    from ms_seg.training import validation

    evaluate, calls = validation.evaluate, []

    def press(*arguments: object) -> Any:
        calls.append("validation")
        if len(calls) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return evaluate(*arguments)

    monkeypatch.setattr(validation, "evaluate", press)
    with pytest.raises(KeyboardInterrupt, match=r"stopped: step 1 of 1 is kept. To go on: train\(..., resume=True\)"):
        begin()
    assert [line["step"] for line in lines(tmp_path / "run")] == [1]
    begin(resume=True)
    assert [("mIoU" in line, line["step"]) for line in lines(tmp_path / "run")] == [(False, 1), (True, 1)]
    begin(resume=True)
    assert len(calls) == 2


def test_a_run_that_memory_ends_before_its_first_checkpoint_leaves_nothing_in_the_way(begin, tmp_path, monkeypatch):
    class Left(Exception):
        pass

    def leave(code: int) -> None:
        left.set()
        raise SystemExit  # of the thread

    def wait(self: TrainStep, step: int, batch: object) -> float:
        assert left.wait(10) and not (tmp_path / "run" / OPTIONS).exists()
        raise Left

    left = threading.Event()
    monkeypatch.setattr(memory.os, "_exit", leave)
    monkeypatch.setattr(TrainStep, "__call__", wait)
    monkeypatch.setattr(memory, "memory_left", lambda: (0, 1))
    with pytest.raises(Left):
        begin()


def test_a_run_stopped_before_its_first_checkpoint_leaves_nothing_in_the_way(begin, tmp_path: Path, monkeypatch):
    def press(self: TrainStep, step: int, batch: object) -> float:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return 1.0

    with monkeypatch.context() as patched:
        patched.setattr(TrainStep, "__call__", press)
        with pytest.raises(KeyboardInterrupt, match="stopped before the first checkpoint: nothing is kept"):
            begin()
    begin()


def test_steps_before_a_picture_that_cannot_be_read_are_kept_and_gone_on_from(
    begin, tmp_path: Path, monkeypatch, capsys
):
    def broken(self: Loader, start_step: int, stop_step: int) -> Iterator[tuple[np.ndarray, ...]]:
        yield next(whole(self, start_step, stop_step))
        raise UnreadablePicture("b.jpg is cut off")

    whole = Loader.batches
    with monkeypatch.context() as patched:
        patched.setattr(Loader, "batches", broken)
        with pytest.raises(UnreadablePicture, match="b.jpg is cut off"):
            begin(steps=3)
    assert "step 1 of 3 is kept, from which --resume goes on" in capsys.readouterr().err
    begin(steps=3, resume=True)
    assert [line["step"] for line in lines(tmp_path / "run") if "loss" in line] == [1, 2, 3]

"""A run that is stopped or killed goes on as if nothing had happened: real processes, Ctrl-C, `kill -9`, losses equal
to the last bit."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import pytest

from ms_seg.__main__ import main
from ms_seg.presets import PRESETS
from tests.training.dropping import DROPPING, NAME

COMMAND = Path(__file__).with_name("dropping.py")
STEPS = 14
OPTIONS = [
    "--model", "segformer_tiny_shapes", "--dataset", "shapes", "--workers", "0", "--steps", str(STEPS),
    "--batch-size", "2", "--crop-size", "32", "--short-side", "48", "--warmup-steps", "2", "--ema", "0.9",
    "--keep-every", "3", "--validate-every", "1000", "--pictures", "8",
]  # fmt: skip


def train(run: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, str(COMMAND), "train", "--output", str(run), *OPTIONS, *more]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def losses(run: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def kill_after_steps(
    process: subprocess.Popen, run: Path, steps: int, delay: float, number: int = signal.SIGKILL
) -> str:
    """Send a signal when so many steps are taken; what the process said until then."""
    log = run / "log.jsonl"
    deadline = time.monotonic() + 240
    while process.poll() is None and (not log.is_file() or log.read_text().count("\n") < steps):
        assert time.monotonic() < deadline, "the run does not get on"
        time.sleep(0.02)
    time.sleep(delay)
    process.send_signal(number)
    return process.communicate(timeout=120)[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped, in this process."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert here(run) == 0
    return run


def here(run: Path, *more: str) -> int:
    with mock.patch.dict(PRESETS, {NAME: DROPPING}):
        return main(["train", "--output", str(run), *OPTIONS, *more])


def test_a_run_stopped_and_killed_has_the_losses_of_one_never_stopped(whole: Path, tmp_path: Path):
    run, chance = tmp_path / "stopped", random.Random()
    process = train(run)
    said = kill_after_steps(process, run, 4, chance.uniform(0, 0.3), signal.SIGINT)
    assert process.returncode == 130
    kept = max(path.name for path in (run / "checkpoints").iterdir())
    sentence = f"stopped: step {int(kept)} of {STEPS} is kept. To go on: python -m ms_seg train --output {run} --resume"
    assert said.splitlines()[-1] == sentence
    assert int(kept) == max(losses(run))
    kill_after_steps(train(run, "--resume"), run, 9, chance.uniform(0, 0.3))
    assert here(run, "--resume") == 0
    assert losses(run) == losses(whole)
    assert sorted(losses(run)) == list(range(1, STEPS + 1))
    last = f"checkpoints/{STEPS:08}"
    for name in ("model.ckpt", "average.ckpt", "optimizer.ckpt"):
        assert (run / last / name).read_bytes() == (whole / last / name).read_bytes(), name


def test_a_run_folder_is_not_begun_again(whole: Path, capfd):
    assert here(whole) == 2
    assert "holds a run: go on with --resume" in capfd.readouterr().err


def test_a_run_does_not_go_on_with_other_numbers(whole: Path, capfd):
    assert here(whole, "--resume", "--learning-rate", "0.5") == 2
    assert "was begun with learning_rate" in capfd.readouterr().err

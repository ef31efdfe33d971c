"""Training in several processes, as `msrun` starts them, is training in one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import psutil
import pytest

from ms_seg.__main__ import main
from ms_seg.presets import PRESETS
from tests.training.dropping import DROPPING, NAME

COMMAND = Path(__file__).with_name("dropping.py")
OPTIONS = [
    "--model", "segformer_tiny_shapes", "--dataset", "shapes", "--workers", "0", "--steps", "4", "--batch-size", "4",
    "--crop-size", "32", "--short-side", "48", "--warmup-steps", "2", "--validate-every", "1000", "--pictures", "8",
]  # fmt: skip


def start(run: Path, processes: int, folder: Path, port: int, *more: str) -> subprocess.Popen:
    launcher = Path(sys.executable).with_name("msrun")
    count = [f"--worker_num={processes}", f"--local_worker_num={processes}", "--join=True"]
    options = [*count, f"--log_dir={folder / 'log'}", f"--master_port={port}", "--"]
    command = [str(launcher), *options, str(COMMAND), "train", "--output", str(run), *OPTIONS, *more]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "MS_RECEIVE_MSG_TIMEOUT": "15"}  # seconds a rank waits for one that died
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment, **pipes)


def finish(process: subprocess.Popen) -> str:
    output, errors = process.communicate(timeout=400)
    assert process.returncode == 0, output + errors
    return output


def wait_until(condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.1)


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_two_processes_have_the_losses_of_one_with_the_same_batch(tmp_path: Path):
    """Statistics of batch norm, dropped paths and gradients are those of the whole batch.

    With SGD: Adam would not feel gradients that are all twice as large.
    """
    one, two = tmp_path / "one", tmp_path / "two"
    sgd = ["--optimizer", "sgd", "--learning-rate", "0.01"]
    together = start(two, 2, tmp_path, 8137, *sgd)
    with mock.patch.dict(PRESETS, {NAME: DROPPING}):
        assert main(["train", "--output", str(one), *OPTIONS, *sgd]) == 0
    finish(together)
    assert len(losses(one)) == 4
    assert losses(two) == pytest.approx(losses(one), rel=1e-5)


def test_a_rank_that_is_killed_ends_the_run(tmp_path: Path):
    """The others too, and not only because msrun kills those on its own machine: it is held until they have ended."""
    run = tmp_path / "run"
    launcher = start(run, 2, tmp_path, 8139, "--steps", "4000")
    log = run / "log.jsonl"
    try:
        wait_until(lambda: log.is_file() and len(losses(run)) > 2, 300, "no step is taken")
        children = psutil.Process(launcher.pid).children()
        workers = {
            child.environ()["MS_NODE_ID"]: child
            for child in children
            if str(COMMAND) in child.cmdline() and child.environ()["MS_ROLE"] == "MS_WORKER"
        }
        launcher.send_signal(signal.SIGSTOP)
        workers["1"].kill()
        wait_until(lambda: workers["0"].status() == psutil.STATUS_ZOMBIE, 90, "rank 0 waits for a rank that is dead")
        launcher.send_signal(signal.SIGCONT)
        output, errors = launcher.communicate(timeout=90)
    finally:
        for process in (*psutil.Process(launcher.pid).children(), launcher) if launcher.poll() is None else ():
            process.kill()
    assert launcher.returncode != 0
    assert "Distributed job exited with exception" in output + errors
    assert not psutil.wait_procs(children, timeout=10)[1]

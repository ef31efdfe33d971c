"""Training in several processes, as `msrun` starts them, is training in one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = [
    "--model", "segformer_tiny_shapes", "--dataset", "shapes", "--workers", "0", "--steps", "4", "--batch-size", "4",
    "--crop-size", "32", "--short-side", "48", "--warmup-steps", "2", "--validate-every", "1000",
]  # fmt: skip


def train(run: Path, processes: int, folder: Path) -> subprocess.CompletedProcess:
    command = ["-m", "ms_seg", "train", "--output", str(run), *OPTIONS]
    if processes == 1:
        command = [sys.executable, *command]
    else:
        launcher = Path(sys.executable).with_name("msrun")
        count = [f"--worker_num={processes}", f"--local_worker_num={processes}", "--join=True"]
        command = [str(launcher), *count, f"--log_dir={folder / 'log'}", "--master_port=8137", "--", *command]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400)


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_two_processes_have_the_losses_of_one_with_the_same_batch(tmp_path: Path):
    """Statistics of batch norm, dropped paths and gradients are those of the whole batch."""
    one, two = tmp_path / "one", tmp_path / "two"
    alone, together = train(one, 1, tmp_path), train(two, 2, tmp_path)
    assert alone.returncode == 0, alone.stderr
    assert together.returncode == 0, together.stdout
    assert len(losses(one)) == 4
    assert losses(two) == pytest.approx(losses(one), rel=1e-5)

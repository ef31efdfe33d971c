"""A small SegFormer learns the drawn world from nothing, through the ordinary command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BAR = 0.37  # ground without an error, and every shape taken for the same one, comes to 0.356
NUMBERS = ["--steps", "600", "--validate-every", "600", "--keep-every", "600", "--pictures", "1000"]


def test_in_two_minutes_a_model_tells_shapes_apart_that_it_has_never_seen(tmp_path: Path):
    command = [sys.executable, "-m", "ms_seg", "train", "--model", "segformer_tiny_shapes", "--dataset", "shapes"]
    run = subprocess.run(
        [*command, *NUMBERS, "--output", str(tmp_path / "run")], cwd=ROOT, capture_output=True, text=True, timeout=1200
    )
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["mIoU"] > BAR

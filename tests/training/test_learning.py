"""Small models learn the drawn world from nothing: a SegFormer through the ordinary command, a Mask2Former by heart."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mindspore as ms

from ms_seg.data.drawn.world import DrawnPanoptic
from ms_seg.presets import find_preset
from ms_seg.systems import build
from ms_seg.training import train

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


def test_in_sixty_steps_a_model_of_queries_knows_two_pictures_by_heart(tmp_path: Path):
    preset = find_preset("mask2former_tiny_shapes")
    preset = preset.override(depths=(1, 1, 1, 1), pixel_layers=1, query_layers=1)
    recipe = replace(
        preset.recipe, steps=60, batch_size=2, crop_size=64, short_side=64, long_side=64, flip=0.0,
        learning_rate=2e-3, warmup_steps=5, points=512, validate_every=60, keep_every=60,
    )  # fmt: skip
    ms.set_seed(0)
    pictures = DrawnPanoptic("training", (64, 64), max_pictures=2)
    train(build(preset), [pictures], pictures, recipe, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["PQ"] > 0.6

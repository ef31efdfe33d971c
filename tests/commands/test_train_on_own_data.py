"""A published model trained on somebody's own pictures and classes, and its checkpoint used: as a person does it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convert.__main__ import main as convert
from ms_seg.__main__ import main
from ms_seg.presets import ASSETS

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["Wiese", "sky", "stone wall"]
PUBLISHED = ASSETS / "segformer_tiny_shapes.pth"
SHORT_SIDE, STEPS = 48, 2
OPTIONS = [
    "--model", "segformer_tiny_shapes", "--checkpoint", str(PUBLISHED), "--dataset", "folder", "--workers", "0",
    "--steps", str(STEPS), "--batch-size", "2", "--crop-size", "32", "--short-side", str(SHORT_SIDE),
    "--validate-every", "1",
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures of stripes in three colours and some noise; twice as large as they are trained at."""
    root = tmp_path_factory.mktemp("data")
    (root / "labels.txt").write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    colours = np.array([[60, 160, 60], [120, 170, 230], [130, 120, 110]])
    for number, split in enumerate(["training", "training", "validation", "validation"]):
        rng = np.random.default_rng(number)
        truth = np.repeat(rng.permutation(np.arange(12) % 3), 10)[None].repeat(96, axis=0)  # (96, 120)
        picture = np.clip(colours[truth] + rng.normal(0, 25, (*truth.shape, 3)), 0, 255)
        for kind, array in (("images", picture), ("labels", truth)):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(root / kind / split / f"view_{number}.png")
    return root


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """The run's folder, and what it said on stdout and stderr."""
    folder = tmp_path_factory.mktemp("runs") / "own"
    command = [sys.executable, "-m", "ms_seg", "train", *OPTIONS, "--data", str(data), "--output", str(folder)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return folder, ended.stdout, ended.stderr


@pytest.fixture(scope="module")
def checkpoint(run: tuple[Path, str, str]) -> Path:
    return run[0] / f"checkpoints/{STEPS:08}/model.ckpt"


def test_the_run_says_that_its_classifier_is_fresh(run: tuple[Path, str, str]):
    _, stdout, stderr = run
    (line,) = [line for line in stderr.splitlines() if "freshly initialised" in line]
    assert line.startswith(f"{PUBLISHED} has 9 classes and the model is to have 3: the classifier")
    assert "2 pictures, 3 classes" in stdout


def test_its_checkpoint_names_the_persons_classes(checkpoint: Path, data: Path, tmp_path: Path):
    picture = data / "images/validation/view_2.png"
    assert main(["segment", str(picture), "--checkpoint", str(checkpoint), "--output", str(tmp_path)]) == 0
    segments = json.loads((tmp_path / "view_2.segments.json").read_text(encoding="utf-8"))["segments"]
    assert segments and {segment["category"] for segment in segments} <= set(NAMES)


@pytest.mark.parametrize("way", ["as it is", "converted there and back"])
def test_its_checkpoint_scores_what_the_run_said(
    way: str, run: tuple[Path, str, str], checkpoint: Path, data: Path, tmp_path: Path
):
    lines = [json.loads(line) for line in (run[0] / "log.jsonl").read_text().splitlines()]
    validated = [line["mIoU"] for line in lines if "mIoU" in line]
    assert len(validated) == STEPS
    if way != "as it is":
        assert convert([str(checkpoint), str(tmp_path / "there.safetensors")]) == 0
        assert convert([str(tmp_path / "there.safetensors"), str(tmp_path / "back.ckpt")]) == 0
        assert (tmp_path / "back.ckpt").read_bytes() == checkpoint.read_bytes()
        checkpoint = tmp_path / "there.safetensors"
    options = ["--dataset", "folder", "--data", str(data), "--output", str(tmp_path / "scores")]
    assert main(["evaluate", "--checkpoint", str(checkpoint), *options]) == 0
    assert json.loads((tmp_path / "scores/metrics.json").read_text())["mIoU"] == validated[-1]

"""`train` and `evaluate` on label files of every numbering: asked after, said, recorded, and read alike by both."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ms_seg.__main__ import main
from ms_seg.training.step import TrainStep
from tests.data.small_datasets import write_labels, write_picture

SIZE = (40, 56)
TRAIN = [
    "--model", "segformer_tiny_shapes", "--dataset", "folder", "--workers", "0", "--steps", "1", "--batch-size", "2",
    "--crop-size", "32", "--short-side", "32", "--warmup-steps", "0",
]  # fmt: skip


def write(root: Path, names: str, values: list[int]) -> Path:
    """Two pictures of each split; every label file holds all values."""
    root.mkdir()
    (root / "labels.txt").write_text(names)
    for seed, name in enumerate(["training/a", "training/b", "validation/c", "validation/d"]):
        write_picture(root / f"images/{name}.jpg", SIZE, seed)
        write_labels(root / f"labels/{name}.png", np.array(values)[np.arange(56) * len(values) // 56], SIZE)
    return root


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that compute nothing."""
    monkeypatch.setattr(TrainStep, "__call__", lambda self, step, batch: 1.0)


def train(data: Path, run: Path, *more: str) -> int:
    return main(["train", *TRAIN, "--data", str(data), "--output", str(run), *more])


def evaluate(data: Path, run: Path, output: Path, *more: str) -> int:
    checkpoint = run / "checkpoints/00000001/model.ckpt"
    options = ["--checkpoint", str(checkpoint), "--dataset", "folder", "--data", str(data), "--output", str(output)]
    return main(["evaluate", *options, *more])


CAMVID = "sky\nbuilding\nroad\n", [0, 1, 2, 3]


def test_labels_of_two_readings_stop_before_the_first_step_with_a_picture_of_both(tmp_path, capfd, quick):
    data = write(tmp_path / "data", *CAMVID)
    assert train(data, tmp_path / "run") == 2
    said = capfd.readouterr().err
    assert "can be read in 2 ways" in said and "--reduce-zero-label true" in said and "--ignore-label 3" in said
    assert said.splitlines()[-1].endswith(f"is drawn in each way in {tmp_path / 'run.readings.png'}")
    both = Image.open(tmp_path / "run.readings.png")
    assert both.width > 640 and len(both.getcolors(1 << 16)) > 8
    assert not (tmp_path / "run").exists()


def test_what_was_decided_is_recorded_and_evaluation_reads_alike(tmp_path, capfd, quick):
    data = write(tmp_path / "data", *CAMVID)
    assert train(data, tmp_path / "run", "--ignore-label", "3") == 0
    assert "0..2 number them, 3 and 255 are ignored" in capfd.readouterr().out
    recorded = json.loads((tmp_path / "run/options.json").read_text())["label_values"]
    assert (recorded["values"], recorded["ignored"]) == ([0, 1, 2], [3, 255])
    for name in ("augmented.png", "curves.png", "classes.png", "validation/00000001.png"):
        assert min(Image.open(tmp_path / "run" / name).size) > 100
    assert evaluate(data, tmp_path / "run", tmp_path / "scores") == 0
    rows = json.loads((tmp_path / "scores/metrics.json").read_text())["classes"]
    assert [(row["class"], row["pixels"]) for row in rows] == [("sky", 1120), ("building", 1120), ("road", 1120)]
    assert (
        evaluate(data, tmp_path / "run", tmp_path / "other", "--reduce-zero-label", "true") == 0
    )  # who says so is right
    assert train(data, tmp_path / "run", "--resume", "--reduce-zero-label", "true") == 2
    assert (
        "was begun with label_values 0..2 number them, 3 and 255 are ignored, not 1..3 number them, 0 and 255 are"
        in capfd.readouterr().err
    )


def test_black_and_white_masks_learn_both_classes(tmp_path, capfd, quick):
    data = write(tmp_path / "data", "background\nbuilding\n", [0, 255])
    assert train(data, tmp_path / "run") == 2
    assert "--label-values 0,255" in capfd.readouterr().err
    assert train(data, tmp_path / "run", "--label-values", "0,255") == 0
    assert "0 and 255 stand for them, as --label-values says" in capfd.readouterr().out
    assert train(data, tmp_path / "other", "--ignore-label", "255") == 2
    assert "show background and nothing else" in capfd.readouterr().err


def test_a_published_datasets_labels_are_known(tmp_path, capfd):
    more = ["--dataset", "ade20k", "--data", str(tmp_path), "--output", str(tmp_path / "run"), "--ignore-label", "3"]
    assert main(["train", "--model", "segformer_tiny_shapes", *more]) == 2
    assert "are for --dataset folder: what the label files of ade20k hold is known" in capfd.readouterr().err


def test_a_class_that_nothing_shows_is_allowed_when_it_is_said(tmp_path, capfd, quick):
    data = write(tmp_path / "data", "0 sky\n1 road\n2 car\n", [0, 1])
    assert train(data, tmp_path / "run") == 2
    assert "shows car" in capfd.readouterr().err
    assert train(data, tmp_path / "run", "--allow", "missing-classes") == 0


def test_damaged_files_are_left_out_on_request_and_counted(tmp_path, capfd, quick):
    data = write(tmp_path / "data", "sky\nroad\n", [0, 1])
    write_picture(data / "images/training/e.jpg", SIZE, 9)
    write_labels(data / "labels/training/e.png", [0, 1], SIZE)
    for file in (data / "images/training/a.jpg", data / "labels/training/b.png"):
        file.write_bytes(file.read_bytes()[:60])
    assert train(data, tmp_path / "run") == 2
    assert "--skip-damaged leaves out what cannot be read" in capfd.readouterr().err
    assert train(data, tmp_path / "run", "--skip-damaged") == 0
    said = capfd.readouterr()
    assert f"2 of 3 pictures in {data / 'images/training'} are left out" in said.out
    assert "a.jpg is" in said.err and "b.png is" in said.err
    assert "1 pictures, 2 classes" in said.out

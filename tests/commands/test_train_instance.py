"""`python -m ms_seg train` on things: what it says, learns from, measures, and leaves for `segment`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

import ms_seg
from ms_seg.__main__ import main
from ms_seg.training.step import TrainStep
from tests.data.published import write_cityscapes
from tests.data.small_datasets import write_picture

MODEL = "mask2former_tiny_shapes"
SMALL = ["--override", "depths=[1,1,1,1]", "--override", "query_layers=1", "--override", "pixel_layers=1"]
QUICK = ["--steps", "2", "--batch-size", "2", "--crop-size", "32", "--workers", "0", "--keep-every", "1"]


@pytest.fixture(scope="module")
def coco(tmp_path_factory) -> Path:
    """Two pictures of which one shows two cats that overlap and a crowd of dogs, and the other nothing."""
    root = tmp_path_factory.mktemp("data") / "coco"
    for part in ("train2017", "val2017"):
        images = [{"id": n, "file_name": f"{n:012}.jpg", "height": 40, "width": 60} for n in (1, 2)]
        for row in images:
            write_picture(root / part / row["file_name"], (40, 60), row["id"])
        rows = [
            {
                "id": n, "image_id": 2, "category_id": 3 + 4 * (n > 1), "bbox": [left, 5, 30, 30], "area": 900,
                "iscrowd": int(n > 1), "segmentation": [[left, 5, left + 30, 5, left + 30, 35, left, 35]],
            }
            for n, left in enumerate((2, 20, 28))
        ]  # fmt: skip
        content = {"images": images, "annotations": rows}
        content["categories"] = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{part}.json").write_text(json.dumps(content))
    return root


def run(output: Path, data: Path, *more: object, dataset: str = "coco_instance") -> int:
    options = ["--model", MODEL, "--dataset", dataset, "--data", data, "--output", output, *more]
    return main(["train", *map(str, options)])


def test_a_model_learns_things_that_overlap_and_is_scored_by_ap(coco, tmp_path, capfd, monkeypatch):
    batches = []
    monkeypatch.setattr(TrainStep, "__call__", lambda self, step, batch: batches.append(batch) or 1.5)
    whole = ["--short-side", 40, "--long-side", 60, "--crop-size", 64, "--flip", 0, *SMALL]
    assert run(tmp_path / "run", coco, *QUICK, *whole) == 0
    captured = capfd.readouterr()
    lines = captured.out.splitlines()
    assert lines[lines.index("2 pictures, 2 classes of things; 2 read") :][:3] == [
        "2 pictures, 2 classes of things; 2 read",
        "1.0 things a picture",
        "1 crowds, which are no target",
    ]
    assert "step 2: mask_AP 0." in captured.err and "box_AP 0." in captured.err
    images, labels, masks = batches[0]
    assert images.shape == (2, 3, 64, 64) and labels[:, :3].tolist() == [[0, 0, -1]] * 2  # of the picture with things
    assert masks.shape == (2, 16, 64, 64) and (masks[0, 0] & masks[0, 1]).any()
    line = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert {"mask_AP", "mask_AP50", "box_AP"} <= line.keys()
    with Image.open(tmp_path / "run" / "validation" / "00000002.png") as picture:
        assert picture.width > 100
    sizes = {"num_classes": 2, "depths": (1, 1, 1, 1), "query_layers": 1, "pixel_layers": 1}
    preset = ms_seg.create_model(MODEL, tmp_path / "run/checkpoints/00000002/model.ckpt", **sizes).preset
    assert (preset.tasks, preset.label_set.names) == (("instance",), ("cat", "dog"))


def test_published_maps_are_cut_wide_and_scored_as_cityscapes_does(tmp_path, capfd, monkeypatch):
    batches = []
    monkeypatch.setattr(TrainStep, "__call__", lambda self, step, batch: batches.append(batch) or 1.5)
    for split in ("training", "validation"):
        write_cityscapes(tmp_path / "cityscapes", split, count=2)
    more = [*SMALL, *QUICK, "--steps", 1, "--batch-size", 1, "--augmentation", "mmseg", "--crop-width", 64,
            "--scales", "0.5,1", "--points", 64]  # fmt: skip
    assert run(tmp_path / "run", tmp_path, *more, dataset="cityscapes_instance") == 0
    assert "step 1: mask_AP 0." in capfd.readouterr().err
    assert [array.shape for array in batches[0]] == [(1, 3, 32, 64), (1, 16), (1, 16, 32, 64)]


def test_pictures_without_things_alone_are_refused(coco, tmp_path, capfd):
    root = tmp_path / "coco"
    for part in ("train2017", "val2017"):
        file = root / "annotations" / f"instances_{part}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        content = json.loads((coco / "annotations" / file.name).read_text())
        content["annotations"] = [{**row, "iscrowd": 1} for row in content["annotations"]]
        file.write_text(json.dumps(content))
        (root / part).symlink_to(coco / part)
    assert run(tmp_path / "run", root, *QUICK, *SMALL) == 2
    assert "hold no thing that is no crowd: there is nothing to learn" in capfd.readouterr().err

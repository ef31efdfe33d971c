"""`python -m ms_seg evaluate` with a model of queries: its segments are scored, interrupted and written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ms_seg
from ms_seg.__main__ import main
from ms_seg.evaluation import tally as tally_module
from tests.data.panoptic_files import in_quarters, segment, write_panoptic
from tests.toy_model import ColourQueries

COUNT = 4
SIZE = (32, 48)
CATEGORIES = [
    {"id": 3, "name": "red", "isthing": 1},
    {"id": 7, "name": "green", "isthing": 1},
    {"id": 92, "name": "blue", "isthing": 0},
]
CLASSES = {1: 3, 2: 7, 3: 92}  # of the segments; the last quarter is void and black


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """COCO's panoptic and instance files of one split. The truth of picture n is n columns off."""
    root = tmp_path_factory.mktemp("data") / "coco"
    drawn, things = [], []
    for number in range(COUNT):
        ids = np.roll(in_quarters((1, 2, 3, 0), SIZE), number, axis=1)
        drawn.append((ids, [segment(i, category) for i, category in CLASSES.items()]))
    write_panoptic(root / "annotations" / "panoptic_val2017.json", drawn, CATEGORIES)
    (root / "val2017").mkdir()
    colours = np.uint8([[0, 0, 0], [200, 0, 0], [0, 200, 0], [0, 0, 200]])
    for number in range(COUNT):
        Image.fromarray(colours[in_quarters((1, 2, 3, 0), SIZE)]).save(root / "val2017" / f"{100 + number:012}.png")
        for category, x in ((3, 0), (7, 24)):
            outline = [[x, 0, x + 24, 0, x + 24, 16, x, 16]]
            row = {"id": len(things) + 1, "image_id": 100 + number, "category_id": category, "bbox": [x, 0, 24, 16]}
            things.append({**row, "area": 384, "segmentation": outline, "iscrowd": 0})
    file = root / "annotations" / "panoptic_val2017.json"
    content = json.loads(file.read_text().replace(".jpg", ".png"))
    file.write_text(json.dumps(content))
    instances = {"images": content["images"], "annotations": things, "categories": CATEGORIES[:2]}
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(instances))
    return root


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setattr(ms_seg, "create_model", lambda *_arguments, **_changes: ColourQueries())


def evaluate(data: Path, output: Path, *more: object, dataset: str = "coco_panoptic") -> int:
    options = ["--dataset", dataset, "--data", data, "--output", output, *more]
    return main(["evaluate", "--checkpoint", "x.pth", "--mode", "pynative", *map(str, options)])


def metrics(output: Path) -> dict:
    return json.loads((output / "metrics.json").read_text())


def test_a_models_segments_are_scored_and_written(data, tmp_path, capsys):
    assert evaluate(data, tmp_path / "one", "--save-predictions", tmp_path / "saved") == 0
    found = metrics(tmp_path / "one")
    assert found["model"] == "toy_queries" and found["pictures"] == COUNT
    assert found["RQ"] == 1 and found["SQ"] == found["PQ"] and 0.85 < found["PQ"] < 1
    assert (found["things"]["N"], found["stuff"]["N"]) == (2, 1)
    assert "PQ" in capsys.readouterr().err
    arguments = ["--dataset", "coco_panoptic", "--data", data, "--predictions", tmp_path / "saved"]
    assert main(["evaluate", *map(str, arguments), "--output", str(tmp_path / "two")]) == 0
    again = metrics(tmp_path / "two")
    assert {key: again[key] for key in ("PQ", "things", "stuff", "classes")} == {
        key: found[key] for key in ("PQ", "things", "stuff", "classes")
    }
    assert (tmp_path / "one" / "pictures.csv").read_text() == (tmp_path / "two" / "pictures.csv").read_text()


def test_a_models_instances_are_scored_and_written(data, tmp_path):
    assert evaluate(data, tmp_path / "one", "--save-predictions", tmp_path / "saved", dataset="coco_instance") == 0
    found = metrics(tmp_path / "one")
    assert found["box"]["AP50"] == found["mask"]["AP50"] == pytest.approx(1)
    arguments = ["--dataset", "coco_instance", "--data", data, "--predictions", tmp_path / "saved"]
    assert main(["evaluate", *map(str, arguments), "--output", str(tmp_path / "two")]) == 0
    again = metrics(tmp_path / "two")
    assert (again["box"], again["mask"], again["classes"]) == (found["box"], found["mask"], found["classes"])


@pytest.mark.parametrize("dataset", ["coco_panoptic", "coco_instance"])
def test_an_evaluation_that_stopped_goes_on(data, tmp_path, monkeypatch, dataset):
    monkeypatch.setattr(tally_module, "_MAX_SHARE", float("inf"))
    asked, look = [], ms_seg.Segmenter._look

    def stopping(self, inputs, words, progress):
        if len(asked) == 2:
            asked.append("stop")
            raise ValueError("stopped")
        asked.append("a picture")
        return look(self, inputs, words, progress)

    monkeypatch.setattr(ms_seg.Segmenter, "_look", stopping)
    saved = ("--save-predictions", tmp_path / "saved")
    assert evaluate(data, tmp_path / "out", *saved, dataset=dataset) == 2
    assert evaluate(data, tmp_path / "out", *saved, dataset=dataset) == 0
    assert asked.count("a picture") == COUNT + 2 * (dataset == "coco_panoptic")  # two more are drawn beside their truth
    assert evaluate(data, tmp_path / "whole", dataset=dataset) == 0
    assert (tmp_path / "out" / "metrics.json").read_text() == (tmp_path / "whole" / "metrics.json").read_text()
    assert not list((tmp_path / "out").glob("partial.*"))
    written = json.loads(next((tmp_path / "saved").glob("*.json")).read_text())
    assert len(written["annotations"] if dataset == "coco_panoptic" else written) >= COUNT


def test_pictures_must_be_there(data, tmp_path, capsys):
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "annotations").symlink_to(data / "annotations")
    assert evaluate(tmp_path / "alone", tmp_path / "out") == 2
    assert f"there is no folder {tmp_path / 'alone' / 'val2017'}" in capsys.readouterr().err


def test_a_model_of_other_classes_is_refused(data, tmp_path, capsys):
    arguments = ["--dataset", "shapes_panoptic", "--checkpoint", "x.pth", "--output", str(tmp_path / "out")]
    assert main(["evaluate", *arguments]) == 2
    assert "toy_queries tells 3 classes apart (red, green, blue)" in capsys.readouterr().err

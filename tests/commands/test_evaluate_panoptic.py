"""`python -m ms_seg evaluate` on panoptic maps and instances: files of predictions, and what is wrong with them."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ms_seg.__main__ import main
from ms_seg.data.drawn import world
from ms_seg.data.drawn.world import DrawnPanoptic
from tests.data.panoptic_files import encode, in_quarters, segment, write_coco_panoptic, write_panoptic

ROOT = Path(__file__).resolve().parents[2]
COUNT = 5
# Of the true segments: a cat, a crowd of dogs, grass, sky. The predictions are moved by a column more each time.
CLASSES = {1: 3, 2: 7, 3: 92, 4: 199}


def drawn(shift: int) -> tuple[np.ndarray, list[dict]]:
    ids = np.roll(in_quarters((1, 2, 3, 4)), shift, axis=1)
    ids[:, :2] = 0
    return ids, [
        segment(number, category, int(number == 2), area=int((ids == number).sum()))
        for number, category in CLASSES.items()
    ]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_coco_panoptic(tmp_path_factory.mktemp("data") / "coco", [drawn(0)] * COUNT)


@pytest.fixture
def predicted(tmp_path) -> Path:
    return write_panoptic(tmp_path / "predicted.json", [drawn(number) for number in range(COUNT)])


def evaluate(data: Path, predictions: Path, output: Path, *more: str) -> int:
    arguments = ["--data", data, "--predictions", predictions, "--output", output, *more]
    return main(["evaluate", "--dataset", "coco_panoptic", *map(str, arguments)])


def metrics(output: Path) -> dict:
    return json.loads((output / "metrics.json").read_text())


def iou(shift: int) -> float:
    """Of a quarter of 15 columns, of which two are void in one half, with itself moved."""
    truth, prediction = (drawn(s)[0] for s in (0, shift))
    common = ((truth == 3) & (prediction == 3)).sum()
    union = ((truth == 3) | ((prediction == 3) & (truth != 0))).sum()
    return common / union


def test_the_figures_are_on_screen_and_in_the_folder(data, predicted, tmp_path, capsys):
    assert evaluate(data, predicted, tmp_path / "out") == 0
    found = metrics(tmp_path / "out")
    assert found["pictures"] == COUNT
    grass = next(row for row in found["classes"] if row["class"] == "grass")
    assert grass["matched"] == COUNT
    assert grass["SQ"] == pytest.approx(np.mean([iou(shift) for shift in range(COUNT)]), rel=1e-12)
    assert found["things"]["N"] == 1  # the crowd of dogs is nobody
    assert found["stuff"]["N"] == 2
    assert found["PQ"] == pytest.approx((found["things"]["PQ"] + 2 * found["stuff"]["PQ"]) / 3)
    assert 0.5 < found["PQ"] < 1 and set(found["stuff"]) == {"PQ", "SQ", "RQ", "N"}
    printed = capsys.readouterr()
    assert f"PQ {100 * found['PQ']:.2f}  SQ {100 * found['SQ']:.2f}  RQ {100 * found['RQ']:.2f}" in printed.out
    things = next(line.split() for line in printed.out.splitlines() if line.startswith("things"))
    assert things[1] == f"{100 * found['things']['PQ']:.2f}"
    assert f"PQ {found['PQ']:.4f}" in printed.err
    with (tmp_path / "out" / "pictures.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["picture"] for row in rows] == [f"{100 + number:012}" for number in reversed(range(COUNT))]
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "metrics.json", "classes.csv", "pictures.csv", "worst"
    }  # fmt: skip
    assert len(list((tmp_path / "out" / "worst").iterdir())) == COUNT


def test_the_truth_scores_one(data, tmp_path):
    assert evaluate(data, data / "annotations" / "panoptic_val2017.json", tmp_path / "out") == 0
    found = metrics(tmp_path / "out")
    assert [found[key] for key in ("PQ", "SQ", "RQ")] == [1, 1, 1]
    assert found["things"]["PQ"] == found["stuff"]["PQ"] == 1


@pytest.mark.parametrize("place", ["beside", "folder and beside", "folder", "folder of both"])
def test_the_json_file_and_the_maps_are_found(data, predicted, tmp_path, place):
    maps, given = predicted.with_suffix(""), predicted
    if place == "folder and beside":
        given = maps
    elif place == "folder":
        given = predicted.parent
        (given / "data").mkdir()  # another folder there does no harm
    elif place == "folder of both":
        given = maps
        predicted.rename(maps / "any_name.json")
    assert evaluate(data, given, tmp_path / "out") == 0
    assert 0.5 < metrics(tmp_path / "out")["PQ"] < 1


def test_pictures_need_not_be_there(data, predicted, tmp_path):
    alone = tmp_path / "alone"
    (alone / "annotations").mkdir(parents=True)
    for file in (data / "annotations").iterdir():
        (alone / "annotations" / file.name).symlink_to(file)
    assert evaluate(alone, predicted, tmp_path / "out") == 0
    assert not (tmp_path / "out" / "worst").exists()
    assert evaluate(data, predicted, tmp_path / "whole") == 0
    names = ("classes.csv", "pictures.csv")
    assert all((tmp_path / "out" / n).read_text() == (tmp_path / "whole" / n).read_text() for n in names)


def test_the_drawn_world_is_scored_too(tmp_path, monkeypatch):
    monkeypatch.setitem(world._SCENES, "validation", 12)
    scenes = DrawnPanoptic("validation")
    rows = []
    (tmp_path / "p").mkdir()
    for index in range(len(scenes)):
        panoptic, name = scenes.panoptic(index % 3), f"{index}.png"
        Image.fromarray(encode(panoptic.ids)).save(tmp_path / "p" / name, compress_level=0)
        segments = [segment(found.id, found.label) for found in panoptic.segments]
        rows.append({"image_id": scenes.image_id(index), "file_name": name, "segments_info": segments})
    (tmp_path / "p.json").write_text(json.dumps({"annotations": rows}))
    options = ["--dataset", "shapes_panoptic", "--predictions", str(tmp_path / "p.json")]
    assert main(["evaluate", *options, "--output", str(tmp_path / "out")]) == 0
    found = metrics(tmp_path / "out")
    assert 0.1 < found["PQ"] < 0.6 and found["things"]["N"] == 6 and found["stuff"]["N"] == 3


# ------------------------------------------------------------------------------------------------------ what is wrong


def rewrite(file: Path, change) -> Path:
    content = json.loads(file.read_text())
    change(content["annotations"])
    file.write_text(json.dumps(content))
    return file


def lose_annotation(file: Path) -> Path:
    return rewrite(file, lambda rows: rows.pop(2))


def unknown_category(file: Path) -> Path:
    return rewrite(file, lambda rows: rows[1]["segments_info"][0].update(category_id=77))


def unnamed_segment(file: Path) -> Path:
    rewrite(file, lambda rows: rows[1]["segments_info"].pop())
    return file.with_suffix("") / f"{101:012}.png"


def unseen_segment(file: Path) -> Path:
    rewrite(file, lambda rows: rows[1]["segments_info"].append(segment(9, 3)))
    return file.with_suffix("") / f"{101:012}.png"


def lose_map(file: Path) -> Path:
    map_file = file.with_suffix("") / f"{103:012}.png"
    map_file.unlink()
    return map_file


def cut_map(file: Path) -> Path:
    map_file = file.with_suffix("") / f"{103:012}.png"
    map_file.write_bytes(map_file.read_bytes()[:40])
    return map_file


def shrink_map(file: Path) -> Path:
    map_file = file.with_suffix("") / f"{103:012}.png"
    Image.fromarray(encode(in_quarters((1, 2, 3, 4), (8, 8)))).save(map_file)
    return map_file


def cut_json(file: Path) -> Path:
    file.write_bytes(file.read_bytes()[:50])
    return file


@pytest.mark.parametrize(
    "damage",
    [lose_annotation, unknown_category, unnamed_segment, unseen_segment, lose_map, cut_map, shrink_map, cut_json],
)
def test_predictions_that_are_wrong_are_one_sentence_with_the_file(data, predicted, tmp_path, capsys, damage):
    file = damage(predicted)
    assert evaluate(data, predicted, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert error.splitlines()[-1].startswith("ms_seg evaluate: ") and str(file) in error.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_folder_without_predictions_is_named(data, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert evaluate(data, tmp_path / "empty", tmp_path / "out") == 2
    assert f"{tmp_path / 'empty'} holds no JSON file" in capsys.readouterr().err
    assert evaluate(data, tmp_path / "nowhere", tmp_path / "out") == 2
    assert f"there is no {tmp_path / 'nowhere'}" in capsys.readouterr().err


def test_a_model_without_segments_is_refused(data, tmp_path, capsys):
    options = ["--dataset", "shapes_panoptic", "--model", "segformer_tiny_shapes", "--output", str(tmp_path / "out")]
    assert main(["evaluate", *options]) == 2
    assert "segformer_tiny_shapes cannot be asked for panoptic segmentation" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------- instances, processes


def test_instances_are_scored_from_a_json_file(data, tmp_path, capsys):
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    outline = [[2, 2, 20, 2, 20, 15, 2, 15]]
    thing = {"id": 1, "image_id": 5, "category_id": 3, "bbox": [2, 2, 18, 13], "area": 234, "segmentation": outline}
    content = {"images": [{"id": 5, "file_name": "5.jpg", "height": 30, "width": 40}], "annotations": [thing]}
    content["categories"] = [{"id": 3, "name": "cat"}]
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    (tmp_path / "found.json").write_text(json.dumps([{**thing, "score": 0.9}]))
    options = ["--dataset", "coco_instance", "--data", str(root), "--predictions", str(tmp_path / "found.json")]
    assert main(["evaluate", *options, "--output", str(tmp_path / "out")]) == 0
    found = metrics(tmp_path / "out")
    assert found["box"]["AP"] == found["mask"]["AP"] == pytest.approx(1)
    assert found["mask"]["AP_large"] is None
    assert "box AP 100.00" in capsys.readouterr().out


def test_predictions_are_scored_without_mindspore(data, predicted, tmp_path):
    code = (
        "import sys; from ms_seg.__main__ import main; code = main(sys.argv[1:]); "
        "sys.exit(code or 'mindspore' in sys.modules)"
    )
    options = ["--dataset", "coco_panoptic", "--data", data, "--predictions", predicted, "--output", tmp_path / "out"]
    subprocess.run([sys.executable, "-c", code, "evaluate", *options], cwd=ROOT, check=True, capture_output=True)


def test_several_processes_count_what_one_does(data, predicted, tmp_path):
    assert evaluate(data, predicted, tmp_path / "one") == 0
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    here = Path(sys.executable).parent  # msrun takes whatever python comes first
    options = ["--dataset", "coco_panoptic", "--data", data, "--predictions", predicted, "--output", tmp_path / "out"]
    launcher = [here / "msrun", "--worker_num=2", "--local_worker_num=2", f"--master_port={port}"]
    launcher += [f"--log_dir={tmp_path / 'log'}", "--join=True", ROOT / "tests" / "commands" / "toy_evaluation.py", 0]
    environment = {**os.environ, "PATH": f"{here}{os.pathsep}{os.environ['PATH']}"}
    command = [str(part) for part in [*launcher, "evaluate", *options]]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
    for name in ("metrics.json", "classes.csv", "pictures.csv"):
        assert (tmp_path / "out" / name).read_text() == (tmp_path / "one" / name).read_text()

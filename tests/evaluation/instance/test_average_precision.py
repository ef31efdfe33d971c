"""Box and mask AP: what COCOeval says of the same files when it is called as its own demo does."""

import contextlib
import copy
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ms_seg.data.coco.instance import open_coco_instance
from ms_seg.distributed import World
from ms_seg.evaluation.evaluator import evaluate
from ms_seg.evaluation.instance.average_precision import average_precision
from ms_seg.evaluation.instance.predictions import SavedDetections
from ms_seg.evaluation.instance.results import instance_results
from ms_seg.evaluation.instance.tally import InstanceTally
from ms_seg.evaluation.predictions import CachedPredictions
from ms_seg.evaluation.report import write_report

SIZE = (120, 150)
CATEGORIES = [{"id": 9, "name": "cat"}, {"id": 4, "name": "dog"}, {"id": 30, "name": "never"}]


def box_of(rng: np.random.Generator) -> list[float]:
    x, y = rng.uniform(0, 100, 2)
    return [x, y, *np.minimum(rng.uniform(8, 110, 2), [SIZE[1] - x, SIZE[0] - y])]


def polygon(box: list[float]) -> list[list[float]]:
    x, y, width, height = box
    return [[x, y, x + width, y, x + width, y + height, x + width / 2, y + height / 2]]


def write(root: Path, pictures: int = 6) -> tuple[Path, Path]:
    """The dataset and results: moved, relabelled and invented things, scores with ties, a crowd in every picture."""
    rng = np.random.default_rng(1)
    images, truth, results = [], [], []
    for number in range(50, 50 - pictures, -1):  # not in the order of their numbers
        images.append({"id": number, "file_name": f"{number}.jpg", "height": SIZE[0], "width": SIZE[1]})
        for place in range(5):
            box, category = box_of(rng), int(rng.choice([9, 4]))
            row = {"id": len(truth) + 1, "image_id": number, "category_id": category, "bbox": box, "iscrowd": 0}
            row |= {"segmentation": polygon(box), "area": box[2] * box[3] * 0.75}
            if place == 0:
                blob = np.zeros(SIZE, np.uint8)
                blob[20:90, 30:100] = 1
                runs = np.diff(np.flatnonzero(np.diff(blob.ravel(order="F"), prepend=0, append=0)), prepend=0)
                counts = [*runs.tolist(), int(blob.size - runs.sum())]
                row |= {"iscrowd": 1, "segmentation": {"size": list(SIZE), "counts": counts}, "area": 4900}
            truth.append(row)
            for _ in range(2):
                moved = (np.array(box) + rng.normal(0, 3, 4)).clip(1, 115).tolist()
                packed = coco_mask.merge(coco_mask.frPyObjects(polygon(moved), *SIZE))
                results.append(
                    {
                        "image_id": number,
                        "category_id": category if rng.random() < 0.8 else 30,
                        "score": round(float(rng.random()), 1),
                        "bbox": moved,
                        "segmentation": {"size": list(SIZE), "counts": packed["counts"].decode()},
                    }
                )
    file = root / "annotations" / "instances_val2017.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"images": images, "annotations": truth, "categories": CATEGORIES}))
    found = root / "results.json"
    found.write_text(json.dumps(results))
    return file, found


def by_cocoeval(file: Path, results: Path, kind: str) -> tuple[list[float], dict[int, float]]:
    """The first six figures, and AP by category."""
    rows = json.loads(results.read_text())
    if kind == "segm":
        rows = [{key: value for key, value in row.items() if key != "bbox"} for row in rows]  # else sizes are boxes'
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(file))
        evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(rows)), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        per_class = {}
        for number in (9, 4):
            alone = COCOeval(truth, truth.loadRes(copy.deepcopy(rows)), kind)
            alone.params.catIds = [number]
            alone.evaluate()
            alone.accumulate()
            alone.summarize()
            per_class[number] = alone.stats[0]
    return evaluation.stats[:6].tolist(), per_class


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("coco")
    return root, *write(root)


def scored(files, world=World(0, 1, [])):  # noqa: B008
    root, _, results = files
    dataset = open_coco_instance(root, "validation", with_pictures=False)
    predictions = SavedDetections(results, dataset)
    tally = evaluate(dataset, CachedPredictions(predictions), InstanceTally.of(dataset), world)
    return tally, dataset, instance_results(tally, dataset, predictions)


@pytest.mark.parametrize(("ours", "theirs"), [("box", "bbox"), ("mask", "segm")])
def test_figures_are_cocoevals(files, ours, theirs):
    tally, dataset, _ = scored(files)
    precision = average_precision(dataset, tally.detections(), ours)
    expected, per_class = by_cocoeval(files[1], files[2], theirs)
    assert [-1 if np.isnan(figure) else figure for figure in precision.figures.values()] == expected
    assert list(precision.figures) == ["AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"]
    assert precision.per_class[:2].tolist() == [per_class[9], per_class[4]]
    assert np.isnan(precision.per_class[2])  # found, and never true
    assert 0.05 < precision.figures["AP"] < precision.figures["AP50"] < 1


def test_the_report_has_boxes_and_masks(files, tmp_path):
    _, dataset, results = scored(files)
    write_report(tmp_path, results, dataset, {"dataset": "coco_instance"})
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["box"]["AP"] == by_cocoeval(files[1], files[2], "bbox")[0][0]
    assert metrics["mask"]["AP50"] == by_cocoeval(files[1], files[2], "segm")[0][1]
    assert metrics["classes"][2] == {"index": 2, "class": "never", "box_AP": None, "mask_AP": None, "things": 0}
    assert f"mask AP {100 * metrics['mask']['AP']:.2f}" in results.table
    assert {file.name for file in tmp_path.iterdir()} == {"metrics.json", "classes.csv"}


def test_boxes_without_masks_have_an_ap_of_boxes(files, tmp_path):
    root, _, results = files
    rows = [{key: row[key] for key in row if key != "segmentation"} for row in json.loads(results.read_text())]
    alone = tmp_path / "boxes.json"
    alone.write_text(json.dumps(rows))
    figures = scored((root, None, alone))[2].figures
    assert figures["box"]["AP"] > 0 and "mask" not in figures


def test_a_mask_without_a_box_has_the_box_around_it(files, tmp_path):
    root, _, results = files
    row = {key: value for key, value in json.loads(results.read_text())[0].items() if key != "bbox"}
    (tmp_path / "r.json").write_text(json.dumps([row]))
    dataset = open_coco_instance(root, "validation", with_pictures=False)
    (detection,) = SavedDetections(tmp_path / "r.json", dataset)[0]
    rows, columns = np.nonzero(coco_mask.decode({**row["segmentation"], "counts": row["segmentation"]["counts"]}))
    assert detection.box == (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)


def test_nothing_found_scores_nothing(files, tmp_path):
    root, *_ = files
    (tmp_path / "r.json").write_text("[]")
    assert scored((root, None, tmp_path / "r.json"))[2].figures["mask"]["AP"] == 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"image_id": 3}, "names picture 3, which is not in the dataset"),
        ({"category_id": 5}, "is of the unknown category 5"),
        ({"score": "high"}, 'has no "score" that is a number'),
        ({"score": float("nan")}, "not finite"),
        ({"segmentation": {"size": [3, 4], "counts": "0"}}, r"run lengths of \[3, 4\] do not fit"),
        ({"segmentation": {"size": list(SIZE), "counts": "0"}}, "do not fill a mask"),
        ({"segmentation": [[1, 2]]}, "no polygon of at least three corners"),
        ({"segmentation": [[0, 0, 1e9, 0, 5, 5]]}, "no place in a picture"),
        ({"segmentation": None, "bbox": [1, 2, 3]}, "has no box"),
    ],
)
def test_results_that_are_wrong_are_named(files, tmp_path, change, sentence):
    root, _, results = files
    row = {**json.loads(results.read_text())[0], **change}
    path = tmp_path / "results.json"
    path.write_text(json.dumps([row]))
    dataset = open_coco_instance(root, "validation", with_pictures=False)
    with pytest.raises(ValueError, match=sentence) as error:
        predictions = SavedDetections(path, dataset)
        [predictions[index] for index in range(len(dataset))]
    assert str(error.value).startswith(str(path))

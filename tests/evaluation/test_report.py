"""What an evaluation leaves behind."""

import csv
import json
import warnings

import numpy as np
import pytest
from PIL import Image

from ms_seg.distributed import World
from ms_seg.evaluation.evaluator import evaluate
from ms_seg.evaluation.predictions import CachedPredictions
from ms_seg.evaluation.report import write_report
from ms_seg.evaluation.semantic.confusion import ConfusionMatrix
from ms_seg.evaluation.semantic.figure import draw_confusion
from ms_seg.evaluation.semantic.results import semantic_results, table
from ms_seg.evaluation.semantic.tally import SemanticTally
from ms_seg.label_sets import read_labels
from tests.evaluation.stand_in import Guesses, InMemory


@pytest.fixture
def dataset():
    dataset = InMemory(9)
    dataset.truths[dataset.truths == 2] = 255  # a class that never is the truth
    dataset.truths[4] = 255
    return dataset


@pytest.fixture
def tally(dataset):
    return counted(dataset)


@pytest.fixture
def report(dataset, tally, tmp_path):
    write_report(tmp_path / "out", results(dataset, tally), dataset, {"dataset": "in memory"})
    return tmp_path / "out"


def counted(dataset):
    return evaluate(dataset, CachedPredictions(Guesses(dataset)), SemanticTally.of(dataset), World(0, 1, []))


def results(dataset, tally):
    return semantic_results(tally, dataset, Guesses(dataset))


def rows(file):
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_metrics_are_fractions_and_an_absent_class_has_none(report, tally):
    metrics = json.loads((report / "metrics.json").read_text())
    assert metrics["dataset"] == "in memory"
    assert metrics["pictures"] == 9
    assert [metrics[key] for key in ("aAcc", "mIoU", "mAcc")] == [
        tally.matrix.aacc,
        tally.matrix.miou,
        tally.matrix.macc,
    ]
    assert 0 < metrics["mIoU"] < 1
    assert [row["class"] for row in metrics["classes"]] == [f"class {i}" for i in range(4)]
    assert metrics["classes"][2]["Acc"] is None  # predicted, and never true
    assert metrics["classes"][2]["IoU"] == 0
    assert metrics["classes"][0]["pixels"] == tally.matrix.counts[0].sum()


def test_nothing_to_count_is_null(dataset, tmp_path):
    dataset.truths[:] = 255
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_report(tmp_path, results(dataset, counted(dataset)), dataset, {})
    assert json.loads((tmp_path / "metrics.json").read_text())["mIoU"] is None


def test_the_csv_files_hold_the_same(report, tally):
    classes = rows(report / "classes.csv")
    assert [row["IoU"] for row in classes] == [str(iou) for iou in tally.matrix.per_class_iou]
    assert classes[2]["Acc"] == ""
    pictures = rows(report / "pictures.csv")
    assert len(pictures) == 8  # one had nothing to count
    ious = [float(row["mIoU"]) for row in pictures]
    assert ious == sorted(ious)


def test_the_worst_pictures_stand_beside_their_truth(report):
    worst = sorted(path.name for path in (report / "worst").iterdir())
    named = [f"{place:02}_{row['picture']}.png" for place, row in enumerate(rows(report / "pictures.csv")[:6], start=1)]
    assert worst == named
    width, height = Image.open(report / "worst" / worst[0]).size
    assert width >= 3 * 320
    assert height > 240


def test_a_report_replaces_the_worst_pictures_of_the_one_before(report, dataset, tally):
    old = report / "worst" / "03_of_another_dataset.png"
    old.write_bytes(b"")
    write_report(report, results(dataset, tally), dataset, {})
    assert not old.exists()


def test_the_table_is_in_per_cent():
    matrix = ConfusionMatrix(3)
    matrix.update(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]))
    lines = table(matrix, ("wall", "windowpane", "sky")).splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["class", "IoU", "Acc"], ["wall", "50.00", "100.00"], ["windowpane", "66.67", "66.67"], ["sky", "-", "-"]
    ]  # fmt: skip
    assert lines[-1] == "aAcc 75.00  mIoU 58.33  mAcc 83.33"


@pytest.mark.parametrize("classes", [150, 9])
def test_every_class_of_the_confusion_matrix_has_room_for_its_name(classes):
    matrix = ConfusionMatrix(classes)
    matrix.counts[:, :-1] = np.eye(classes) * 9 + 1
    image = draw_confusion(matrix, read_labels("ade20k").names[:classes])
    assert min(image.size) > classes * 15  # pixels; the letters are ten high
    assert np.array(image.convert("L")).min() < 60


def test_classes_that_never_occur_take_no_room():
    few, all_of_them = ConfusionMatrix(150), ConfusionMatrix(150)
    few.counts[:40, :40] = 1
    all_of_them.counts[:, :] = 1
    names = read_labels("ade20k").names
    assert draw_confusion(few, names).height < draw_confusion(all_of_them, names).height / 2

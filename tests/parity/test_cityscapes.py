"""Cityscapes' figures, by its own scripts and by ours, from the same drawn pictures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import wheels
from PIL import Image

from ms_seg.data.coco.codecs import box_of, decode_mask, encode_mask
from ms_seg.data.datasets import open_dataset, open_for_task
from ms_seg.data.panoptic import to_ids
from ms_seg.distributed import World
from ms_seg.evaluation.evaluator import evaluate
from ms_seg.evaluation.instance.predictions import SavedDetections
from ms_seg.evaluation.predictions import CachedPredictions
from ms_seg.evaluation.tasks import TASKS
from ms_seg.label_sets import read_labels
from tests.data.published import write_cityscapes, write_cityscapes_panoptic

SIZE, COUNT = (160, 240), 6
LABELS = read_labels("cityscapes")
PERSON, RIDER = 11, 12


@pytest.fixture(scope="module")
def original():
    """cityscapesscripts, without what it draws boxes in space and downloads with."""
    wheels.leave_out("pyquaternion", "coloredlogs")
    sys.path.insert(0, str(wheels.unpacked("cityscapesscripts", "2.3.0")))
    from cityscapesscripts.evaluation import (
        evalInstanceLevelSemanticLabeling,
        evalPanopticSemanticLabeling,
        evalPixelLevelSemanticLabeling,
    )

    yield evalPixelLevelSemanticLabeling, evalInstanceLevelSemanticLabeling, evalPanopticSemanticLabeling
    sys.path.pop(0)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_cityscapes_panoptic(write_cityscapes(tmp_path_factory.mktemp("cityscapes"), count=COUNT, size=SIZE))


def results(task: str, dataset, predictions):
    row = TASKS[task]
    cached = CachedPredictions(predictions)
    return row.results(evaluate(dataset, cached, row.tally(dataset), World(0, 1, [])), dataset, cached)


def truth_files(root: Path, kind: str) -> list[str]:
    files = sorted((root / "gtFine/val").glob(f"*/*_{kind}.png"), key=lambda file: file.name)
    return [str(file) for file in files]


def noisy(label_map: np.ndarray, seed: int) -> np.ndarray:
    """Moved, and of another class here and there."""
    rng = np.random.default_rng(seed)
    moved = np.roll(label_map, (2, -3), (0, 1)).copy()
    moved[rng.random(moved.shape) < 0.1] = rng.integers(0, 19)
    moved[(moved == RIDER) & (rng.random(moved.shape) < 0.5)] = PERSON  # of the same category
    return moved


def test_iou_and_niou_of_classes_are_the_scripts(original, root, tmp_path, monkeypatch):
    pixels = original[0]
    dataset = open_dataset("cityscapes", root, "validation")
    theirs, ours = [], tmp_path / "ours"
    for index in range(COUNT):
        labels = noisy(np.where(dataset.label_map(index) == 255, 4, dataset.label_map(index)), index)
        for folder, values in (("ours", labels), ("theirs", np.array(LABELS.ids)[labels])):
            file = tmp_path / folder / f"{dataset.name(index)}.png"
            file.parent.mkdir(exist_ok=True)
            Image.fromarray(values.astype(np.uint8)).save(file)
        theirs.append(str(file))
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)
    pixels.args.JSONOutput, pixels.args.quiet = False, True
    said = pixels.evaluateImgLists(theirs, truth_files(root, "labelIds"), pixels.args)
    found = results("semantic", dataset, TASKS["semantic"].from_files(ours, dataset, 19))
    # The script adds up in another order than mmsegmentation, whose mean ours is.
    assert found.figures["mIoU"] == pytest.approx(said["averageScoreClasses"], rel=1e-15)
    assert found.figures["mIoU of categories"] == pytest.approx(said["averageScoreCategories"], rel=1e-15)
    shown = [row for row in found.classes if row["IoU"] is not None]
    assert [row["IoU"] for row in shown] == [said["classScores"][row["class"]] for row in shown] and len(shown) > 4
    assert found.figures["nIoU"] == pytest.approx(said["averageScoreInstClasses"], rel=1e-12)
    assert found.figures["nIoU of categories"] == pytest.approx(said["averageScoreInstCategories"], rel=1e-12)
    for row in found.classes:
        theirs = said["classInstScores"][row["class"]]
        assert (row["nIoU"] is None) == bool(np.isnan(theirs))
        assert row["nIoU"] is None or row["nIoU"] == pytest.approx(theirs, rel=1e-12)
    assert 0.05 < found.figures["nIoU"] < found.figures["nIoU of categories"] < 0.9


def detections(dataset, index: int) -> list[dict]:
    """Things nearly where they are, twice, in void, in a group, tiny, of the wrong class, and equally certain."""
    rng, rows = np.random.default_rng(index), []
    ids = dataset.ids(index)
    for number in np.unique(ids).tolist():
        mask, numbers = ids == number, dataset.label_set.numbers
        thing = dataset.thing_of(number)
        label = thing[0] if thing else int(rng.integers(0, 8))
        for shift in (1, 2, 5) if thing else (0,):
            moved = np.roll(mask, (shift, -shift // 2), (0, 1))
            if moved.any():
                score = round(float(rng.random()), 1)  # so that some are equal
                wrong = rng.random() < 0.2
                rows.append((numbers[(label + wrong) % 8], score, moved))
    return [
        {
            "image_id": dataset.image_id(index), "category_id": category, "score": score,
            "bbox": list(map(float, box_of(mask))), "segmentation": encode_mask(mask),
        }
        for category, score, mask in rows
    ]  # fmt: skip


def test_average_precision_is_the_scripts(original, root, tmp_path, monkeypatch):
    instances = original[1]
    dataset = open_for_task("cityscapes_instance", root, "validation")
    rows, lists = [], []
    for index in range(COUNT):
        lines = []
        for place, row in enumerate(detections(dataset, index)):
            rows.append(row)
            file = tmp_path / f"{dataset.name(index)}_{place}.png"
            Image.fromarray(decode_mask(row["segmentation"])).save(file)
            lines.append(f"{file.name} {row['category_id']} {row['score']}\n")
        lists.append(tmp_path / f"{dataset.name(index)}.txt")
        lists[-1].write_text("".join(lines))
    (tmp_path / "instances.json").write_text(json.dumps(rows))
    monkeypatch.chdir(tmp_path)  # where it leaves a file of its own
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)
    args = instances.args
    args.quiet, args.JSONOutput, args.predictionPath = True, False, str(tmp_path)
    args.gtInstancesFile = str(tmp_path / "gtInstances.json")
    said = instances.evaluateImgLists(list(map(str, lists)), truth_files(root, "instanceIds"), args)["averages"]
    found = results("instance", dataset, SavedDetections(tmp_path / "instances.json", dataset))
    assert found.figures["mask"]["AP"] == pytest.approx(said["allAp"], rel=1e-12)
    assert found.figures["mask"]["AP50"] == pytest.approx(said["allAp50%"], rel=1e-12)
    assert 0.1 < said["allAp"] < 0.9
    for row in found.classes:
        theirs = said["classes"][row["class"]]["ap"]
        assert (row["mask_AP"] is None) == bool(np.isnan(theirs))
        assert row["mask_AP"] is None or row["mask_AP"] == pytest.approx(theirs, rel=1e-12)


def test_panoptic_quality_is_the_scripts(original, root, tmp_path):
    panoptic = original[2]
    file = root / "gtFine/cityscapes_panoptic_val.json"
    content = json.loads(file.read_text())
    dataset = open_for_task("cityscapes_panoptic", root, "validation")
    annotations = []
    (tmp_path / "panoptic").mkdir()
    for row in content["annotations"]:
        colours = np.array(Image.open(file.with_suffix("") / row["file_name"]))
        moved = np.roll(colours, (3, -4), (0, 1))
        Image.fromarray(moved).save(tmp_path / "panoptic" / row["file_name"])
        there = set(np.unique(to_ids(moved)).tolist())
        segments = [{**s, "iscrowd": 0} for s in row["segments_info"] if s["id"] in there]
        segments[0]["category_id"] = 11  # of another class than the truth's
        annotations.append({**row, "segments_info": segments})
    (tmp_path / "panoptic.json").write_text(json.dumps({"annotations": annotations}))
    categories = {row["id"]: row for row in content["categories"]}
    pairs = list(zip(content["annotations"], json.loads((tmp_path / "panoptic.json").read_text())["annotations"],
                     strict=True))  # fmt: skip
    said = panoptic.pq_compute_single_core(0, pairs, str(file.with_suffix("")), str(tmp_path / "panoptic"), categories)
    found = results("panoptic", dataset, TASKS["panoptic"].from_files(tmp_path, dataset, 19)).figures
    for things, figures in ((None, found), (True, found["things"]), (False, found["stuff"])):
        theirs, _ = said.pq_average(categories, things)
        assert [figures[key] for key in ("PQ", "SQ", "RQ", "N")] == [
            pytest.approx(theirs[key], rel=1e-12) for key in ("pq", "sq", "rq", "n")
        ]
    assert 0.1 < found["PQ"] < 0.95

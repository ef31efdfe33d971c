"""PQ, SQ and RQ against panopticapi's own, to the last bit: void, crowds, segments that just match or just do not."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import wheels
from PIL import Image

from ms_seg.data.coco.panoptic import open_coco_panoptic
from ms_seg.evaluation.panoptic.predictions import SavedPanopticMaps
from ms_seg.evaluation.panoptic.quality import PanopticQuality
from tests.data.panoptic_files import CATEGORIES, encode, write_panoptic

PANOPTICAPI = ("panopticapi-lite", "0.2.0")  # panopticapi itself is not on PyPI; but for white space this is its code


@pytest.fixture(scope="module")
def original() -> ModuleType:
    folder = wheels.unpacked(*PANOPTICAPI)
    sys.path.insert(0, str(folder))
    try:
        import panopticapi.evaluation
    finally:
        sys.path.remove(str(folder))
    return panopticapi.evaluation


def theirs(original: ModuleType, truth: Path, predicted: Path) -> tuple[dict, dict, dict]:
    """panopticapi's figures, counted by one process: of all, things and stuff; and of each category."""
    true, guessed = json.loads(truth.read_text()), json.loads(predicted.read_text())
    of_picture = {annotation["image_id"]: annotation for annotation in guessed["annotations"]}
    pairs = [(annotation, of_picture[annotation["image_id"]]) for annotation in true["annotations"]]
    categories = {category["id"]: category for category in true["categories"]}
    with contextlib.redirect_stdout(io.StringIO()):
        counts = original.pq_compute_single_core(0, pairs, truth.with_suffix(""), predicted.with_suffix(""), categories)
    averages = [counts.pq_average(categories, isthing=kind)[0] for kind in (None, True, False)]
    per_class = counts.pq_average(categories, isthing=None)[1]
    return averages, per_class, counts.pq_per_cat


def drawn(seed: int, pictures: int = 12) -> tuple[list, list]:
    """Truths and predictions: (ids, segments) of overlapping boxes; predictions are moved, relabelled or invented."""
    rng = np.random.default_rng(seed)
    truths, predictions = [], []
    for _ in range(pictures):
        height, width = rng.integers(30, 90, 2)
        numbers = rng.choice(np.arange(1, 1 << 24), 40, replace=False).tolist()
        true, guessed = np.zeros((2, height, width), np.int64)
        of_truth, of_guess = {}, {}
        for _ in range(rng.integers(1, 14)):
            side = rng.integers(3, 40, 2)
            corner = rng.integers(0, [height, width])
            category = int(rng.choice([category["id"] for category in CATEGORIES]))
            number = numbers.pop()
            true[corner[0] : corner[0] + side[0], corner[1] : corner[1] + side[1]] = number
            of_truth[number] = {"id": number, "category_id": category, "iscrowd": int(rng.random() < 0.25)}
            if rng.random() < 0.85:
                moved = corner + rng.integers(-4, 5, 2) * (rng.random() < 0.8)
                moved = np.maximum(moved, 0)
                number = numbers.pop()
                if rng.random() < 0.15:
                    category = int(rng.choice([category["id"] for category in CATEGORIES]))
                guessed[moved[0] : moved[0] + side[0], moved[1] : moved[1] + side[1]] = number
                of_guess[number] = {"id": number, "category_id": category}
        for ids, segments, made in ((true, of_truth, truths), (guessed, of_guess, predictions)):
            present, areas = np.unique(ids[ids > 0], return_counts=True)
            rows = [{**segments[i], "area": a} for i, a in zip(present.tolist(), areas.tolist(), strict=True)]
            rng.shuffle(rows)  # the order of the file is not that of the ids
            made.append((ids, rows))
    return truths, predictions


@pytest.mark.parametrize("seed", range(4))
def test_figures_equal_panopticapis_to_the_last_bit(original, tmp_path, seed):
    truths, predictions = drawn(seed)
    truth = write_panoptic(tmp_path / "data" / "annotations" / "panoptic_val2017.json", truths)
    predicted = write_panoptic(tmp_path / "predictions.json", predictions)
    dataset = open_coco_panoptic(tmp_path / "data", "validation", with_pictures=False)
    guesses = SavedPanopticMaps(predicted, dataset)
    quality = PanopticQuality(dataset.label_set)
    for index in range(len(dataset)):
        quality.update(guesses[index], dataset.panoptic(index))
    averages, per_class, counts = theirs(original, truth, predicted)
    for things, expected in zip((None, True, False), averages, strict=True):
        ours = quality.average(things)
        assert (ours.pq, ours.sq, ours.rq, ours.classes) == tuple(expected[key] for key in ("pq", "sq", "rq", "n"))
    for index, number in enumerate(dataset.label_set.ids):
        assert np.nan_to_num(quality.per_class[index]).tolist() == [per_class[number][k] for k in ("pq", "sq", "rq")]
        found = (quality.matched[index], quality.missed[index], quality.false_alarms[index], quality.ious[index])
        assert found == tuple(getattr(counts[number], key) for key in ("tp", "fn", "fp", "iou"))
    assert quality.matched.sum() > 10 < quality.missed.sum() and quality.false_alarms.sum() > 5


def test_a_png_is_read_as_panopticapi_reads_it(original, tmp_path):
    ids = np.random.default_rng(0).integers(0, 1 << 24, (20, 30))
    Image.fromarray(encode(ids)).save(tmp_path / "ids.png")
    from ms_seg.data.panoptic import read_ids, to_colours

    assert np.array_equal(read_ids(tmp_path / "ids.png"), original.rgb2id(np.array(Image.open(tmp_path / "ids.png"))))
    assert np.array_equal(to_colours(ids), encode(ids))

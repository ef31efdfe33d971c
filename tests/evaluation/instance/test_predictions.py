"""A model's instances: what is scored, and what is written to be scored again."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from ms_seg.answers import InstanceAnswer
from ms_seg.data.coco.instance import open_coco_instance, run_lengths
from ms_seg.distributed import World
from ms_seg.evaluation.evaluator import evaluate
from ms_seg.evaluation.instance.predictions import ModelDetections, SavedDetections
from ms_seg.evaluation.instance.tally import InstanceTally
from ms_seg.evaluation.predictions import CachedPredictions
from ms_seg.label_sets import LabelSet
from ms_seg.postprocessing.instance import Instances
from tests.evaluation.stand_in import OneByOne

LABELS = LabelSet(("dog", "cat", "owl"), np.zeros((3, 3), np.uint8), (True, True, True))


@pytest.fixture
def instances(tmp_path):
    """Two pictures: two cats that overlap, and none."""
    outlines = [[[2, 2, 22, 2, 22, 12, 2, 12]], [[10, 2, 30, 2, 30, 12, 10, 12]]]
    things = [
        {"id": i, "image_id": 5, "category_id": 3, "bbox": [x, 2, 20, 10], "area": 200, "segmentation": outline}
        for i, (x, outline) in enumerate(zip((2, 10), outlines, strict=True), start=1)
    ]
    images = [{"id": number, "file_name": f"{number}.png", "height": 16, "width": 33} for number in (5, 6)]
    content = {"images": images, "annotations": things, "categories": [{"id": 3, "name": "cat"}]}
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    (tmp_path / "val2017").mkdir()
    for number in (5, 6):
        Image.new("RGB", (33, 16), (number, 0, 0)).save(tmp_path / "val2017" / f"{number}.png")
    return open_coco_instance(tmp_path, "validation")


def test_a_models_instances_are_scored_and_written(instances, tmp_path):
    outlines = [thing.segmentation for thing in instances.things(0)]
    masks = np.stack([coco_mask.decode(run_lengths(outline, (16, 33))) for outline in outlines]).astype(bool)

    def segment(picture):
        found = masks if picture[0, 0, 0] == 5 else masks[:0]
        count = len(found) + 1  # and something of a class that the dataset has not
        bits = np.packbits(np.concatenate((found, masks[:1])), axis=2)
        sizes = np.unpackbits(bits, axis=2).sum(axis=(1, 2))
        answer = Instances(
            np.array([1] * len(found) + [2]),
            np.linspace(0.9, 0.123456789, count),
            sizes,
            (16, 33),
            bits,
            np.arange(count),
        )
        return InstanceAnswer(picture, LABELS, "knowing", instances=answer)

    made = ModelDetections(OneByOne(segment), instances, tmp_path / "saved")
    tally = evaluate(instances, CachedPredictions(made), InstanceTally.of(instances), World(0, 1, []))
    (first, second), nothing = tally.detections()
    assert nothing == [] and first.label == second.label == 0
    assert first.box == (2, 2, 20, 10) and 0.5 < second.score < 0.9
    made.finish(tally)
    again = SavedDetections(tmp_path / "saved", instances)
    assert [again[index] for index in range(2)] == tally.detections()

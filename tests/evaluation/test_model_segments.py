"""A model's segments as predictions: what is scored, and what is written to be scored again."""

import json

import numpy as np
import pytest
from PIL import Image

from ms_seg.answers.segments import InstanceAnswer, PanopticAnswer
from ms_seg.data.coco.instance import open_coco_instance
from ms_seg.data.drawn.world import DrawnPanoptic
from ms_seg.distributed import World
from ms_seg.evaluation.evaluator import evaluate
from ms_seg.evaluation.instance.predictions import ModelDetections, SavedDetections
from ms_seg.evaluation.instance.tally import DetectionTally
from ms_seg.evaluation.panoptic.predictions import PanopticModelPredictions, SavedPanoptic
from ms_seg.evaluation.panoptic.tally import PanopticTally
from ms_seg.evaluation.semantic.predictions import Remembered
from ms_seg.postprocessing.instance import Instances
from ms_seg.postprocessing.panoptic import Panoptic, Segment

ALONE = World(0, 1, [])


@pytest.fixture(scope="module")
def world():
    return DrawnPanoptic("validation", size=(48, 64), most=4)


class Knowing:
    """Answers a picture of the world with its truth, but for the last segment, which it takes for nothing."""

    def __init__(self, world):
        self.world = world
        self.index = {world.picture(index).tobytes(): index for index in range(len(world))}

    def __call__(self, picture):
        truth = self.world.panoptic(self.index[picture.tobytes()])
        ids = np.where(truth.ids == len(truth.segments), 0, truth.ids)
        segments = tuple(Segment(segment.label, 0.9, segment.id) for segment in truth.segments[:-1])
        return PanopticAnswer(picture, self.world.label_set, "knowing", panoptic=Panoptic(ids, segments))


def scored(dataset, predictions):
    return evaluate(dataset, Remembered(predictions), ALONE, tally=PanopticTally(len(dataset), dataset.label_set))


def test_a_models_segments_are_scored(world):
    quality = scored(world, PanopticModelPredictions(Knowing(world), world)).quality
    truths = [world.panoptic(index) for index in range(len(world))]
    assert quality.matched.sum() == sum(len(truth.segments) - 1 for truth in truths)
    assert quality.missed.sum() == len(world)
    assert quality.false_alarms.sum() == 0
    assert quality.over().sq == quality.per_class[quality.matched > 0, 1].sum() / quality.over().classes


def test_written_predictions_score_the_same(world, tmp_path):
    made = PanopticModelPredictions(Knowing(world), world, tmp_path / "saved")
    first = scored(world, made)
    made.finish(first)
    again = scored(world, SavedPanoptic(tmp_path / "saved", world))
    assert np.array_equal(first.quality.per_class, again.quality.per_class, equal_nan=True)
    content = json.loads((tmp_path / "saved" / "panoptic.json").read_text())
    assert [row["image_id"] for row in content["annotations"]] == [1_000_000, 1_000_001, 1_000_002, 1_000_003]
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == ["panoptic", "panoptic.json"]


def test_a_model_that_fails_names_the_picture(world):
    def fail(_picture):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="scene_1000002: out of memory"):
        PanopticModelPredictions(fail, world).panoptic(2)


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


def test_a_models_instances_are_scored_and_written(instances, world, tmp_path):
    labels = world.label_set
    names = (labels.names[0], "cat", *labels.names[2:])
    label_set = type(labels)(names, labels.palette, labels.things)
    masks = instances.masks(0)[1]

    def segment(picture):
        found = masks if picture[0, 0, 0] == 5 else masks[:0]
        count = len(found) + 1  # and something of a class that the dataset has not
        bits = np.packbits(np.concatenate((found, masks[:1])), axis=2)
        sizes = np.unpackbits(bits, axis=2).sum(axis=(1, 2))
        answer = Instances(
            np.array([1] * len(found) + [4]),
            np.linspace(0.9, 0.123456789, count),
            sizes,
            (16, 33),
            bits,
            np.arange(count),
        )
        return InstanceAnswer(picture, label_set, "knowing", instances=answer)

    made = ModelDetections(segment, instances, tmp_path / "saved")
    tally = evaluate(instances, Remembered(made), ALONE, tally=DetectionTally(2))
    (first, second), nothing = tally.found()
    assert nothing == [] and first.label == second.label == 0
    assert first.box == (2, 2, 20, 10) and 0.5 < second.score < 0.9
    made.finish(tally)
    again = SavedDetections(tmp_path / "saved", instances)
    assert [again.detections(index) for index in range(2)] == tally.found()

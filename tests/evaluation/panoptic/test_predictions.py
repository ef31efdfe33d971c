"""A model's panoptic maps: what is scored, and what is written to be scored again."""

import json

import numpy as np
import pytest

from ms_seg.answers import PanopticAnswer
from ms_seg.data.drawn.world import DrawnPanoptic
from ms_seg.distributed import World
from ms_seg.evaluation.evaluator import evaluate
from ms_seg.evaluation.panoptic.predictions import ModelPanopticMaps, SavedPanopticMaps
from ms_seg.evaluation.panoptic.tally import PanopticTally
from ms_seg.evaluation.predictions import CachedPredictions
from ms_seg.postprocessing.panoptic import Panoptic, PanopticSegment
from tests.evaluation.stand_in import OneByOne


@pytest.fixture(scope="module")
def world():
    return DrawnPanoptic("validation", size=(48, 64), max_pictures=4)


class Knowing:
    """Answers a picture of the world with its truth, but for the last segment, which it takes for nothing."""

    def __init__(self, world):
        self.world = world
        self.index = {world.picture(index).tobytes(): index for index in range(len(world))}

    def __call__(self, picture):
        truth = self.world.panoptic(self.index[picture.tobytes()])
        ids = np.where(truth.ids == len(truth.segments), 0, truth.ids)
        segments = tuple(PanopticSegment(segment.label, 0.9, segment.id) for segment in truth.segments[:-1])
        return PanopticAnswer(picture, self.world.label_set, "knowing", panoptic=Panoptic(ids, segments))


def scored(dataset, predictions):
    return evaluate(dataset, CachedPredictions(predictions), PanopticTally.of(dataset), World(0, 1, []))


def test_a_models_segments_are_scored(world):
    quality = scored(world, ModelPanopticMaps(OneByOne(Knowing(world)), world)).quality
    truths = [world.panoptic(index) for index in range(len(world))]
    assert quality.matched.sum() == sum(len(truth.segments) - 1 for truth in truths)
    assert quality.missed.sum() == len(world)
    assert quality.false_alarms.sum() == 0
    assert quality.average().sq == quality.per_class[quality.matched > 0, 1].sum() / quality.average().classes


def test_written_predictions_score_the_same(world, tmp_path):
    made = ModelPanopticMaps(OneByOne(Knowing(world)), world, tmp_path / "saved")
    first = scored(world, made)
    made.finish(first)
    again = scored(world, SavedPanopticMaps(tmp_path / "saved", world))
    assert np.array_equal(first.quality.per_class, again.quality.per_class, equal_nan=True)
    content = json.loads((tmp_path / "saved" / "panoptic.json").read_text())
    assert [row["image_id"] for row in content["annotations"]] == [1_000_000, 1_000_001, 1_000_002, 1_000_003]
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == ["panoptic", "panoptic.json"]


def test_a_model_that_fails_names_the_picture(world):
    def fail(_picture):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="scene_1000002: out of memory"):
        ModelPanopticMaps(fail, world)[2]

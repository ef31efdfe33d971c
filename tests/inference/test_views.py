"""Several sizes and mirror images of one picture."""

from dataclasses import replace

import numpy as np
import pytest

from ms_seg import Segmenter
from ms_seg.data.preprocessing import Geometry
from ms_seg.inference.views import SCALES, label_views, views
from ms_seg.postprocessing.logits import Logits
from ms_seg.presets import Preprocessing
from tests.toy_model import PRESET, StrongestChannel

RULE = Preprocessing("keep_ratio", short_side=64, long_side=256)


def test_every_scale_is_seen_both_ways():
    seen = list(views((100, 150), RULE))
    assert [(view.rule.short_side, view.mirrored) for view in seen] == [
        (int(64 * scale), mirrored) for scale in SCALES for mirrored in (False, True)
    ]
    assert {view.rule.long_side / view.rule.short_side for view in seen} == {4}


def test_a_picture_that_would_not_be_resized_is_scaled_by_its_own_sides():
    small = [view.rule for view in views((40, 60), replace(RULE, resize="shrink"))]
    assert [(rule.short_side, rule.long_side) for rule in small[:2]] == [(20, 30)] * 2
    large = [view.rule for view in views((640, 960), replace(RULE, resize="shrink"))]
    assert [(rule.short_side, rule.long_side) for rule in large[4:6]] == [(64, 96)] * 2


@pytest.mark.parametrize("resize", ["keep_ratio", "round_up", "squash", "shrink"])
def test_the_answer_lies_as_the_picture_does(resize):
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, :32, 0] = picture[:, 32:, 2] = 200
    preset = replace(PRESET, preprocessing=replace(PRESET.preprocessing, resize=resize, short_side=64, long_side=96))
    answer = Segmenter(StrongestChannel(preset), "pynative", augment=True)(picture)
    expected = np.repeat([[0] * 32 + [2] * 64], 64, axis=0)
    assert np.mean(answer.label_map == expected) > 0.95
    assert answer.scores.min() > 0.9


def test_probabilities_are_averaged_rather_than_logits():
    def predict(view):
        sure = view.rule.short_side == int(64 * SCALES[0]) and not view.mirrored
        logits = np.zeros((2, 4, 4), np.float32)
        logits[0 if sure else 1] = 50 if sure else 0.5  # one view shouts, the others are mildly of another opinion
        return Logits(logits, geometry, via_input=True)

    geometry = Geometry((8, 8), (8, 8), (8, 8))
    labels, scores = label_views((8, 8), RULE, predict)
    mild = 1 / (1 + np.exp(-0.5))
    assert np.all(labels == 1)
    assert scores == pytest.approx([0, 11 / 12 * mild], abs=1e-6)

"""From a picture to a panoptic, an instance or a semantic answer, through a network of queries."""

from dataclasses import replace

import numpy as np
import pytest

from ms_seg import Segmenter
from ms_seg.answers.segments import InstanceAnswer, PanopticAnswer
from ms_seg.answers.semantic import Answer
from ms_seg.presets import Preprocessing
from ms_seg.presets.preset import Window
from tests.inference.test_segmenter import BLUE, RED, flag
from tests.toy_model import QUERY_PRESET, ColourQueries, StrongestChannel

VOID = 3


@pytest.mark.parametrize("mode", ["graph", "pynative"])
def test_the_default_is_a_panoptic_answer_of_the_pictures_size(mode):
    segmenter = Segmenter(ColourQueries(), mode)
    for size in ((45, 90), (48, 96), (40, 64), (52, 80)):
        answer = segmenter(flag(*size))
        assert isinstance(answer, PanopticAnswer)
        assert sorted(answer.labels) == ["blue", "red"]
        middle, inside = size[1] // 2, answer.label_map[:-4, :-4]  # a picture's edge fades into its padding
        assert answer.label_map.shape == size
        assert np.all(inside[:, : middle - 3] == RED)
        assert np.all(inside[:, middle + 3 :] == BLUE)
        assert {segment["category"]: segment["isthing"] for segment in answer.segments} == {"red": True, "blue": False}


def test_the_other_tasks_are_asked_for_by_name():
    instance = Segmenter(ColourQueries(), "pynative", task="instance")(flag())
    assert isinstance(instance, InstanceAnswer)
    assert instance.shown_labels == ["red"]
    semantic = Segmenter(ColourQueries(), "pynative", task="semantic")(flag())
    assert isinstance(semantic, Answer)
    assert np.all(semantic.label_map[:, :45] == RED)
    assert np.all(semantic.label_map[:, 51:] == BLUE)


def test_the_rule_is_the_presets():
    picture = flag()
    picture[:20] = 90  # no mask is here: a hole, unless segments take whatever they win
    for rule, expected in (("mmdet", VOID), ("transformers", RED)):
        preset = QUERY_PRESET.override(query_rule=rule)
        assert Segmenter(ColourQueries(preset), "pynative")(picture).label_map[2, 2] == expected


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="query_rule is 'mmdet3': it must be one of mmdet, detectron2, .*transformers"):
        Preprocessing("shrink", query_rule="mmdet3")


def test_a_task_that_is_not_the_models_is_refused():
    with pytest.raises(ValueError, match="toy gives semantic answers and no panoptic ones"):
        Segmenter(StrongestChannel(), task="panoptic")


@pytest.mark.parametrize("options", [{"augment": True}, {"window": Window(64, 32)}])
def test_windows_and_views_answer_semantic_segmentation(options):
    whole = Segmenter(ColourQueries(), "pynative", task="semantic")(flag())
    parts = Segmenter(ColourQueries(), "pynative", task="semantic", **options)(flag())
    middle = slice(44, 52)  # between the colours
    assert np.array_equal(np.delete(parts.label_map, middle, 1), np.delete(whole.label_map, middle, 1))
    for task in ("panoptic", "instance"):
        with pytest.raises(ValueError, match=f"answer semantic segmentation alone: {task} is asked"):
            Segmenter(ColourQueries(), task=task, **options)


def test_windows_are_told_to_whoever_asks():
    told: list[tuple[int, int]] = []
    segmenter = Segmenter(ColourQueries(), "pynative", Window(64, 32), task="semantic")
    segmenter([flag(), flag(40, 60)], progress=lambda done, windows: told.append((done, windows)))
    assert told == [(1, 2), (2, 2), (1, 1)]


def test_the_scores_of_windows_are_those_of_a_whole_picture():
    """What a class has of all scores where it was chosen, not the softmax of these, which is nearly even."""
    whole = Segmenter(ColourQueries(), "pynative", task="semantic")(flag())
    parts = Segmenter(ColourQueries(), "pynative", Window(64, 32), task="semantic")(flag())
    assert dict(zip(parts.labels, parts.scores, strict=True)) == pytest.approx(
        dict(zip(whole.labels, whole.scores, strict=True)), abs=0.02
    )
    assert min(parts.scores) > 0.9
    with pytest.raises(ValueError, match="kept neither of several views nor of a model of queries"):
        parts.pixel_scores  # noqa: B018


def test_a_network_of_queries_may_answer_one_task_alone():
    semantic = Segmenter(ColourQueries(replace(QUERY_PRESET, tasks=("semantic",), window=Window(64, 32, exact=True))))
    assert isinstance(semantic(flag()), Answer)
    with pytest.raises(ValueError, match="gives semantic answers and no panoptic ones"):
        Segmenter(ColourQueries(semantic.preset), task="panoptic")


def test_values_that_are_not_finite_are_refused():
    class Broken(ColourQueries):
        def construct(self, images):
            masks = self.pool(images)
            return self.classes, masks / 0

    with pytest.raises(ValueError, match="toy_queries gave values that are not finite"):
        Segmenter(Broken(), "pynative")(flag())

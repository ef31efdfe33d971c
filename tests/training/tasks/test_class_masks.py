"""A model of queries and label maps: what decides the task, and what a validation finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ms_seg.data.drawn.world import DrawnPanoptic, DrawnWorld
from ms_seg.distributed import World
from ms_seg.label_sets import LabelSet
from ms_seg.presets import Preset, Window, find_preset
from ms_seg.training.tasks import task_for, training_task
from ms_seg.training.tasks.class_masks import SEMANTIC_QUERIES
from ms_seg.training.tasks.panoptic import PANOPTIC_QUERIES
from tests.toy_model import QUERY_PRESET, ColourQueries

COLOURS = np.uint8([[250, 0, 0], [0, 250, 0], [0, 0, 250]])
ALL_TASKS, SEMANTIC_ALONE = QUERY_PRESET, QUERY_PRESET.override(tasks=("semantic",))


class Stripes:
    """Pictures of red, green and blue stripes, whose truth calls half of the blue one green."""

    label_set: LabelSet = QUERY_PRESET.label_set
    _colours = np.repeat(np.arange(3), 16)[:, None].repeat(64, axis=1)

    def __len__(self) -> int:
        return 2

    def name(self, index: int) -> str:
        return f"stripes_{index}"

    def picture(self, index: int) -> np.ndarray:
        return COLOURS[self._colours]

    def label_map(self, index: int) -> np.ndarray:
        labels = self._colours.astype(np.uint8)
        labels[40:] = 1
        return labels


@pytest.mark.parametrize(
    ("preset", "dataset", "task", "row"),
    [
        (ALL_TASKS, DrawnWorld, "semantic", SEMANTIC_QUERIES),
        (ALL_TASKS, DrawnPanoptic, "panoptic", PANOPTIC_QUERIES),
        (SEMANTIC_ALONE, DrawnPanoptic, "semantic", SEMANTIC_QUERIES),
    ],
)
def test_the_first_of_the_tasks_that_a_dataset_has_the_truth_of_is_learned(preset: Preset, dataset, task: str, row):
    assert task_for(preset, dataset("training", (32, 32), max_pictures=1)) == task
    assert training_task(preset, task) is row


def test_a_task_that_is_not_the_models_is_refused():
    with pytest.raises(ValueError, match="toy_queries learns semantic segmentation, and coco_panoptic is for panoptic"):
        training_task(SEMANTIC_ALONE, "panoptic", "coco_panoptic")
    with pytest.raises(
        ValueError, match="toy_queries learns panoptic or .*semantic segmentation, and .* no truth of it"
    ):
        task_for(ALL_TASKS, object())


def test_a_validation_finds_miou_whatever_else_the_model_answers():
    for preset in (ALL_TASKS, SEMANTIC_ALONE):
        scores = SEMANTIC_QUERIES.validation(ColourQueries(preset), Stripes(), World(0, 1, []), None)()
        assert scores.monitor == "mIoU"
        assert np.isclose(scores.metrics["mIoU"], (1 + 2 / 3 + 1 / 2) / 3)  # red, green and blue
        assert scores.picture is not None


def test_crops_are_of_the_one_size_that_a_model_can_be_shown():
    preset = replace(SEMANTIC_ALONE, window=Window(128, 85, exact=True))
    recipe = replace(find_preset("mask2former_tiny_shapes").recipe, crop_size=128)
    SEMANTIC_QUERIES.check(preset, [Stripes()], recipe)
    with pytest.raises(ValueError, match="crop_size of toy_queries must be 128, .* 96 is not"):
        SEMANTIC_QUERIES.check(preset, [Stripes()], replace(recipe, crop_size=96))
    SEMANTIC_QUERIES.check(replace(preset, window=Window(128, 85)), [Stripes()], replace(recipe, crop_size=96))

"""A model of queries and the trainer: batches with masks, and what a validation finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ms_seg.data.drawn.world import DrawnPanoptic
from ms_seg.data.panoptic import PanopticMap, Segment
from ms_seg.data.samples import PanopticSamples
from ms_seg.distributed import World
from ms_seg.label_sets import LabelSet
from ms_seg.presets.recipe import Recipe
from ms_seg.training.loader import Loader
from ms_seg.training.tasks.panoptic import PANOPTIC_QUERIES, with_masks
from tests.toy_model import QUERY_PRESET, ColourQueries

COLOURS = np.uint8([[0, 0, 0], [250, 0, 0], [0, 250, 0], [0, 0, 250]])
RECIPE = Recipe(
    steps=3, batch_size=2, augmentation="lsj", crop_size=48, short_side=64, long_side=64, scale_min=1, scale_max=1,
    photometric=False, cat_max_ratio=1, max_targets=12,
)  # fmt: skip


class Stripes:
    """Pictures of red, green, blue and black stripes, whose truth calls blue green from the third picture on."""

    label_set: LabelSet = QUERY_PRESET.label_set
    has_pictures = True
    _colours = np.repeat(np.arange(4), 16)[:, None].repeat(64, axis=1)

    def __len__(self) -> int:
        return 3

    def name(self, index: int) -> str:
        return f"stripes_{index}"

    def picture(self, index: int) -> np.ndarray:
        return COLOURS[self._colours]

    def panoptic(self, index: int) -> PanopticMap:
        labels = (0, 1, 1 if index == 2 else 2)
        segments = (Segment(number, label, False, 1024) for number, label in enumerate(labels, start=1))
        return PanopticMap(self._colours.astype(np.int32), tuple(segments))


def test_batches_have_a_mask_for_each_target_and_none_beyond():
    samples = PanopticSamples(DrawnPanoptic("validation", (64, 64)), RECIPE)
    steps = list(with_masks(Loader(samples, 2))(1, 3))
    assert len(steps) == 2
    for step, (images, labels, masks) in enumerate(steps, start=1):
        assert images.shape == (2, 3, 48, 48) and images.dtype == np.float32
        assert labels.shape == (2, 12) and masks.shape == (2, 12, 48, 48) and masks.dtype == np.uint8
        for place in range(2):
            image, classes, targets = samples[2 * step + place]
            assert np.array_equal(images[place], image) and np.array_equal(labels[place], classes)
            for number in range(12):
                assert np.array_equal(masks[place, number], targets == number + 1)


def test_samples_of_the_ranks_are_shared_as_always():
    samples = PanopticSamples(DrawnPanoptic("validation", (64, 64)), replace(RECIPE, batch_size=4))
    (whole,) = with_masks(Loader(samples, 4))(0, 1)
    (second,) = with_masks(Loader(samples, 4, 1, 2))(0, 1)
    for array, part in zip(whole, second, strict=True):
        assert np.array_equal(array[2:], part)


def test_a_validation_finds_pq_and_draws_predictions_beside_the_truth():
    scores = PANOPTIC_QUERIES.validation(ColourQueries(), Stripes(), World(0, 1, []), None)()
    # Red is always found, green where it is one; blue, the only stuff, twice of three times.
    expected = {"things": (1 + 3 / (3 + 0.5)) / 2, "stuff": 2 / (2 + 0.5)}
    assert scores.monitor == "PQ"
    assert np.isclose(scores.metrics["PQ_things"], expected["things"])
    assert np.isclose(scores.metrics["PQ_stuff"], expected["stuff"])
    assert np.isclose(scores.metrics["PQ"], (2 * expected["things"] + expected["stuff"]) / 3)
    assert scores.metrics["SQ"] == 1
    pictures = np.array_split(np.asarray(scores.picture), 3, axis=0)
    equal = []
    for drawn in pictures:
        picture, truth, prediction = np.split(drawn[40:600, : drawn.shape[1] // 3 * 3], 3, axis=1)  # under the titles
        assert not np.array_equal(picture, truth)
        equal.append(np.array_equal(truth, prediction))
    assert equal == [True, True, False]

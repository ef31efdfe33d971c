"""Several datasets in one training: whose turn it is, and which of its pictures come."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import numpy as np
import pytest

from ms_seg.data import samples as data_samples
from ms_seg.data.samples import EpochSampler, MixedSamples, SemanticSamples, Turns
from ms_seg.label_sets import LabelSet, numbered_labels
from ms_seg.presets.recipe import Recipe

RECIPE = Recipe(
    steps=60, batch_size=4, crop_size=8, long_side=8, augmentation="lang_seg", photometric=False, cat_max_ratio=1.0,
    scale_min=1.0, scale_max=1.0, seed=5,
)  # fmt: skip
BYTES = (0.0, 0.0, 0.0), (255.0, 255.0, 255.0)


class Plain:
    """Pictures of one colour: red is the dataset, green the picture."""

    def __init__(self, number: int, count: int):
        self.number, self.count, self.label_set = number, count, LabelSet(("one", "two"), numbered_labels(2).palette)

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return str(index)

    def picture(self, index: int) -> np.ndarray:
        return np.full((8, 8, 3), (self.number, index, 0), np.uint8)

    def label_map(self, index: int) -> np.ndarray:
        return np.zeros((8, 8), np.uint8)


def mixed(*counts: int) -> MixedSamples:
    return MixedSamples([Plain(number, count) for number, count in enumerate(counts)], RECIPE, *BYTES)


def origin(samples: MixedSamples | SemanticSamples, position: int) -> tuple[int, int]:
    """The dataset and the picture of a sample."""
    image, _ = samples[position]
    return tuple(np.rint(image[:2, 0, 0] * 255).astype(int).tolist())


def test_a_step_has_the_pictures_of_one_dataset():
    samples = mixed(12, 30, 5)
    for step in range(RECIPE.steps):
        of_step = {origin(samples, 4 * step + place)[0] for place in range(4)}
        assert of_step == {samples.dataset_of(step)}


def test_a_dataset_has_its_turns_in_proportion_to_its_size_and_in_every_round_another_order():
    turns = Turns(0, [3, 8, 2])
    rounds = [[turns[step][0] for step in range(13 * number, 13 * (number + 1))] for number in range(6)]
    assert all(Counter(numbers) == {0: 3, 1: 8, 2: 2} for numbers in rounds)
    assert len({tuple(numbers) for numbers in rounds}) == 6


def test_a_datasets_turns_are_counted():
    turns = Turns(3, [3, 8, 2])
    found = [turns[step] for step in range(100)]
    for number in range(3):
        earlier = [count for whose, count in found if whose == number]
        assert earlier == list(range(len(earlier)))


def test_every_epoch_goes_through_all_pictures_of_each_dataset():
    samples = mixed(12, 20)  # epochs of 3 and 5 steps
    seen = Counter(origin(samples, position) for position in range(32 * 7))
    assert seen == {(0, index): 7 for index in range(12)} | {(1, index): 7 for index in range(20)}


def test_a_sample_depends_on_its_position_alone():
    forwards, backwards = mixed(12, 20), mixed(12, 20)
    expected = [origin(forwards, position) for position in range(200)]
    assert [origin(backwards, position) for position in reversed(range(200))] == expected[::-1]


def test_two_datasets_of_one_size_have_orders_of_their_own():
    samples = mixed(20, 20)
    orders = [[], []]
    for position in range(40):
        number, index = origin(samples, position)
        orders[number].append(index)
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(20))
    assert orders[0] != orders[1]


def test_one_dataset_has_the_samples_of_a_run_of_its_own():
    alone, single = mixed(9), SemanticSamples(Plain(0, 9), RECIPE, *BYTES)
    assert len(alone) == len(single) == 240
    assert [origin(alone, position) for position in range(240)] == [origin(single, p) for p in range(240)]


def test_the_turns_of_a_seed_stay_what_they_are():
    """A run continued with a later version of NumPy or of this package must go on with the same pictures."""
    turns = Turns(0, [2, 4])
    assert [turns[step][0] for step in range(12)] == [1, 1, 0, 1, 1, 0, 1, 1, 1, 0, 1, 0]


@pytest.mark.parametrize("seed", [1, 2])
def test_another_seed_is_another_order(seed: int):
    assert [Turns(0, [20, 20])[step] for step in range(40)] != [Turns(seed, [20, 20])[step] for step in range(40)]


@pytest.mark.parametrize("order", [partial(Turns, 0, [3, 5]), partial(EpochSampler, 0, 8)], ids=["turns", "epochs"])
def test_two_threads_may_ask_at_once_for_places_in_different_rounds(order: Callable[[], Turns | EpochSampler]):
    """The trainer asks for the dataset of a step while a thread reads the pictures of a later one."""
    alone = [order()[place] for place in range(24)]
    for place in range(24):
        for other in (0, 9, 23):
            answer, answers = interrupted(order(), place, other)
            assert answer == alone[place]
            assert answers and set(answers) == {alone[other]}


def interrupted(order: Turns | EpochSampler, place: int, other: int) -> tuple[Any, list]:
    """What one thread hears that asks for a place, and what all hear asking for the other between two of its lines."""
    heard = []

    def between(frame: FrameType, event: str, _: object) -> Callable | None:
        if frame.f_code.co_filename != data_samples.__file__:
            return None
        if event == "line":
            heard.append(order[other])
        return between

    before = sys.gettrace()
    sys.settrace(between)
    try:
        return order[place], heard
    finally:
        sys.settrace(before)

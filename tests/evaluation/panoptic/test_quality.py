"""PQ, SQ and RQ on maps small enough to count by hand; tests/parity holds them against panopticapi."""

from dataclasses import replace

import numpy as np
import pytest

from ms_seg.data.panoptic import PanopticMap, Segment
from ms_seg.evaluation.panoptic.quality import PanopticQuality, outcomes
from ms_seg.label_sets import LabelSet

LABELS = LabelSet(("cat", "dog", "sky"), np.zeros((3, 3), np.uint8), (True, True, False), (3, 7, 92))
CAT, DOG, SKY = range(3)


def strip(ids: list[int], classes: dict[int, int], crowds: tuple[int, ...] = ()) -> PanopticMap:
    """A map of one row."""
    array = np.array([ids], np.int32)
    segments = (Segment(i, label, i in crowds, int((array == i).sum())) for i, label in classes.items())
    return PanopticMap(array, tuple(segments))


def counted(prediction: PanopticMap, truth: PanopticMap) -> PanopticQuality:
    quality = PanopticQuality(LABELS)
    quality.update(prediction, truth)
    return quality


def test_a_match_a_miss_and_a_false_alarm():
    truth = strip([1, 1, 1, 1, 2, 2, 9, 9, 9, 9], {1: CAT, 2: CAT, 9: SKY})
    prediction = strip([5, 5, 5, 5, 5, 6, 6, 6, 6, 6], {5: CAT, 6: DOG})
    quality = counted(prediction, truth)
    assert quality.matched.tolist() == [1, 0, 0]
    assert quality.missed.tolist() == [1, 0, 1]
    assert quality.false_alarms.tolist() == [0, 1, 0]
    assert quality.per_class[CAT].tolist() == [0.8 / 1.5, 0.8, 1 / 1.5]
    assert quality.per_class[DOG].tolist() == quality.per_class[SKY].tolist() == [0, 0, 0]
    over_all, things, stuff = quality.average(), quality.average(True), quality.average(False)
    assert (over_all.pq, over_all.classes) == (0.8 / 1.5 / 3, 3)
    assert (things.sq, things.classes) == (0.4, 2)
    assert (stuff.rq, stuff.classes) == (0, 1)


def test_half_is_not_enough():
    truth = strip([1, 1, 1, 0], {1: CAT})
    assert counted(strip([5, 5, 0, 0], {5: CAT}), truth).matched[CAT] == 1
    both = strip([1, 1, 2, 2], {1: CAT, 2: SKY})
    assert counted(strip([5, 5, 5, 5], {5: CAT}), both).matched[CAT] == 0


def test_void_counts_for_nothing():
    truth = strip([1, 1, 1, 0, 0, 0], {1: CAT})
    assert counted(strip([5, 5, 5, 5, 5, 5], {5: CAT}), truth).per_class[CAT].tolist() == [1, 1, 1]


def test_what_is_mostly_void_is_no_false_alarm():
    truth = strip([1, 1, 0, 0, 0], {1: CAT})
    assert counted(strip([0, 5, 5, 5, 5], {5: DOG}), truth).false_alarms[DOG] == 0
    assert counted(strip([5, 5, 5, 5, 0], {5: DOG}), truth).false_alarms[DOG] == 1  # half is not most


def test_a_crowd_is_neither_missed_nor_matched_and_excuses_its_class_alone():
    truth = strip([1, 1, 1, 1, 2, 2], {1: CAT, 2: SKY}, crowds=(1,))
    cat = counted(strip([5, 5, 5, 5, 6, 6], {5: CAT, 6: SKY}), truth)
    assert (cat.matched.tolist(), cat.missed.tolist(), cat.false_alarms.tolist()) == ([0, 0, 1], [0, 0, 0], [0, 0, 0])
    dog = counted(strip([5, 5, 5, 5, 6, 6], {5: DOG, 6: SKY}), truth)
    assert dog.false_alarms.tolist() == [0, 1, 0]


def test_of_two_crowds_the_one_named_last_excuses():
    truth = strip([1, 1, 1, 2, 2, 2], {1: CAT, 2: CAT}, crowds=(1, 2))
    over_first = strip([5, 5, 5, 0, 0, 0], {5: CAT})
    assert counted(over_first, truth).false_alarms[CAT] == 1
    turned = replace(truth, segments=truth.segments[::-1])
    assert counted(over_first, turned).false_alarms[CAT] == 0


def test_the_true_area_is_the_annotations():
    truth = strip([1, 1, 1, 1, 0], {1: CAT})
    larger = replace(truth, segments=(replace(truth.segments[0], area=5),))
    prediction = strip([5, 5, 5, 5, 0], {5: CAT})
    assert counted(prediction, truth).ious[CAT] == 1
    assert counted(prediction, larger).ious[CAT] == 0.8


def test_a_class_that_was_not_met_has_no_figure_and_no_weight():
    truth = strip([1, 1], {1: CAT})
    quality = counted(truth, truth)
    assert np.isnan(quality.per_class[[DOG, SKY]]).all()
    assert quality.average().pq == 1
    assert np.isnan(quality.average(False).pq) and quality.average(False).classes == 0


def test_nothing_at_all_has_no_figure():
    empty = strip([0, 0], {})
    assert np.isnan(counted(empty, empty).average().pq)


def test_outcomes_added_later_are_the_same_figures():
    truth = strip([1, 1, 1, 2, 2, 9], {1: CAT, 2: CAT, 9: SKY})
    prediction = strip([5, 5, 6, 6, 6, 7], {5: CAT, 6: CAT, 7: DOG})
    at_once, later = counted(prediction, truth), PanopticQuality(LABELS)
    later.add(outcomes(prediction, truth))
    assert np.array_equal(at_once.per_class, later.per_class, equal_nan=True)


@pytest.mark.parametrize(
    ("prediction", "sentence"),
    [
        (strip([5, 5, 5], {5: CAT}), "prediction and truth must have one shape: .* differ"),
        (strip([5, 6], {5: CAT}), "segment 6 is in the map and has no entry"),
        (strip([5, 5], {5: CAT, 8: DOG}), "segment 8 of the prediction has no pixel"),
    ],
)
def test_a_prediction_that_contradicts_itself_is_refused(prediction, sentence):
    with pytest.raises(ValueError, match=sentence):
        outcomes(prediction, strip([1, 1], {1: CAT}))

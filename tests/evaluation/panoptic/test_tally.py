"""Tallies of records: the same to the last digit, however the work was shared and interrupted."""

import socket
import threading
from itertools import pairwise

import numpy as np
import pytest

from ms_seg.data.drawn.world import DrawnPanoptic
from ms_seg.data.panoptic import PanopticMap
from ms_seg.distributed import World
from ms_seg.evaluation import tally as tally_module
from ms_seg.evaluation.evaluator import evaluate
from ms_seg.evaluation.panoptic.tally import PanopticTally
from ms_seg.evaluation.predictions import CachedPredictions
from ms_seg.evaluation.tally import TallyFiles

ALONE = World(0, 1, [])


class Shifted:
    """Predictions that are the truth moved by some pixels; `asked` lists the indices. Fails at the index `stop`."""

    def __init__(self, dataset, stop=None):
        self.dataset, self.stop, self.asked = dataset, stop, []

    def __getitem__(self, index):
        if index == self.stop:
            raise KeyboardInterrupt
        self.asked.append(index)
        truth = self.dataset.panoptic(index)
        ids = np.roll(truth.ids, index, axis=1)
        return PanopticMap(ids, truth.segments)

    def source(self, index):
        return f"guess {index}"


@pytest.fixture(scope="module")
def dataset():
    return DrawnPanoptic("validation", size=(48, 64), max_pictures=7)


@pytest.fixture(scope="module")
def whole(dataset):
    return counted(dataset, Shifted(dataset))


def counted(dataset, guesses, world=ALONE, kept=None):
    return evaluate(dataset, CachedPredictions(guesses), PanopticTally.of(dataset), world, kept)


def assert_same(tally, whole):
    assert np.array_equal(tally.quality.ious, whole.quality.ious)  # float sums: the order tells
    assert np.array_equal(tally.quality.per_class, whole.quality.per_class, equal_nan=True)
    assert np.array_equal(tally.qualities, whole.qualities)
    assert tally.done.all()
    assert tally.worst(9) == whole.worst(9)


def test_pictures_have_a_pq_of_their_own(whole):
    assert whole.qualities[0] == 1
    assert all(before > after for before, after in pairwise(whole.qualities[[0, 3, 6]]))
    assert 0 < whole.quality.average().pq < 1


@pytest.mark.parametrize("stop", [0, 1, 5])
def test_an_interrupted_evaluation_goes_on(dataset, whole, tmp_path, monkeypatch, stop):
    monkeypatch.setattr(tally_module, "_MAX_SHARE", float("inf"))
    stamps = np.zeros(len(dataset), np.uint64)
    with pytest.raises(KeyboardInterrupt):
        counted(dataset, Shifted(dataset, stop), kept=TallyFiles(tmp_path, {"of": 1}, stamps))
    guesses = Shifted(dataset)
    assert_same(counted(dataset, guesses, kept=TallyFiles(tmp_path, {"of": 1}, stamps)), whole)
    assert guesses.asked == list(range(stop, 7))


def test_a_damaged_state_is_as_none(dataset, whole, tmp_path):
    stamps = np.zeros(len(dataset), np.uint64)
    counted(dataset, Shifted(dataset), kept=TallyFiles(tmp_path, {"of": 1}, stamps))
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-100])
    assert_same(counted(dataset, Shifted(dataset), kept=TallyFiles(tmp_path, {"of": 1}, stamps)), whole)


@pytest.mark.parametrize("size", [2, 3, 9])
def test_ranks_count_what_one_process_does(dataset, whole, size):
    """Nine ranks: two of them have no picture."""
    tallies = ranks(size, lambda world: counted(dataset, Shifted(dataset), world))
    for tally in tallies:
        assert_same(tally, whole)


def ranks(size: int, work) -> list:
    """What `work` returns on each rank of a world, whose ranks are threads of this process."""
    pairs = [socket.socketpair() for _ in range(size - 1)]
    worlds = [World(0, size, [one for one, _ in pairs])]
    worlds += [World(rank, size, [other]) for rank, (_, other) in enumerate(pairs, start=1)]
    results: list = [None] * size

    def run(rank: int) -> None:
        results[rank] = work(worlds[rank])

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for one, other in pairs:
        one.close()
        other.close()
    return results


def test_a_prediction_of_another_size_is_named(dataset):
    class Wrong(Shifted):
        def __getitem__(self, index):
            return PanopticMap(np.zeros((3, 4), np.int32), ())

    with pytest.raises(ValueError, match="guess 0 is 4x3, but the panoptic map is 64x48"):
        counted(dataset, Wrong(dataset))


def test_the_bar_shows_the_pq_so_far(dataset, capsys):
    tally = counted(dataset, Shifted(dataset))
    assert f"evaluating: 100%, 0:00  PQ {tally.quality.average().pq:.4f}" in capsys.readouterr().err

"""The loop over a dataset: every picture once, whatever happens in between."""

import numpy as np
import pytest

from ms_seg.distributed import World
from ms_seg.evaluation import tally as tally_module
from ms_seg.evaluation.evaluator import check_task, evaluate, max_outputs
from ms_seg.evaluation.predictions import CachedPredictions
from ms_seg.evaluation.results import WORST
from ms_seg.evaluation.semantic.tally import SemanticTally
from ms_seg.evaluation.tally import TallyFiles, file_stamp
from ms_seg.label_sets import numbered_labels, read_labels
from tests.evaluation.stand_in import Guesses, InMemory

ALONE = World(0, 1, [])


class Killed(BaseException):
    """Stands for the end of the process: nothing is tidied up."""


class StopsAt(Guesses):
    def __init__(self, dataset, stop):
        super().__init__(dataset)
        self.stop = stop

    def __getitem__(self, index):
        if index == self.stop:
            raise Killed
        return super().__getitem__(index)


@pytest.fixture(autouse=True)
def kept_after_every_picture(monkeypatch):
    monkeypatch.setattr(tally_module, "_MAX_SHARE", float("inf"))


@pytest.fixture
def dataset():
    return InMemory(11)


@pytest.fixture
def stamps(dataset):
    return np.arange(len(dataset), dtype=np.uint64)


def counted(dataset, predictions, kept=None):
    return evaluate(dataset, CachedPredictions(predictions), SemanticTally.of(dataset), ALONE, kept)


def interrupted(dataset, folder, stamps, evaluation="one", stop=7) -> None:
    with pytest.raises(Killed):
        counted(dataset, StopsAt(dataset, stop), TallyFiles(folder, {"of": evaluation}, stamps))


def continued(dataset, folder, stamps, evaluation="one"):
    """What the evaluation comes to, and which pictures it still asked for."""
    guesses = Guesses(dataset)
    files = TallyFiles(folder, {"of": evaluation}, stamps)
    return counted(dataset, guesses, files), guesses.asked, files


def assert_whole(tally, dataset):
    whole = counted(dataset, Guesses(dataset))
    assert np.array_equal(tally.matrix.counts, whole.matrix.counts)
    assert np.array_equal(tally.ious, whole.ious)
    assert np.array_equal(tally.pixels, whole.pixels)
    assert tally.done.all()


@pytest.mark.parametrize("stop", [0, 1, 7, 10])
def test_an_interrupted_evaluation_goes_on_where_it_was_kept(dataset, tmp_path, stamps, stop):
    interrupted(dataset, tmp_path, stamps, stop=stop)
    tally, asked, _ = continued(dataset, tmp_path, stamps)
    assert_whole(tally, dataset)
    assert asked == list(range(stop, 11))


def test_one_that_is_complete_but_for_its_report_asks_for_nothing(dataset, tmp_path, stamps):
    continued(dataset, tmp_path, stamps)
    tally, asked, files = continued(dataset, tmp_path, stamps)
    assert_whole(tally, dataset)
    assert asked == []
    files.finish()
    assert list(tmp_path.iterdir()) == []


def test_another_evaluation_begins_anew_and_leaves_nothing_behind(dataset, tmp_path, stamps):
    interrupted(dataset, tmp_path, stamps)
    tally, asked, _ = continued(dataset, tmp_path, stamps, "another")
    assert_whole(tally, dataset)
    assert asked == list(range(11))
    assert len(list(tmp_path.iterdir())) == 1


def test_a_counted_picture_whose_files_changed_starts_all_again(dataset, tmp_path, stamps):
    interrupted(dataset, tmp_path, stamps)
    stamps[0] += 1
    tally, asked, _ = continued(dataset, tmp_path, stamps)
    assert_whole(tally, dataset)
    assert asked == list(range(11))


def test_a_picture_repaired_before_it_was_counted_costs_nothing(dataset, tmp_path, stamps):
    interrupted(dataset, tmp_path, stamps)
    stamps[7] += 1
    assert continued(dataset, tmp_path, stamps)[1] == [7, 8, 9, 10]


def test_a_damaged_state_is_as_none(dataset, tmp_path, stamps):
    interrupted(dataset, tmp_path, stamps)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-100])
    tally, asked, _ = continued(dataset, tmp_path, stamps)
    assert_whole(tally, dataset)
    assert asked == list(range(11))


def test_states_of_several_ranks_are_merged_once(dataset, tmp_path, stamps):
    interrupted(dataset, tmp_path, stamps)
    (file,) = tmp_path.iterdir()
    copy = tmp_path / file.name.replace(".0.npz", ".1.npz")  # as after a stop between merging and tidying up
    copy.write_bytes(file.read_bytes())
    assert_whole(continued(dataset, tmp_path, stamps)[0], dataset)


def test_the_predictions_of_the_worst_pictures_are_kept_and_no_others(dataset):
    guesses = Guesses(dataset)
    cached = CachedPredictions(guesses)
    tally = evaluate(dataset, cached, SemanticTally.of(dataset), ALONE)
    worst = tally.worst(WORST)
    assert sorted(tally.ious)[:WORST] == tally.ious[worst].tolist()
    for index in range(11):
        cached[index]
    assert guesses.asked[:11] == list(range(11))
    assert sorted(guesses.asked[11:]) == sorted(set(range(11)) - set(worst))


def test_a_picture_with_nothing_to_count_is_not_among_the_worst(dataset):
    dataset.truths[3] = 255
    tally = counted(dataset, Guesses(dataset))
    assert np.isnan(tally.ious[3])
    assert 3 not in tally.worst(11)
    assert tally.done.all()


def test_the_bar_shows_the_miou_so_far(dataset, capsys):
    tally = counted(dataset, Guesses(dataset))
    assert f"evaluating: 100%, 0:00  mIoU {tally.matrix.miou:.4f}" in capsys.readouterr().err


def test_a_prediction_of_another_size_is_named(dataset):
    class Wrong(Guesses):
        def __getitem__(self, index):
            return np.zeros((3, 4) if index == 2 else (12, 16), np.uint8)

    with pytest.raises(ValueError, match="guess 2 is 4x3, but the label map of the picture is 16x12"):
        counted(dataset, Wrong(dataset))


def test_a_task_that_is_not_the_models_is_refused():
    check_task(("panoptic", "instance"), "instance", "a_model")
    with pytest.raises(ValueError, match="a_model cannot be asked for panoptic segmentation, which the dataset is for"):
        check_task(("semantic",), "panoptic", "a_model")


class TestLabels:
    def test_published_outputs_are_known(self):
        assert max_outputs("cocostuff164k", read_labels("cocostuff164k")) == 172
        assert max_outputs("ade20k", read_labels("ade20k")) == 150
        assert max_outputs("folder", numbered_labels(4)) == 4


def test_a_stamp_changes_with_the_file(tmp_path):
    file = tmp_path / "a"
    file.write_text("one")
    before = file_stamp(file)
    assert before == file_stamp(file)
    file.write_text("other")
    assert before != file_stamp(file)

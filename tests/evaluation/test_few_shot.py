"""IoU of one named thing a picture, and the loop over a fold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ms_seg.data.few_shot import open_few_shot
from ms_seg.evaluation import few_shot
from ms_seg.evaluation.few_shot import FewShotIoU, KeptFigures, evaluate_few_shot, figures_text, nearest
from tests.data.few_shot_folders import FSS_NAMES, write_fss, write_pascal


def test_iou_by_hand():
    figures = FewShotIoU(2)
    figures.update(np.array([[1, 1, 0, 0]]), np.array([[1, 0, 0, 0]]), 0)
    figures.update(np.array([[0, 0, 0, 1]]), np.array([[0, 0, 1, 1]]), 1)
    assert figures.per_class_iou.tolist() == [1 / 2, 1 / 2]
    assert figures.miou == 1 / 2
    assert figures.fb_iou == pytest.approx(((2 + 2) / (3 + 3) + (1 + 1) / (2 + 2)) / 2)


def test_pictures_of_a_class_are_added_before_they_are_divided():
    figures = FewShotIoU(1)
    figures.update(np.ones(1, bool), np.ones(1, np.uint8), 0)  # a small thing, found
    figures.update(np.zeros(9, bool), np.ones(9, np.uint8), 0)  # a large one, missed
    assert figures.miou == 1 / 10


def test_figures_follow_the_published_sums():
    """Intersection and union of either value, over each class's pictures; the mean of the classes' foreground; the mean
    of foreground and background over all."""
    rng = np.random.default_rng(0)
    figures, pictures = FewShotIoU(4), []
    for number in range(23):
        truth = rng.choice([0, 1, 255], (13, 17 + number), p=[0.6, 0.3, 0.1]).astype(np.uint8)
        pictures.append((rng.random(truth.shape) < 0.4, truth, number % 3))  # class 3 is never asked for
        figures.update(*pictures[-1])
    inter, union = np.zeros((2, 4)), np.zeros((2, 4))
    for prediction, truth, label in pictures:
        for value in (0, 1):
            ours, theirs = (prediction == value) & (truth != 255), truth == value
            inter[value, label] += (ours & theirs).sum()
            union[value, label] += (ours | theirs).sum()
    expected = inter[1] / np.maximum(union[1], 1)
    assert figures.per_class_iou == pytest.approx(expected)
    assert figures.miou == pytest.approx((expected[0] + expected[1] + expected[2] + 0) / 4)
    assert figures.fb_iou == pytest.approx((inter.sum(axis=1) / union.sum(axis=1)).mean())


def test_ignored_pixels_do_not_count_whatever_is_predicted():
    figures = FewShotIoU(1)
    figures.update(np.array([0, 1, 1, 0]), np.array([255, 255, 1, 0], np.uint8), 0)
    assert (figures.miou, figures.fb_iou) == (1, 1)


def test_both_kinds_must_be_met_for_the_mean_of_both():
    figures = FewShotIoU(1)
    figures.update(np.zeros((2, 2), bool), np.zeros((2, 2), np.uint8), 0)
    assert figures.miou == 0
    assert np.isnan(figures.fb_iou)
    assert figures_text(figures) == "mIoU:  0.00  |  FB-IoU:   nan"


def test_more_pixels_than_float32_can_count_are_counted():
    figures = FewShotIoU(1)
    figures.intersection[0, 1] = figures.union[0, 1] = 1 << 24
    figures.update(np.ones(1, bool), np.ones(1, np.uint8), 0)
    assert figures.union[0, 1] == (1 << 24) + 1


@pytest.mark.parametrize(
    ("prediction", "truth", "label", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), np.uint8), 0, "prediction and truth must have one shape: .* differ"),
        (np.full(3, 2), np.zeros(3, np.uint8), 0, "the prediction must hold 0, 1 alone"),
        (np.full(3, 255), np.full(3, 255, np.uint8), 0, "the prediction must hold 0, 1 alone"),
        (np.zeros(3, int), np.full(3, 7, np.uint8), 0, "the truth must hold 0, 1, 255 alone"),
        (np.zeros(3, int), np.zeros(3, np.uint8), 2, "the class must be 0 to 1: it is 2"),
        (np.zeros(3, int), np.zeros(3, np.uint8), -1, "the class must be 0 to 1: it is -1"),
    ],
)
def test_maps_that_cannot_be_counted_are_refused(prediction, truth, label, message):
    figures = FewShotIoU(2)
    with pytest.raises(ValueError, match=message):
        figures.update(prediction, truth, label)
    assert not figures.union.any()


def test_no_class_is_refused():
    with pytest.raises(ValueError, match="there must be at least one class to count: num_classes is 0"):
        FewShotIoU(0)


def test_the_nearest_pixel_lies_above_and_left():
    assert nearest(np.arange(6).reshape(2, 3), (4, 6)).tolist() == [
        [0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2], [3, 3, 4, 4, 5, 5], [3, 3, 4, 4, 5, 5],
    ]  # fmt: skip
    assert nearest(np.arange(5)[None], (1, 2)).tolist() == [[0, 2]]


# ------------------------------------------------------------------------------------------------ the loop over a fold


def bright(picture, label):
    """Finds what `write_fss` draws."""
    return picture[..., 0] > 130


def test_who_finds_all_scores_a_hundred(tmp_path, capsys):
    figures = evaluate_few_shot(open_few_shot("fss", write_fss(tmp_path)), bright)
    assert (figures.miou, figures.fb_iou) == (1, 1)
    assert "mIoU: 100.00  |  FB-IoU: 100.00" in capsys.readouterr().err


def test_each_picture_is_asked_for_its_class(tmp_path):
    fold = open_few_shot("fss", write_fss(tmp_path))
    wheel = fold.names.index("wheel")
    figures = evaluate_few_shot(fold, lambda picture, label: bright(picture, label) & (label == wheel))
    assert figures.per_class_iou.tolist() == [float(name == "wheel") for name in sorted(FSS_NAMES)]


def test_the_truth_is_brought_to_the_answers_size(tmp_path):
    fold = open_few_shot("fss", write_fss(tmp_path))
    figures = evaluate_few_shot(fold, lambda picture, label: bright(picture, label).repeat(2, axis=0).repeat(3, axis=1))
    assert (figures.miou, figures.union.sum() % 6) == (1, 0)


def test_pascals_borders_are_left_out_of_the_loop_too(tmp_path):
    fold = open_few_shot("pascal", write_pascal(tmp_path))
    fold = replace(fold, queries=fold.queries[:7])
    calls = iter(range(len(fold)))
    figures = evaluate_few_shot(fold, lambda picture, label: fold[next(calls)][1] > 0)  # 255 is called the thing
    assert (figures.miou, figures.fb_iou) == (1, 1)


@pytest.mark.parametrize("kind", [ValueError, RuntimeError])
def test_an_error_of_the_network_names_the_picture(tmp_path, kind):
    fold = open_few_shot("fss", write_fss(tmp_path))

    def find(picture, label):
        raise kind("out of memory")

    with pytest.raises(kind, match=f"{fold.queries[0].picture}: out of memory"):
        evaluate_few_shot(fold, find)


def test_a_damaged_picture_ends_the_loop_by_name(tmp_path):
    fold = open_few_shot("fss", write_fss(tmp_path))
    fold.queries[5].mask.write_bytes(b"")
    with pytest.raises(ValueError, match=str(fold.queries[5].mask)):
        evaluate_few_shot(fold, bright)


# ------------------------------------------------------------------------------------------------------- interruptions


class Stopping:
    """`bright`, which is interrupted after a number of calls."""

    def __init__(self, calls: int):
        self.left, self.calls = calls, 0

    def __call__(self, picture, label):
        if not self.left:
            raise KeyboardInterrupt
        self.left, self.calls = self.left - 1, self.calls + 1
        return bright(picture, label)


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """A fold, and what is kept of 7 of its 33 pictures."""
    monkeypatch.setattr(few_shot, "_PAUSE", 0.0)
    fold = open_few_shot("fss", write_fss(tmp_path))
    (tmp_path / "logs").mkdir()

    def kept(**about) -> KeptFigures:
        return KeptFigures(tmp_path / "logs", {"weights": 1, **about}, open_few_shot("fss", tmp_path))

    with pytest.raises(KeyboardInterrupt):
        evaluate_few_shot(fold, Stopping(7), kept=kept())
    return fold, kept


def test_what_was_stopped_goes_on_where_it_was(stopped, tmp_path):
    fold, kept = stopped
    going_on = Stopping(100)
    figures = evaluate_few_shot(fold, going_on, kept=kept())
    assert going_on.calls == 33 - 7
    whole = evaluate_few_shot(fold, Stopping(100))
    assert np.array_equal(figures.union, whole.union)
    assert np.array_equal(figures.intersection, whole.intersection)
    assert not list((tmp_path / "logs").iterdir())


def test_what_another_evaluation_counted_is_not_taken(stopped):
    fold, kept = stopped
    other = Stopping(100)
    evaluate_few_shot(fold, other, kept=kept(weights=2))
    assert other.calls == 33


def test_a_changed_picture_begins_anew(stopped):
    fold, kept = stopped
    mask = fold.queries[2].mask
    mask.write_bytes(mask.read_bytes() + b"\0")
    anew = Stopping(100)
    evaluate_few_shot(fold, anew, kept=kept())
    assert anew.calls == 33


@pytest.mark.parametrize("spoil", [lambda content: content[: len(content) // 2], lambda content: b""])
def test_a_damaged_file_begins_anew(stopped, tmp_path, spoil):
    fold, kept = stopped
    (file,) = (tmp_path / "logs").iterdir()
    file.write_bytes(spoil(file.read_bytes()))
    anew = Stopping(100)
    evaluate_few_shot(fold, anew, kept=kept())
    assert anew.calls == 33

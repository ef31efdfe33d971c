"""The curves of a run."""

from __future__ import annotations

import gc

import matplotlib.figure
import numpy as np
import pytest

from ms_seg.training.curves import draw_curves, metrics_of, smoothed


def log(losses: np.ndarray, **metrics: list) -> list[dict]:
    lines = [{"step": step, "loss": loss, "learning_rate": 6e-5} for step, loss in enumerate(losses.tolist(), start=1)]
    rows = [dict(zip(metrics, row, strict=True)) for row in zip(*metrics.values(), strict=True)]
    return lines + [{"step": 10 * place, "classes": {"IoU.sky": 0.1}, **row} for place, row in enumerate(rows, start=1)]


@pytest.fixture
def panels(monkeypatch):
    """Draws, and gives the panels as they were drawn."""
    drawn = []
    subplots = matplotlib.figure.Figure.subplots

    def keep(figure, *shape, **options):
        drawn[:] = [figure, *subplots(figure, *shape, **options)]
        return drawn[1:]

    monkeypatch.setattr(matplotlib.figure.Figure, "subplots", keep)

    def draw(*arguments, **options):
        draw_curves(*arguments, **options)
        return drawn

    return draw


def test_every_metric_of_every_validation_has_a_curve_and_classes_have_none():
    metrics = metrics_of(log(np.ones(3), mIoU=[0.1, None, 0.3], mAcc=[0.2, 0.4, 0.5]))
    assert {name: values.tolist() for name, (_, values) in metrics.items()} == {
        "mIoU": [0.1, 0.3],
        "mAcc": [0.2, 0.4, 0.5],
    }
    assert metrics["mIoU"][0].tolist() == [10, 30]


def test_panels_are_scaled_to_their_data_and_one_wild_loss_does_not_hide_the_rest(panels):
    losses = np.random.default_rng(0).uniform(0.5, 1.0, 1000)
    losses[500] = 900.0
    _, loss, _, validation = panels(log(losses, mIoU=[0.40, 0.42, 0.41]))
    assert 0.4 < loss.get_ylim()[0] and loss.get_ylim()[1] < 1.2
    assert 0.39 < validation.get_ylim()[0] and validation.get_ylim()[1] < 0.43


def test_a_loss_that_falls_by_decades_is_logarithmic_with_plain_ticks(panels):
    _, loss, *_ = panels(log(np.geomspace(100, 0.1, 200)))
    assert loss.get_yscale() == "log"
    assert "$" not in "".join(text.get_text() for text in loss.get_yticklabels())


def test_a_loss_within_a_decade_or_two_still_has_numbers_beside_it(panels):
    _, loss, *_ = panels(log(np.geomspace(0.6, 0.03, 200)))
    low, high = loss.get_ylim()
    ticks = zip(loss.get_yticks(minor=True), loss.get_yticklabels(minor=True), strict=True)
    written = [label.get_text() for tick, label in ticks if low < tick < high and label.get_text()]
    assert written == ["0.05", "0.2", "0.5"]


def test_the_best_step_is_marked_and_the_run_named(panels):
    figure, _, _, validation = panels(log(np.ones(9), mIoU=[0.40, 0.42]), 20, "segformer in runs/garden")
    assert [text.get_text() for text in validation.texts] == ["best: step 20, mIoU 0.4200"]
    assert figure.get_suptitle() == "segformer in runs/garden"


def test_the_best_step_is_marked_with_the_figure_that_it_was_chosen_by(panels):
    lines = log(np.ones(9), mIoU=[0.40, 0.42], mAcc=[0.7, 0.6])
    lines = [line | ({"classes": {"IoU.road": 0.9}} if "mIoU" in line else {}) for line in lines]
    for figure, said in (("mAcc", "mAcc 0.7000"), ("IoU.road", "IoU.road 0.9000")):
        *_, validation = panels(lines, 10, best_figure=figure)
        assert [text.get_text() for text in validation.texts] == [f"best: step 10, {said}"]


def test_the_smoothed_curve_is_the_mean_of_parts():
    steps, means = smoothed(np.arange(100), np.arange(100) % 2 * 1.0)
    assert len(steps) == 50 and np.all(means == 0.5)


@pytest.mark.parametrize(("steps", "lines"), [(40, 1), (60, 2)])
def test_the_loss_of_few_steps_is_one_plain_line(panels, steps, lines):
    _, loss, *_ = panels(log(np.linspace(2, 1, steps)))
    assert len(loss.lines) == lines and loss.lines[-1].get_alpha() is None


@pytest.mark.parametrize("lines", [[], log(np.ones(1)), log(np.zeros(0), mIoU=[0.5])])
def test_a_run_of_few_steps_is_drawn(lines):
    assert draw_curves(lines).width > 500


def test_nothing_of_a_drawing_stays_in_memory():
    gc.collect()
    gc.disable()
    try:
        draw_curves(log(np.ones(9), mIoU=[0.4]))
        before = len(gc.get_objects())
        for _ in range(3):
            draw_curves(log(np.ones(9), mIoU=[0.4]))
        assert len(gc.get_objects()) - before < 1000
    finally:
        gc.enable()

"""Which classes are learned, over time: legible for many classes and many validations."""

from __future__ import annotations

import math

import numpy as np

from ms_seg.training.class_figure import arranged, draw_classes
from ms_seg.training.journal import CLASS_CURVES, Journal


def measured(step: int, classes: int = 150) -> dict[str, float | None]:
    figures: dict[str, float | None] = {f"IoU.class {place}": (place + step) / 200 for place in range(classes)}
    return {**figures, "IoU.never": None, "Acc.class 0": 1.0}


def test_classes_stand_from_the_best_to_the_worst_and_what_never_occurred_last():
    kind, names, steps, values = arranged([(step, measured(step)) for step in (10, 20, 30)])
    assert (kind, len(names), names[0], names[-2:], steps) == (
        "IoU",
        151,
        "class 149",
        ["class 0", "never"],
        [10, 20, 30],
    )
    assert np.allclose(values[0], [159 / 200, 169 / 200, 179 / 200]) and np.isnan(values[-1]).all()


def test_many_validations_are_thinned_out_and_the_last_one_kept():
    _, _, steps, _ = arranged([(step, {"PQ.sky": 0.5}) for step in range(1, 200)])
    assert len(steps) <= 30 and steps[0] == 1 and steps[-1] == 199


def test_every_class_has_a_line_of_its_own():
    image = draw_classes([(step, measured(step)) for step in (10, 20, 30)])
    assert image.height > 151 * 18 and image.width > 200
    rows = {np.asarray(image)[y].tobytes() for y in range(58, image.height - 12, 20)}
    assert len(rows) > 140  # of one pixel's height, below the numbers


def test_a_run_leaves_it_after_every_validation(tmp_path):
    with Journal(tmp_path, 0) as journal:
        journal.draw()
        assert not (tmp_path / CLASS_CURVES).exists()
        journal.write(step=1, mIoU=0.5, classes={"IoU.sky": 0.5, "IoU.road": math.nan})
        journal.draw()
    assert (tmp_path / CLASS_CURVES).is_file()

"""The journal of a run: what is kept for a person and for TensorBoard, over an interruption too."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ms_seg.training.curves import metrics_of
from ms_seg.training.journal import CURVES, EVENTS, LOG, PICTURES, Journal
from tests.training.event_files import shown


def picture(shade: int) -> Image.Image:
    return Image.fromarray(np.full((6, 9, 3), shade, np.uint8))


def write(run: Path, first: int, last: int, loss: float, tensorboard: bool = True) -> None:
    """The steps of one process, which validates after the third."""
    with Journal(run, first - 1, tensorboard) as journal:
        for step in range(first, last + 1):
            journal.write(step=step, loss=loss, learning_rate=1 / step, images_per_second=2.5)
            if step == 3:
                journal.write(step=step, mIoU=0.25, classes={"IoU.sky": 0.5})
                journal.show(step, picture(int(100 * loss)), "step 3: mIoU 0.2500")


def test_tensorboard_gets_what_the_log_gets(tmp_path):
    write(tmp_path, 1, 4, 0.5)
    content = shown(tmp_path / EVENTS)
    assert content["loss"] == {1: 0.5, 2: 0.5, 3: 0.5, 4: 0.5}
    assert content["learning_rate"] == pytest.approx({step: 1 / step for step in range(1, 5)})
    assert content["images_per_second"] == {step: 2.5 for step in range(1, 5)}
    assert content["mIoU"] == {3: 0.25}
    (image,) = content["validation"].values()
    assert np.array_equal(np.array(Image.open(io.BytesIO(image)))[-6:, 4:13], np.array(picture(50)))


def test_steps_that_a_resumed_run_takes_again_are_forgotten(tmp_path):
    write(tmp_path, 1, 5, 0.5)
    write(tmp_path, 3, 4, 1.0)  # of the first process, a checkpoint kept steps 1 and 2
    assert len(list((tmp_path / EVENTS).iterdir())) == 2
    content = shown(tmp_path / EVENTS)
    assert content["loss"] == {1: 0.5, 2: 0.5, 3: 1.0, 4: 1.0}
    assert list(content["validation"]) == [3]
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert {line["step"]: line["loss"] for line in lines if "loss" in line} == content["loss"]


def test_pictures_are_kept_by_step_under_what_was_measured(tmp_path):
    write(tmp_path, 1, 3, 0.5, tensorboard=False)
    (file,) = (tmp_path / PICTURES).iterdir()
    assert file.name == "00000003.png"
    kept = np.array(Image.open(file))
    assert kept.shape[0] > 6 and np.all(kept[-6:, 4:13] == 50)
    assert kept[:-6].min() < 100  # the title
    assert not (tmp_path / EVENTS).exists()


def test_what_is_no_number_is_null_and_left_out_of_the_curves(tmp_path):
    with Journal(tmp_path, 0) as journal:
        for step, loss in ((1, 1.0), (2, float("nan")), (3, float("inf"))):
            journal.write(step=step, loss=loss, learning_rate=0.1, images_per_second=1.0)
        journal.write(step=3, mIoU=float("nan"), classes={"IoU.sky": float("nan"), "IoU.road": 0.5})
        journal.draw()
    lines = [json.loads(line, parse_constant=pytest.fail) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [line.get("loss") for line in lines] == [1.0, None, None, None]
    assert lines[-1] == {"step": 3, "mIoU": None, "classes": {"IoU.sky": None, "IoU.road": 0.5}}


def test_the_table_of_the_classes_is_kept(tmp_path):
    with Journal(tmp_path, 0) as journal:
        assert journal.keep_table(3, "class IoU").read_text() == "class IoU\n"
    assert [path.name for path in (tmp_path / PICTURES).iterdir()] == ["00000003.txt"]


def test_a_resumed_run_s_curves_show_what_was_before(tmp_path):
    write(tmp_path, 1, 3, 0.5, tensorboard=False)
    with Journal(tmp_path, 3) as journal:
        journal.draw(3, "a_model")
        assert list(metrics_of(journal.lines)) == ["mIoU"]
    assert Image.open(tmp_path / CURVES).width > 500

"""The journal of a run: what is kept for a person and for TensorBoard, over an interruption too."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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
                journal.write(step=step, mIoU=0.25)
                journal.show(step, picture(int(100 * loss)))


def test_tensorboard_gets_what_the_log_gets(tmp_path):
    write(tmp_path, 1, 4, 0.5)
    content = shown(tmp_path / EVENTS)
    assert content["loss"] == {1: 0.5, 2: 0.5, 3: 0.5, 4: 0.5}
    assert content["learning_rate"] == pytest.approx({step: 1 / step for step in range(1, 5)})
    assert content["images_per_second"] == {step: 2.5 for step in range(1, 5)}
    assert content["mIoU"] == {3: 0.25}
    (image,) = content["validation"].values()
    assert np.array_equal(np.array(Image.open(io.BytesIO(image))), np.array(picture(50)))


def test_steps_that_a_resumed_run_takes_again_are_forgotten(tmp_path):
    write(tmp_path, 1, 5, 0.5)
    write(tmp_path, 3, 4, 1.0)  # of the first process, a checkpoint kept steps 1 and 2
    assert len(list((tmp_path / EVENTS).iterdir())) == 2
    content = shown(tmp_path / EVENTS)
    assert content["loss"] == {1: 0.5, 2: 0.5, 3: 1.0, 4: 1.0}
    assert list(content["validation"]) == [3]
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert {line["step"]: line["loss"] for line in lines if "loss" in line} == content["loss"]


def drawn_curves(journal: Journal) -> dict[str, dict[int, float]]:
    """What the panels of the curves show, by the name beside the axis or in the legend."""
    content = {}
    for panel in journal.curves().axes:
        for line in panel.get_lines():
            name = panel.get_ylabel() if line.get_label().startswith("_") else line.get_label()
            content[name] = dict(zip(*(values.tolist() for values in line.get_data()), strict=True))
    return content


def test_the_curves_show_every_metric_of_every_validation(tmp_path):
    with Journal(tmp_path, 0) as journal:
        for step in (1, 2, 3, 4):
            journal.write(step=step, loss=1 / step, learning_rate=step / 8, images_per_second=2.5, loss_scale=512)
            if step == 1:
                assert drawn_curves(journal).keys() == {"loss", "learning rate"}
            if step % 2 == 0:
                journal.write(step=step, PQ=step / 10, PQ_things=0.5)
        assert drawn_curves(journal) == {
            "loss": {1: 1, 2: 1 / 2, 3: 1 / 3, 4: 1 / 4},
            "learning rate": {1: 0.125, 2: 0.25, 3: 0.375, 4: 0.5},
            "PQ": {2: 0.2, 4: 0.4},
            "PQ_things": {2: 0.5, 4: 0.5},
        }
        labels = [text.get_text() for text in journal.curves().axes[-1].get_legend().get_texts()]
        assert labels == ["PQ", "PQ_things"]
        journal.draw()
    assert Image.open(tmp_path / CURVES).width > 500


def test_pictures_are_kept_by_step_and_tensorboards_files_only_where_asked_for(tmp_path):
    write(tmp_path, 1, 3, 0.5, tensorboard=False)
    (file,) = (tmp_path / PICTURES).iterdir()
    assert file.name == "00000003.png"
    assert Image.open(file).size == (9, 6)
    assert not (tmp_path / EVENTS).exists()

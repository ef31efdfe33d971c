"""`python -m ms_seg demo`: what is embedded is what PyTorch ran."""

import numpy as np
import pytest

import ms_seg
from ms_seg.commands import demo
from ms_seg.data.datasets import open_dataset, open_for_task
from ms_seg.data.drawn.phrases import unseen_phrases
from ms_seg.data.semantic import first_pictures
from ms_seg.evaluation.panoptic.predictions import ModelPanopticMaps
from ms_seg.evaluation.panoptic.quality import PanopticQuality
from ms_seg.evaluation.semantic.confusion import ConfusionMatrix
from ms_seg.presets import find_preset
from tests.commands.command_line import run, written


def test_the_embedded_checkpoint_is_the_model_that_pytorch_ran_and_another_takes_words(tmp_path, capsys):
    assert run("demo", "--output", tmp_path, "--labels", "red circle,grass") == 0
    printed = capsys.readouterr().out
    assert float(printed.split("mIoU against the truth: ")[1].split()[0]) > 0.85
    assert "by words: grass, red circle (never seen together)" in printed
    overlays = {"shapes_1.overlay.png", "shapes_2.overlay.png", "shapes_1.words.overlay.png"}
    assert overlays <= set(written(tmp_path))


def test_its_words_are_told_apart_in_pairs_that_training_never_showed():
    scenes = first_pictures(open_dataset("shapes_coloured", None, "validation").in_words(), 40)
    model = ms_seg.create_model(demo.WORDS_MODEL, find_preset(demo.WORDS_MODEL).embedded)
    _, segment = ms_seg.Segmenter(model).for_dataset(scenes)
    matrix = ConfusionMatrix(len(scenes.label_set))
    for index in range(len(scenes)):
        matrix.update(segment(scenes.picture(index)).label_map, scenes.label_map(index))
    unseen = [name in unseen_phrases("colour") for name in scenes.label_set.names]
    assert np.nanmean(matrix.per_class_iou[unseen]) > 0.6


def test_its_things_and_stuff_are_told_apart_in_pictures_that_training_never_showed():
    scenes = first_pictures(open_for_task("shapes_panoptic", None, "validation"), 20)
    segmenter = ms_seg.Segmenter(ms_seg.create_model(demo.PANOPTIC_MODEL, find_preset(demo.PANOPTIC_MODEL).embedded))
    predictions, quality = ModelPanopticMaps(segmenter, scenes), PanopticQuality(scenes.label_set)
    for index in range(len(scenes)):
        quality.update(predictions[index], scenes.panoptic(index))
    assert quality.average().pq > 0.5


def test_another_model_than_pytorchs_fails(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "MAX_ERROR", 0.0)
    assert run("demo", "--output", tmp_path) == 1
    assert "not the model that PyTorch ran" in capsys.readouterr().err


def test_the_error_is_relative():
    ours, theirs = np.float32([[3.0, 4.0]]), np.float32([[3.0, 4.5]])
    assert demo.relative_error(ours, theirs) == pytest.approx(0.5 / np.hypot(3, 4.5))
    assert demo.relative_error(ours, np.zeros((1, 3), np.float32)) == float("inf")

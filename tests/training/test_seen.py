"""What the network is shown, as a person sees it: pictures as they were before normalisation, and their labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ms_seg.answers.drawing import labels
from ms_seg.presets import find_preset
from ms_seg.training import seen
from ms_seg.training.seen import draw_seen
from ms_seg.training.step import Replicated

PRESET = find_preset("segformer_tiny_shapes")


@pytest.fixture
def drawn(monkeypatch):
    """What is put on the sheet."""
    told = []
    monkeypatch.setattr(seen, "draw_sheet", lambda *what, **how: told.append(what) or labels.draw_sheet(*what, **how))
    return told


def test_pictures_and_label_maps_are_those_of_the_batch(drawn):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (2, 16, 24, 3), np.uint8)
    rule = PRESET.preprocessing
    images = ((pictures - np.array(rule.mean)) / np.array(rule.std)).transpose(0, 3, 1, 2).astype(np.float32)
    label_maps = rng.integers(0, 9, (2, 16, 24)).astype(np.int32)
    label_maps[0, 0] = 255
    sheet = draw_seen((images, label_maps), PRESET)
    ((pairs, label_set, counts),) = drawn
    for pair, picture, label_map in zip(pairs, pictures, label_maps, strict=True):
        assert np.array_equal(pair.picture, picture) and np.array_equal(pair.label_map, label_map)
    assert len(label_set) == 9 and counts[255] == 24 and counts.sum() == 2 * 16 * 24
    assert sheet.width >= 1000


def test_masks_are_drawn_as_the_classes_that_they_stand_for(drawn):
    masks = np.zeros((1, 3, 8, 8), np.uint8)
    masks[0, 0, :4], masks[0, 1, :, 6:], masks[0, 2] = 1, 1, 1
    draw_seen((np.zeros((1, 3, 8, 8), np.float32), np.array([[5, 2, -1]], np.int32), masks), PRESET)
    ((pairs, _, _),) = drawn
    assert pairs[0].label_map[[0, 0, 7, 7], [0, 7, 7, 0]].tolist() == [5, 2, 2, 255]


def test_classes_without_names_are_numbered(drawn):
    batch = np.zeros((1, 3, 8, 8), np.float32), np.full((1, 8, 8), 3, np.int32), Replicated(np.zeros((4, 2)))
    draw_seen(batch, replace(PRESET, label_set=None))
    ((_, label_set, _),) = drawn
    assert label_set.names == ("class 0", "class 1", "class 2", "class 3")


def test_classes_that_the_batch_does_not_show_are_not_listed():
    heights = []
    for shown in (2, 150):
        label_map = np.resize(np.arange(shown, dtype=np.int32), (1, 16, 16))
        sheet = draw_seen((np.zeros((1, 3, 16, 16), np.float32), label_map), find_preset("segformer_b0_ade20k"))
        heights.append(sheet.height)
    assert heights[0] < 400 < 600 < heights[1]

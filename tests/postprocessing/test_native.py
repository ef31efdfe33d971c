"""Label maps and masks in C: NumPy's to the last pixel, on any number of cores, and done without where none is."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ms_seg.cells.compiler import shared_library
from ms_seg.data.preprocessing import Geometry
from ms_seg.postprocessing import native
from ms_seg.postprocessing.instance import instance_inference
from ms_seg.postprocessing.logits import Logits, best_classes, label_pixels
from ms_seg.postprocessing.panoptic import panoptic_inference
from ms_seg.postprocessing.queries import Queries, sigmoid
from ms_seg.postprocessing.resizing import Taps
from ms_seg.postprocessing.rules import RULES
from ms_seg.postprocessing.semantic import semantic_inference

ROOT = Path(__file__).resolve().parents[2]


def drawn(classes: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(classes).normal(0, 3, (classes, height, width)).astype(np.float32)


GEOMETRIES = {
    "at once": (drawn(150, 16, 22), Geometry((64, 87), (64, 87), (64, 87)), False),
    "by way of a padded input": (drawn(19, 12, 17), Geometry((70, 100), (45, 64), (48, 68)), True),
    "stretched by way of the input": (drawn(150, 32, 32), Geometry((128, 171), (128, 128), (128, 128)), True),
    "half as large again": (drawn(12, 30, 40), Geometry((45, 60), (45, 60), (45, 60)), False),
    "twice as large": (drawn(12, 30, 40), Geometry((60, 80), (64, 96), (64, 96)), True),
    "reduced": (drawn(5, 40, 60), Geometry((21, 33), (80, 120), (80, 120)), True),
    "reduced to every third column": (drawn(5, 8, 9), Geometry((16, 11), (48, 33), (48, 33)), True),
    "values larger than the input": (drawn(7, 50, 90), Geometry((37, 52), (33, 47), (40, 60)), True),
    "values of the picture's size": (drawn(3, 20, 40), Geometry((20, 40), (20, 40), (20, 40)), False),
    "narrow": (drawn(4, 30, 2), Geometry((120, 7), (120, 8), (128, 8)), True),
    "a point": (drawn(2, 1, 1), Geometry((1, 1), (32, 32), (32, 32)), False),
    "one class": (drawn(1, 4, 4), Geometry((16, 16), (16, 16), (16, 16)), False),
    "many rows between two of the values": (drawn(21, 3, 4), Geometry((150, 210), (150, 210), (150, 210)), False),
    "the same by way of the input": (drawn(21, 6, 8), Geometry((300, 410), (48, 64), (48, 64)), True),
    "most classes negligible": (drawn(40, 12, 16) * 4, Geometry((96, 128), (48, 64), (48, 64)), True),
    "values far apart": (drawn(40, 12, 16) * 50, Geometry((96, 128), (96, 128), (96, 128)), False),
    "a thousand classes": (drawn(1000, 4, 9), Geometry((19, 40), (16, 36), (16, 36)), True),
}


@pytest.fixture(autouse=True)
def compiled():
    assert native.available(), "the tests' machine has a C compiler"


@pytest.mark.parametrize("shares", [False, True], ids=["softmax", "shares"])
@pytest.mark.parametrize("case", GEOMETRIES)
def test_labels_are_those_of_numpy_to_the_last_pixel(case: str, shares: bool):
    values, geometry, via_input = GEOMETRIES[case]
    logits = Logits(abs(values) if shares else values, geometry, via_input)
    labels, scores = label_pixels(logits, shares)
    with native.disabled():
        expected_labels, expected_scores = label_pixels(logits, shares)
    np.testing.assert_array_equal(labels, expected_labels)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)


def test_values_may_lie_in_memory_in_any_order():
    values = abs(drawn(9, 20, 30))  # (C, rows, columns), which windows hold the other way round
    both = [best_classes(array, shares=True) for array in (values.transpose(1, 2, 0), values.transpose(1, 2, 0).copy())]
    for ours, others in zip(*both, strict=True):
        np.testing.assert_array_equal(ours, others)
    np.testing.assert_array_equal(both[0][0], values.argmax(axis=0))


def test_of_equal_values_the_first_class_is_chosen():
    values = np.zeros((40, 8, 8), np.float32)
    values[[17, 33]] = 5
    labels, scores = label_pixels(Logits(values, Geometry((30, 30), (32, 32), (32, 32)), via_input=True))
    assert np.all(labels == 17)
    assert scores[17] == pytest.approx(1 / (2 + 38 * np.exp(-5)), abs=1e-6)


def test_values_far_apart_neither_overflow_nor_vanish():
    values = np.float32([3e38, -3e38, 3e38]).reshape(3, 1, 1)
    labels, scores = label_pixels(Logits(values, Geometry((2, 2), (1, 1), (1, 1)), via_input=True))
    assert not labels.any()
    assert scores.tolist() == [0.5, 0, 0]


CROSSING = {  # values of the classes in two rows
    "one rises from where it is too low to be counted": [[0, 0], [-100, 7]],
    "a third one is the highest where two cross": [[0, -80], [-80, 0], [-25, -25], [-26, -25]],
    "all are too low to be counted in between": [[300, -300], [-300, 300], [-310, -310]],
}


@pytest.mark.parametrize("case", CROSSING)
def test_scores_between_two_rows_are_those_of_numpy_however_steep_values_are(case: str):
    values = np.float32(CROSSING[case])[..., None]
    logits = Logits(values, Geometry((30, 1), (30, 1), (30, 1)), via_input=False)
    labels, scores = label_pixels(logits)
    with native.disabled():
        expected_labels, expected_scores = label_pixels(logits)
    np.testing.assert_array_equal(labels, expected_labels)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-5)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not let a process choose its cores")
def test_the_answer_does_not_depend_on_the_number_of_cores():
    code = """
import os, sys, numpy as np
os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: int(sys.argv[1])]))
from ms_seg.data.preprocessing import Geometry
from ms_seg.postprocessing.logits import Logits, label_pixels
values = np.random.default_rng(0).normal(0, 3, (60, 64, 64)).astype(np.float32)
labels, scores = label_pixels(Logits(values, Geometry((240, 250), (256, 256), (256, 256)), via_input=True))
sys.stdout.buffer.write(labels.tobytes() + scores.tobytes())
"""
    one, several = (
        subprocess.run([sys.executable, "-c", code, count], cwd=ROOT, capture_output=True, check=True).stdout
        for count in ("1", "64")
    )
    assert one and one == several


def test_disabling_is_for_the_thread_that_does_it_and_ends_with_an_error():
    with ThreadPoolExecutor(1) as other, native.disabled():
        assert other.submit(native.available).result()
        assert not native.available()
    with pytest.raises(KeyError), native.disabled():
        raise KeyError
    assert native.available()


def test_a_compiler_that_fails_leaves_nothing_behind(tmp_path, monkeypatch, caplog):
    compiler = tmp_path / "broken"
    compiler.write_text("#!/bin/sh\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with caplog.at_level(logging.INFO, "ms_seg"):
        assert shared_library("nothing", [], []) is None
    assert "nothing could not be compiled" in caplog.text
    assert not list((tmp_path / "cache" / "ms_seg").iterdir())


def test_label_maps_in_c_need_no_mindspore():
    code = "import sys; from ms_seg.postprocessing import native\n"
    code += "sys.exit(not native.available() or 'mindspore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_without_a_compiler_numpy_answers(monkeypatch):
    values, geometry, via_input = GEOMETRIES["reduced"]
    expected = label_pixels(Logits(values, geometry, via_input))[0]
    monkeypatch.setattr(native, "_library", lambda: None)
    assert not native.available()
    np.testing.assert_array_equal(label_pixels(Logits(values, geometry, via_input))[0], expected)


def drawn_queries(geometry: Geometry) -> Queries:
    """Six blobs, each of a class of its own, and as many queries that saw nothing."""
    rng = np.random.default_rng(3)
    height, width = (side // 4 for side in geometry.padded)
    y, x = np.mgrid[:height, :width]
    middles = rng.uniform(0, 1, (12, 2, 1, 1)) * [[[height]], [[width]]]
    far = ((y - middles[:, 0]) / (0.3 * height)) ** 2 + ((x - middles[:, 1]) / (0.2 * width)) ** 2
    masks = np.clip(9 * (1 - far), -200, 9) + rng.normal(0, 0.5, far.shape)
    classes = rng.normal(0, 1, (12, 9))
    classes[np.arange(12), np.r_[np.arange(6), [8] * 6]] += 9
    return Queries(classes.astype(np.float32), masks.astype(np.float32), geometry)


@pytest.mark.parametrize("picture", [(70, 100), (200, 333), (20, 31)], ids=["alike", "larger", "smaller"])
@pytest.mark.parametrize("rule", RULES)
def test_answers_of_queries_are_those_of_numpy(rule: str, picture: tuple[int, int]):
    queries, things = drawn_queries(Geometry(picture, (112, 160), (128, 160))), [True] * 5 + [False] * 3

    def answers():
        panoptic = panoptic_inference(queries, things, RULES[rule])
        instances = instance_inference(queries, things, RULES[rule])
        masks = [instances.mask(place) for place in range(len(instances))]
        return panoptic, instances, masks, semantic_inference(queries, RULES[rule])

    ours = answers()
    with native.disabled():
        expected = answers()
    np.testing.assert_array_equal(ours[0].segment_map, expected[0].segment_map)
    assert ours[0].segments == expected[0].segments != ()
    np.testing.assert_allclose(ours[1].scores, expected[1].scores, atol=1e-7)
    np.testing.assert_array_equal(ours[2], expected[2])
    np.testing.assert_array_equal(ours[3][0], expected[3][0])
    np.testing.assert_allclose(ours[3][1], expected[3][1], atol=1e-6)


def test_masks_are_the_sigmoids_of_numpy_to_the_last_bit_but_a_few():
    logits = np.float32([[-200, -104, -88.5, -20, -1, -1e-8, 0, 1e-8, 1, 20, 88.5, 200]]).repeat(9, 0)
    logits = np.concatenate((logits, np.random.default_rng(0).normal(0, 8, (9, 20_000)).astype(np.float32)), axis=1)
    here = tuple(Taps.between(side, side) for side in logits.shape[::-1])
    ours = native.resize_maps(logits[None], [here], sigmoid=True)[0]
    assert np.mean(ours != sigmoid(logits)) < 1e-5
    np.testing.assert_allclose(ours, sigmoid(logits), rtol=2e-7)

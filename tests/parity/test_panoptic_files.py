"""The files of a panoptic answer, read by panopticapi."""

from __future__ import annotations

import contextlib
import io
import json
import sys

import numpy as np
import pytest
import wheels

from ms_seg.answers.segments import PanopticAnswer
from ms_seg.label_sets import read_labels
from ms_seg.postprocessing.panoptic import Panoptic, PanopticSegment

PANOPTICAPI = ("panopticapi-lite", "0.2.0")  # panopticapi itself is not on PyPI; but for white space this is its code


@pytest.fixture(scope="module")
def compute():
    folder = wheels.unpacked(*PANOPTICAPI)
    sys.path.insert(0, str(folder))
    try:
        from panopticapi.evaluation import pq_compute_single_core
    finally:
        sys.path.remove(str(folder))
    return pq_compute_single_core


def squares(number: int) -> PanopticAnswer:
    """Squares of things and stuff of COCO, many of one class, and void between them."""
    rng = np.random.default_rng(number)
    segment_map = (np.arange(48).reshape(6, 8) % 41).repeat(11, axis=0).repeat(11, axis=1).astype(np.int32)
    things, stuff = rng.choice(80, 3)[rng.integers(0, 3, 30)], 80 + rng.choice(53, 10, replace=False)
    found = tuple(PanopticSegment(int(label), 0.9) for label in (*things, *stuff))
    picture = np.zeros((*segment_map.shape, 3), np.uint8)
    source = f"{number:012}.jpg"
    return PanopticAnswer(
        picture, read_labels("coco_panoptic"), "a_model", source, panoptic=Panoptic(segment_map, found)
    )


def test_panopticapi_reads_the_files_and_finds_what_is_in_them(compute, tmp_path):
    pairs = []
    for number in (1, 2):
        paths = squares(number).save(tmp_path)
        content = json.loads(paths[3].read_text())
        categories = {category["id"]: category for category in content["categories"]}
        pairs.append((content["annotations"][0], json.loads(paths[3].read_text())["annotations"][0]))
    with contextlib.redirect_stdout(io.StringIO()):
        counts = compute(0, pairs, tmp_path, tmp_path, categories)
    averages, per_class = counts.pq_average(categories, isthing=None)
    assert averages["pq"] == averages["rq"] == 1
    assert sum(counts.pq_per_cat[number].tp for number in categories) == 80
    assert {number for number, found in per_class.items() if found["pq"]} == {
        info["category_id"] for truth, _ in pairs for info in truth["segments_info"]
    }

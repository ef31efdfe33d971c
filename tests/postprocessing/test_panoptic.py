"""From queries to a panoptic map."""

import tracemalloc

import numpy as np
import pytest

from ms_seg.data.preprocessing import Geometry
from ms_seg.postprocessing import queries as of_queries
from ms_seg.postprocessing.panoptic import panoptic_inference
from ms_seg.postprocessing.queries import Queries
from ms_seg.postprocessing.rules import RULES

THINGS = (True, True, False)
PERSON, CAR, SKY = range(3)
NOTHING = len(THINGS)


def queries_of(masks: list[np.ndarray], labels: list[int], scores: list[float], geometry: Geometry | None = None):
    """Queries that are where a mask (h, w) bool is."""
    classes = np.full((len(labels), NOTHING + 1), -30, np.float32)
    classes[:, NOTHING] = np.log(1 - np.array(scores))
    classes[np.arange(len(labels)), labels] = np.log(scores)
    logits = np.where(masks, 8, -8).astype(np.float32)
    size = logits.shape[1:]
    return Queries(classes, logits, geometry or Geometry(size, size, size))


def columns(*spans: tuple[int, int], width: int = 40) -> list[np.ndarray]:
    masks = np.zeros((len(spans), 30, width), bool)
    for mask, (left, right) in zip(masks, spans, strict=True):
        mask[:, left:right] = True
    return list(masks)


def test_things_of_a_class_stay_apart_and_stuff_is_one():
    masks = columns((0, 10), (10, 20), (20, 30), (30, 40))
    answer = panoptic_inference(
        queries_of(masks, [PERSON, SKY, PERSON, SKY], [0.9, 0.95, 0.95, 0.85]), THINGS, RULES["mmdet"]
    )
    assert [(segment.label, segment.instance) for segment in answer.segments] == [(PERSON, 1), (SKY, 0), (PERSON, 2)]
    assert answer.segment_map[0].tolist() == [1] * 10 + [2] * 10 + [3] * 10 + [2] * 10
    assert [segment.score for segment in answer.segments] == pytest.approx([0.9, 0.9, 0.95], abs=1e-6)


def test_transformers_merges_no_stuff_and_asks_less_of_a_score():
    masks = columns((0, 20), (20, 40))
    queries = queries_of(masks, [SKY, SKY], [0.9, 0.6])
    assert len(panoptic_inference(queries, THINGS, RULES["transformers"]).segments) == 2
    assert len(panoptic_inference(queries, THINGS, RULES["mmdet"]).segments) == 1


def test_a_segment_that_is_mostly_hidden_is_dropped_and_leaves_a_hole():
    masks = columns((0, 30), (20, 40))
    answer = panoptic_inference(queries_of(masks, [CAR, PERSON], [0.99, 0.9]), THINGS, RULES["mmdet"])
    assert [segment.label for segment in answer.segments] == [CAR]
    assert not answer.segment_map[:, 30:].any()


def test_nothing_and_unsure_queries_are_left_out():
    masks = columns((0, 20), (20, 40))
    answer = panoptic_inference(queries_of(masks, [NOTHING, PERSON], [0.99, 0.75]), THINGS, RULES["mmdet"])
    assert answer.segments == ()
    assert not answer.segment_map.any()
    assert answer.segment_map.shape == (30, 40)


def test_the_map_has_the_pictures_size_and_no_padding():
    geometry = Geometry((300, 440), (120, 152), (120, 160))
    masks = columns((0, 19), (19, 40))
    answer = panoptic_inference(queries_of(masks, [CAR, PERSON], [0.9, 0.9], geometry), THINGS, RULES["mmdet"])
    assert answer.segment_map.shape == (300, 440)
    border = 440 * 76 / 152
    assert np.all(answer.segment_map[:, : int(border) - 6] == 1)
    assert np.all(answer.segment_map[:, int(border) + 6 :] == 2)


@pytest.mark.parametrize("rule", RULES)
def test_tiles_are_seamless(rule, monkeypatch):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:30, :40]
    masks = [np.hypot(y - rng.uniform(0, 30), x - rng.uniform(0, 40)) < rng.uniform(2, 12) for _ in range(20)]
    queries = queries_of(masks, [PERSON, CAR] * 10, [0.9, 0.97] * 10, Geometry((211, 290), (120, 160), (120, 160)))
    queries.mask_logits[:] += rng.standard_normal(queries.mask_logits.shape)
    whole = panoptic_inference(queries, THINGS, RULES[rule])
    assert len(whole.segments) > 2
    monkeypatch.setattr(of_queries, "_TILE", 24)
    monkeypatch.setattr(of_queries, "_CACHE_BYTES", 1)
    parts = panoptic_inference(queries, THINGS, RULES[rule])
    assert np.array_equal(whole.segment_map, parts.segment_map)
    assert whole.segments == parts.segments


def test_a_large_picture_takes_little_memory():
    geometry = Geometry((1500, 2000), (120, 160), (120, 160))
    queries = queries_of(columns(*((left, left + 2) for left in range(0, 40, 2))), [PERSON] * 20, [0.9] * 20, geometry)
    tracemalloc.start()
    assert len(panoptic_inference(queries, THINGS, RULES["mmdet"]).segments) == 20
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60e6  # all masks at once are 240 MB

"""Names on segments, and the legend of their classes."""

import numpy as np
import pytest

from ms_seg.answers.drawing import legend, names, segments
from ms_seg.answers.drawing.segments import draw_segments
from ms_seg.label_sets import LabelSet

NAMES = ("cat", "person", "sky", "butterfly")
LABELS = LabelSet(
    NAMES, np.uint8([[200, 0, 0], [0, 200, 0], [0, 0, 200], [200, 200, 0]]), things=(True, True, False, True)
)
CLASSES = [0, 0, 2]
BLACK = np.zeros((480, 640, 3), np.uint8)


def thirds(height: int = 480, width: int = 640) -> np.ndarray:
    return (np.arange(width) * 3 // width + 1).astype(np.int32)[None].repeat(height, axis=0)


@pytest.fixture
def written(monkeypatch):
    """The names that are drawn: text, and where its middle is."""
    texts = []
    monkeypatch.setattr(names, "write_outlined", lambda image, place, text, *_style: texts.append((text, *place)))
    return texts


@pytest.fixture
def entries(monkeypatch):
    """The legend's lines: name, shares in words, tone."""
    lines = []

    def with_legend(overlay, given):
        lines.extend((entry.name, entry.text, entry.tone) for entry in legend.folded(given))
        return overlay

    monkeypatch.setattr(segments, "with_legend", with_legend)
    return lines


def test_each_name_stands_on_its_segment(written):
    draw_segments(BLACK, thirds(), CLASSES, LABELS)
    assert sorted(name for name, *_ in written) == ["cat", "cat", "sky"]
    for (name, x, y), segment in zip(sorted(written, key=lambda row: row[1]), (1, 2, 3), strict=True):
        assert thirds()[int(y), int(x)] == segment
        assert name == NAMES[CLASSES[segment - 1]]


def test_scores_stand_beside_the_names_of_things(written):
    draw_segments(BLACK, thirds(), CLASSES, LABELS, np.array([0.923, 0.5, 0.9]))
    assert sorted(name for name, *_ in written) == ["cat 0.50", "cat 0.92", "sky"]


def test_names_do_not_cover_each_other(written):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:480, :640]
    segment_map = np.zeros((480, 640), np.int32)
    for number in range(1, 60):
        segment_map[np.hypot(y - rng.uniform(0, 480), x - rng.uniform(0, 640)) < 45] = number
    draw_segments(BLACK, segment_map, [1] * 59, LABELS)
    assert len(written) > 15
    places = np.array([place for _, *place in written])
    apart = np.abs(places[:, None] - places[None])
    np.fill_diagonal(apart[..., 0], 999)
    assert np.all((apart[..., 0] > 30) | (apart[..., 1] > 9))


def test_a_segment_without_room_is_left_to_the_legend(written):
    segment_map = np.ones((480, 640), np.int32)
    segment_map[200:204, 300:304] = 2
    draw_segments(BLACK, segment_map, [2, 3], LABELS)
    assert [name for name, *_ in written] == ["sky"]


def test_the_legend_counts_the_segments_of_a_class(entries):
    draw_segments(BLACK, thirds(), CLASSES, LABELS)
    assert [line[:2] for line in entries] == [("cat (2)", "66.7%"), ("sky", "33.3%")]
    assert entries[0][2].tolist() == [100, 0, 0]  # what the area looks like


def test_the_legend_says_what_has_no_segment(entries):
    draw_segments(np.full_like(BLACK, 90), np.where(thirds() == 2, 0, thirds()), CLASSES, LABELS)
    assert [line[:2] for line in entries] == [("cat", "33.4%"), ("sky", "33.3%"), ("no segment", "33.3%")]
    assert entries[2][2].tolist() == [90, 90, 90]


def test_a_thing_is_in_the_legend_however_small_it_is(entries):
    segment_map = np.ones((480, 640), np.int32)
    segment_map[:4, :4], segment_map[8:12, :4] = 2, 3
    draw_segments(BLACK, segment_map, [2, 0, 3], LABELS)
    assert [line[0] for line in entries] == ["sky", "cat", "butterfly"]


def test_nothing_found_is_said(monkeypatch):
    lines = []
    monkeypatch.setattr(legend, "write", lambda image, place, text, *_style: lines.append(text))
    picture = np.full_like(BLACK, 77)
    overlay = np.asarray(draw_segments(picture, np.zeros((480, 640), np.int32), [], LABELS, np.zeros(0)))
    assert lines[0] == "nothing found"
    assert np.all(overlay[:480] == 77)


def test_the_legend_can_be_left_out(entries):
    assert draw_segments(BLACK, thirds(), CLASSES, LABELS, legend=False).size == (640, 480)
    assert not entries


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (700, 3)])
def test_any_shape_can_be_drawn(size):
    image = draw_segments(np.zeros((*size, 3), np.uint8), np.ones(size, np.int32), [0], LABELS)
    assert image.width >= size[1]
    assert image.height >= size[0]

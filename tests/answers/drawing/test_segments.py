"""Names on segments, and the legend of their classes."""

import numpy as np
import pytest
from PIL import ImageDraw

from ms_seg.answers.drawing import segments
from ms_seg.answers.drawing.segments import draw_segments

COLOURS = np.uint8([[200, 0, 0], [120, 0, 0], [0, 0, 200]])
CLASSES, NAMES = [0, 0, 5], ["cat", "cat", "sky"]


def thirds(height: int = 480, width: int = 640) -> np.ndarray:
    return (np.arange(width) * 3 // width + 1).astype(np.int32)[None].repeat(height, axis=0)


@pytest.fixture
def written(monkeypatch):
    """The names that are drawn: text, and where its middle is."""
    texts = []
    monkeypatch.setattr(segments, "with_legend", lambda overlay, entries: overlay)
    original = ImageDraw.ImageDraw.text

    def text(self, position, given, *arguments, **keywords):
        texts.append((given, *position))
        return original(self, position, given, *arguments, **keywords)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return texts


def test_each_name_stands_on_its_segment(written):
    draw_segments(np.zeros((480, 640, 3), np.uint8), thirds(), CLASSES, NAMES, COLOURS)
    assert sorted(name for name, *_ in written) == ["cat", "cat", "sky"]
    for (name, x, y), segment in zip(sorted(written, key=lambda row: row[1]), (1, 2, 3), strict=True):
        assert thirds()[int(y), int(x)] == segment
        assert name == NAMES[segment - 1]


def test_names_do_not_cover_each_other(written):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:480, :640]
    segment_map = np.zeros((480, 640), np.int32)
    for number in range(1, 60):
        segment_map[np.hypot(y - rng.uniform(0, 480), x - rng.uniform(0, 640)) < 45] = number
    colours = rng.integers(0, 255, (59, 3)).astype(np.uint8)
    draw_segments(np.zeros((480, 640, 3), np.uint8), segment_map, [0] * 59, ["person"] * 59, colours)
    assert len(written) > 15
    places = np.array([place for _, *place in written])
    apart = np.abs(places[:, None] - places[None])
    np.fill_diagonal(apart[..., 0], 999)
    assert np.all((apart[..., 0] > 30) | (apart[..., 1] > 9))


def test_a_segment_without_room_is_left_to_the_legend(written):
    segment_map = np.ones((480, 640), np.int32)
    segment_map[200:204, 300:304] = 2
    draw_segments(np.zeros((480, 640, 3), np.uint8), segment_map, [0, 1], ["wall", "butterfly"], COLOURS[:2])
    assert [name for name, *_ in written] == ["wall"]


def test_the_legend_counts_the_segments_of_a_class(monkeypatch):
    entries = []
    monkeypatch.setattr(segments, "with_legend", lambda overlay, given: entries.extend(given))
    draw_segments(np.zeros((480, 640, 3), np.uint8), thirds(), CLASSES, NAMES, COLOURS)
    assert [(entry.name, entry.share) for entry in entries] == [("cat (2)", "66.7%"), ("sky", "33.3%")]
    assert entries[0].colour.tolist() == [200, 0, 0]


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (700, 3)])
def test_any_shape_can_be_drawn(size):
    image = draw_segments(np.zeros((*size, 3), np.uint8), np.ones(size, np.int32), [0], ["cat"], COLOURS[:1])
    assert image.width >= size[1]
    assert image.height >= size[0]

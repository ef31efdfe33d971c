"""The overlay and its legend."""

import numpy as np
import pytest

from ms_seg.answers.drawing import legend as legends
from ms_seg.answers.drawing import names, semantic
from ms_seg.answers.drawing.semantic import draw_comparison, draw_overlay
from ms_seg.label_sets import LabelSet, read_labels

RED_BLUE = LabelSet(("red thing", "blue thing"), np.uint8([[200, 0, 0], [0, 0, 200]]))


def halves(height: int, width: int, left: int = 0, right: int = 1) -> np.ndarray:
    label_map = np.full((height, width), left, np.int32)
    label_map[:, width // 2 :] = right
    return label_map


def legend(monkeypatch, label_map, label_set) -> list:
    entries = []
    monkeypatch.setattr(semantic, "with_legend", lambda overlay, given: entries.extend(given))
    draw_overlay(np.zeros((*label_map.shape, 3), np.uint8), label_map, label_set)
    return entries


def test_the_picture_shines_through_the_colours():
    picture = np.full((500, 600, 3), 100, np.uint8)
    overlay = np.asarray(draw_overlay(picture, halves(500, 600), RED_BLUE))
    assert overlay[250, 100].tolist() == [150, 50, 50]
    assert overlay[250, 500].tolist() == [50, 50, 150]


def test_a_thin_border_parts_the_classes():
    overlay = np.asarray(draw_overlay(np.zeros((500, 600, 3), np.uint8), halves(500, 600), RED_BLUE))
    white = np.all(overlay[:200, :600] == 255, axis=2)  # above the names
    assert white[:, 300].all()
    assert white.sum() == 200


@pytest.mark.parametrize(
    ("size", "canvas_grows"), [((500, 600), "downwards"), ((600, 500), "to the right"), ((3000, 4000), "downwards")]
)
def test_the_legend_stands_beside_the_picture_at_its_own_size(size, canvas_grows):
    canvas = draw_overlay(np.zeros((*size, 3), np.uint8), halves(*size), RED_BLUE)
    if canvas_grows == "downwards":
        assert canvas.width == size[1]
        assert size[0] < canvas.height < size[0] * 1.2
    else:
        assert canvas.height == size[0]
        assert size[1] < canvas.width < size[1] * 1.5


def test_a_small_picture_is_magnified_by_a_whole_number():
    canvas = draw_overlay(np.zeros((64, 64, 3), np.uint8), halves(64, 64), RED_BLUE)
    assert canvas.width == 448


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
def test_any_shape_can_be_drawn(size):
    canvas = draw_overlay(np.zeros((*size, 3), np.uint8), np.zeros(size, np.int32), RED_BLUE)
    assert canvas.width >= size[1]
    assert canvas.height >= size[0]


def test_the_legend_lists_the_largest_class_first_with_its_share(monkeypatch):
    label_map = np.zeros((100, 200), np.int32)
    label_map[:75] = 1
    label_map[0, 0] = 2
    entries = legend(monkeypatch, label_map, RED_BLUE)
    assert [(entry.name, entry.text) for entry in entries] == [
        ("blue thing", "75.0%"),
        ("red thing", "25.0%"),
        ("no class", "<0.1%"),
    ]


def test_every_entry_is_drawn_in_the_tone_of_its_area():
    label_map = np.arange(150, dtype=np.int32).reshape(10, 15).repeat(40, axis=0).repeat(40, axis=1)
    picture = np.random.default_rng(0).integers(60, 200, (400, 600, 3)).astype(np.uint8)
    canvas = np.asarray(draw_overlay(picture, label_map, read_labels("ade20k")))
    drawn = {tuple(colour) for colour in canvas[400:].reshape(-1, 3).tolist()}
    blocks = canvas[:400].reshape(10, 40, 15, 40, 3)[:, 2:-2, :, 2:-2].mean(axis=(1, 3)).reshape(-1, 3)
    assert all(any(np.abs(np.subtract(tone, block)).max() < 12 for tone in drawn) for block in blocks)


def test_a_class_has_one_colour_whatever_else_is_in_the_picture():
    labels = read_labels("ade20k")
    black = np.zeros((500, 600, 3), np.uint8)
    for index in (20, 97, 149):
        colours = {
            tuple(np.asarray(draw_overlay(black, halves(500, 600, index, other), labels))[50, 50])
            for other in (0, 33, 98, 148)
        }
        assert len(colours) == 1


def test_a_very_small_class_has_no_name_on_the_picture_and_a_large_one_has(monkeypatch):
    written = []
    monkeypatch.setattr(names, "write_outlined", lambda image, place, text, *_style: written.append((text, *place)))
    label_map = halves(500, 600)
    label_map[20:25, 300:500] = 2
    draw_overlay(np.zeros((500, 600, 3), np.uint8), label_map, RED_BLUE)
    assert sorted(name for name, *_ in written) == ["blue thing", "red thing"]
    for name, x, y in written:
        assert RED_BLUE.names[label_map[int(y), int(x)]] == name


def test_classes_below_half_a_per_cent_share_a_line(monkeypatch):
    label_map = np.zeros((100, 200), np.int32)
    label_map[0, :80] = np.arange(1, 9).repeat(10)
    labels = read_labels("ade20k")
    canvas = []
    monkeypatch.setattr(legends, "write", lambda image, place, text, *_style: canvas.append(text))
    draw_overlay(np.zeros((100, 200, 3), np.uint8), label_map, labels)
    assert canvas == ["wall", "99.6%", "8 more", "0.4%"]


def test_opacity_and_legend_can_be_chosen():
    picture = np.full((500, 600, 3), 100, np.uint8)
    bare = np.asarray(draw_overlay(picture, halves(500, 600), RED_BLUE, opacity=0, legend=False))
    assert bare.shape == picture.shape
    assert bare[100, 100].tolist() == [100, 100, 100]
    assert np.asarray(draw_overlay(picture, halves(500, 600), RED_BLUE, opacity=1))[100, 100].tolist() == [200, 0, 0]


def test_the_legend_of_a_very_wide_picture_can_be_read_when_it_is_seen_as_a_whole():
    canvas = draw_overlay(np.zeros((100, 4000, 3), np.uint8), halves(100, 4000), RED_BLUE)
    assert canvas.width == 4000
    ink = np.flatnonzero((np.asarray(canvas)[100:] < 100).all(axis=2).any(axis=1))
    assert np.ptp(ink) > 4000 / 120


def test_a_strip_of_few_rows_is_made_high_enough_to_see():
    overlay = draw_overlay(np.zeros((2, 3000, 3), np.uint8), halves(2, 3000), RED_BLUE, legend=False)
    assert overlay.size == (3000, 24)


def test_a_very_long_name_is_shortened(monkeypatch):
    labels = LabelSet(("word " * 40,), np.uint8([[200, 0, 0]]))
    (entry,) = legend(monkeypatch, np.zeros((50, 50), np.int32), labels)
    assert len(entry.name) == 32
    assert entry.name.endswith("…")


def test_a_comparison_shows_picture_truth_and_prediction_in_one_set_of_colours():
    truth, prediction = np.zeros((320, 480), np.uint8), np.zeros((320, 480), np.int32)
    truth[:, 240:], prediction[:, 240:], truth[:40] = 1, 171, 255
    picture = np.full((320, 480, 3), 255, np.uint8)
    image = np.array(draw_comparison(picture, truth, prediction, read_labels("cocostuff164k")))
    panels = [image[32:352, 4 + offset : 484 + offset].astype(int) for offset in (0, 488, 976)]
    assert np.all(panels[0] == 255)
    assert np.array_equal(panels[1][200, 100], panels[2][200, 100])  # right: the same colour
    assert not np.array_equal(panels[1][200, 400], panels[2][200, 400])  # wrong
    assert panels[2][200, 400].tolist() == pytest.approx([192] * 3, abs=1)  # the 172nd output: no class, grey
    for panel in panels[1:]:
        assert panel[20, 100].tolist() == pytest.approx([128] * 3, abs=1)  # ignored: black


@pytest.mark.parametrize("size", [(1, 1), (5, 900), (700, 30)])
def test_pictures_of_any_size_can_be_compared(size):
    labels = np.zeros(size, np.uint8)
    image = draw_comparison(np.zeros((*size, 3), np.uint8), labels, labels, read_labels("ade20k"))
    assert image.width >= 3
    assert image.height > 32

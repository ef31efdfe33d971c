"""Text in pictures is legible in any script that a font of the machine has, and says so where none has."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from PIL import Image

from ms_seg.answers.drawing import text
from ms_seg.answers.drawing.labels import draw_label_map
from ms_seg.answers.drawing.panels import titled
from ms_seg.label_sets import LabelSet

CHINESE = "\u4eba\u884c\u9053"


@pytest.fixture
def _no_fonts(monkeypatch):
    """A machine whose fonts have nothing but European scripts."""
    files = text._font_files()[:1]
    monkeypatch.setattr(text, "_font_files", lambda: files)
    for kept in (text._font_file, text._in_own_font, text._say_missing, text._mask, text.box_of):
        kept.cache_clear()
    yield
    text._font_file.cache_clear()


def written(word: str) -> bytes:
    image = Image.new("RGB", (400, 40), "white")
    text.write(image, (5, 20), word, 20, "lm", text.INK)
    return image.tobytes()


@pytest.mark.parametrize("words", [("\u00e9t\u00e9", "\u00f1t\u00f1"), ("\u0434\u043e\u043c", "\u0441\u0430\u0434")])
def test_letters_beyond_ascii_are_written_as_themselves(words):
    """In Pillow's own font both words would be the same row of boxes."""
    one, other = map(written, words)
    assert one != other and text.length_of(words[0], 20) > 10
    assert text.legible(words[0], 3) == words[0]


@pytest.mark.usefixtures("_no_fonts")
def test_a_class_whose_name_no_font_has_is_shown_by_its_number_and_that_is_said_once(caplog):
    labels = LabelSet(("grass", CHINESE, CHINESE[:2]), np.array([[0, 255, 0], [255, 0, 0], [0, 0, 255]], np.uint8))
    label_map = np.repeat(np.arange(3, dtype=np.uint8), 400).reshape(30, 40)
    with caplog.at_level(logging.WARNING):
        drawn = draw_label_map(label_map, labels)
    numbered = LabelSet(("grass", "class 1", "class 2"), labels.palette)
    assert drawn.tobytes() == draw_label_map(label_map, numbered).tobytes()
    assert [record.getMessage()[:40] for record in caplog.records] == ["no font here has the letters of some cla"]


@pytest.mark.usefixtures("_no_fonts")
def test_other_text_that_no_font_has_is_written_by_the_numbers_of_its_letters():
    assert written(CHINESE) == written("\\u4eba\\u884c\\u9053")


def test_a_title_that_is_too_long_loses_its_middle():
    name = "a camera's name 0000123 left"
    assert text.fitted(name, 16, 1000) == name
    shown = text.fitted(name, 16, 120)
    begin, end = shown.split("…")
    assert name.startswith(begin) and name.endswith(end) and text.length_of(shown, 16) <= 120
    assert min(len(begin), len(end)) > 4
    narrow = titled(np.zeros((400, 20, 3), np.uint8), name)
    assert 100 < narrow.width < 130

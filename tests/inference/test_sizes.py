"""Inputs of fixed sizes, as devices need them."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import ms_seg
from ms_seg.__main__ import main
from ms_seg.data.preprocessing import fixed_size, network_input
from ms_seg.inference import Segmenter
from ms_seg.presets import Preprocessing, Window, find_preset
from tests.toy_model import PRESET, QUERY_PRESET, ColourQueries, StrongestChannel


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 255, (height, width, 3), np.uint8)


@pytest.mark.parametrize("model", [StrongestChannel, ColourQueries])
def test_a_network_that_sees_no_padding_gives_the_same_answers(model):
    """Of these every output sees 4x4 pixels alone."""
    padded, free = Segmenter(model(), sizes=[(64, 64), (96, 128)]), Segmenter(model())
    for sides in ((64, 64), (48, 64), (60, 100), (96, 128)):
        ours, theirs = padded(picture(*sides)), free(picture(*sides))
        np.testing.assert_array_equal(ours.label_image(), theirs.label_image())
    assert padded.padded == 2


def test_each_size_is_compiled_once_and_no_other(caplog):
    segmenter = Segmenter(StrongestChannel(), sizes=[(32, 32), (48, 48), (64, 64), (96, 96)])
    with caplog.at_level(logging.INFO, "ms_seg"):
        for side in (32, 40, 48, 60, 64, 70, 96, 33):
            segmenter(picture(side, side))
    compiled = [record.getMessage() for record in caplog.records]
    assert [line.split(" for ", 1)[1] for line in compiled] == [
        f"{side}x{side}, once for this input size" for side in (32, 48, 64, 96)
    ]


def test_an_input_is_padded_with_zeros_to_the_smallest_size_that_holds_it():
    rule = replace(PRESET.preprocessing, pad_multiple=4)
    images, geometry = network_input(picture(50, 60), rule, [(128, 128), (64, 96), (64, 64), (40, 200)])
    assert geometry.padded == (64, 64) and geometry.resized == (50, 60)
    assert not images[0, :, 50:].any() and not images[0, :, :, 60:].any() and images[0, :, :50, :60].any()


def test_a_picture_that_fits_no_size_is_one_that_failed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ms_seg, "create_model", lambda *_, **__: StrongestChannel())
    Image.fromarray(picture(64, 64)).save(tmp_path / "a.png")
    Image.fromarray(picture(48, 64)).save(tmp_path / "b.png")
    Image.fromarray(picture(200, 64)).save(tmp_path / "c.png")
    output = tmp_path / "out"
    assert main(["segment", str(tmp_path), "--checkpoint", "x", "--sizes", "64x64", "--output", str(output)]) == 1
    said = capsys.readouterr()
    assert "c.png: its input of 200x64 must fit into 64x64: none is as large" in said.err
    assert "1 pictures were padded to one of --sizes: their answers differ a little" in said.out


@pytest.mark.parametrize(
    ("rule", "size"),
    [
        (Preprocessing("squash", 100, pad_multiple=32), (128, 128)),
        (Preprocessing("stretch", 64, 96), (64, 96)),
        (find_preset("lseg_vitl16_text_driven").preprocessing, (640, 640)),
        (Preprocessing("keep_ratio"), None),
    ],
)
def test_a_rule_may_give_every_picture_one_size(rule, size):
    assert fixed_size(rule) == size
    if size:
        assert all(network_input(picture(*sides), rule)[1].padded == size for sides in ((30, 90), (90, 30)))


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        (StrongestChannel(), {"window": Window(32, 32)}, "sizes are for inputs seen at once"),
        (StrongestChannel(), {"augment": True}, "sizes are for inputs seen at once"),
        (ColourQueries(), {"sizes": [(64, 62)]}, "must be multiples of 4: 64x62 are not"),
        (
            StrongestChannel(replace(PRESET, preprocessing=replace(PRESET.preprocessing, resize="squash"))),
            {},
            "are 512x512, whatever the picture",
        ),
    ],
)
def test_sizes_that_mean_nothing_are_refused(model, options, sentence):
    assert QUERY_PRESET.preprocessing.pad_multiple == 4
    with pytest.raises(ValueError, match=sentence):
        Segmenter(model, **{"sizes": [(64, 64)], **options})


@pytest.mark.parametrize("text", ["64", "0x64", "64x64,", "64x99999"])
def test_sizes_are_height_x_width(text, capsys):
    with pytest.raises(SystemExit):
        main(["segment", "a.png", "--sizes", text])
    assert "must be height x width in pixels" in capsys.readouterr().err

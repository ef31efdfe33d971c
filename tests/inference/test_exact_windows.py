"""A network that takes images of one size alone: every picture is answered by windows of that size, and none is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from PIL import Image

import ms_seg
from convert.progress import ProgressBar
from ms_seg import Segmenter
from ms_seg.__main__ import main
from ms_seg.data.preprocessing import Geometry, network_input
from ms_seg.inference.outputs import Input
from ms_seg.presets import Window, find_preset
from ms_seg.systems import Model

NAME = "vit_adapter_beit_l_cocostuff164k"
SIDE = 64
SMALL: dict[str, Any] = {
    "channels": 16, "depth": 4, "heads": 2, "grid": SIDE // 16, "deform_heads": 2, "prior_width": 4,
    "num_classes": 5, "queries": 8, "width": 32, "decoder_heads": 2, "pixel_layers": 1, "pixel_hidden": 32,
    "query_layers": 1, "query_hidden": 32, "short_side": SIDE, "long_side": SIDE + 32,
}  # fmt: skip


@pytest.fixture(scope="module")
def model() -> Model:
    ms.set_seed(0)
    return ms_seg.create_model(NAME, **SMALL)


@pytest.fixture(scope="module")
def segmenter(model: Model) -> Segmenter:
    return Segmenter(model)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


def test_the_window_follows_the_grid_of_the_networks_positions(segmenter: Segmenter):
    assert find_preset(NAME).window == Window(896, 512, exact=True)
    assert segmenter.window == Window(64, 36, exact=True)
    assert find_preset(NAME).override(grid=4, window=Window(64, 40)).window == Window(64, 40)
    other_backbone = ("vit_adapter", {**find_preset(NAME).backbone[1], "grid": 4})
    assert find_preset(NAME).override(backbone=other_backbone).window == Window(64, 36, exact=True)
    assert find_preset(NAME).override(num_classes=7).window == Window(896, 512, exact=True)
    assert find_preset("lseg_vitl16_ade20k").override(grid=12).window is None


@pytest.mark.parametrize("size", [(40, 50), (90, 61), (7, 150)], ids=lambda size: "x".join(map(str, size)))
def test_a_picture_of_any_shape_is_answered_at_its_own_size(segmenter: Segmenter, size: tuple[int, int]):
    answer = segmenter(noise(*size))
    assert answer.label_map.shape == size
    assert 0 <= answer.label_map.min() <= answer.label_map.max() < 5


def test_another_stride_is_taken_and_its_windows_are_exact(model: Model):
    assert Segmenter(model, "pynative", Window(SIDE, 20)).window == Window(SIDE, 20, exact=True)


@pytest.mark.parametrize("exact", [False, True])
def test_windows_of_another_size_are_refused(model: Model, exact: bool):
    with pytest.raises(ValueError, match=f"{NAME} takes windows of 64x64 alone: it cannot be shown windows of 48"):
        Segmenter(model, "pynative", Window(48, 40, exact))


def test_a_model_that_is_to_see_whole_pictures_is_refused():
    with pytest.raises(ValueError, match=f"{NAME} takes windows of 64x64 alone: it cannot be shown a whole picture at"):
        Segmenter(ms_seg.create_model(NAME, **SMALL, window=None), "pynative")


def test_a_window_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"window must be a ms_seg\.presets\.Window or None: 64 is not"):
        find_preset(NAME).override(window=64)


def test_a_strip_is_padded_and_what_the_padding_is_said_to_be_is_cut_off(segmenter: Segmenter):
    """Scaled until its long side fits, it is lower than a window: of the published sizes, wider than four to one."""
    picture = noise(25, 96)
    (image,), geometry = network_input(picture, segmenter.preset.preprocessing)
    assert image.shape == (3, 32, 96) and geometry.padded == (32, 96)
    padded = np.zeros((3, SIDE, 96), np.float32)
    padded[:, :32] = image
    seen = Input(picture, padded, Geometry((SIDE, 96), (SIDE, 96), (SIDE, 96)))
    (whole,) = segmenter.network([seen], None, segmenter.window)
    strip = segmenter.predict(picture)
    assert strip.logits().values.shape == (5, 32, 96)
    np.testing.assert_array_equal(strip.logits().values, whole.logits().values[:, :32])


class TestCommandLine:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch, model: Model):
        monkeypatch.setattr(ms_seg, "create_model", lambda name, checkpoint=None, **fields: model)

    @pytest.fixture
    def picture(self, tmp_path: Path) -> Path:
        Image.fromarray(noise(20, 150)).save(tmp_path / "strip.png")
        return tmp_path / "strip.png"

    def segment(self, picture: Path, *more: str) -> int:
        out = str(picture.parent / "out")
        return main(["segment", str(picture), "--checkpoint", "x.pth", "--mode", "pynative", "--output", out, *more])

    def test_windows_need_no_option_and_the_bar_moves_with_them(self, picture: Path, monkeypatch: pytest.MonkeyPatch):
        parts: list[tuple[float, str]] = []
        monkeypatch.setattr(ProgressBar, "part", lambda self, *part: parts.append(part))
        assert self.segment(picture) == 0
        assert np.array(Image.open(picture.parent / "out" / "strip.labels.png")).shape == (20, 150)
        assert parts == [(0.5, "window 1 of 2"), (1.0, "window 2 of 2")]

    def test_things_cannot_be_asked_for(self, picture: Path, capsys: pytest.CaptureFixture[str]):
        assert self.segment(picture, "--task", "panoptic") == 2
        assert capsys.readouterr().err.endswith(f"{NAME} gives semantic answers and no panoptic ones\n")

"""`python -m ms_seg evaluate` with ViT-Adapter's rows: pictures by exact windows, each dataset in its own classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mindspore import Tensor, nn, ops
from PIL import Image

import ms_seg
from ms_seg.__main__ import main
from ms_seg.label_sets import read_labels
from ms_seg.presets import Preset, Window, find_preset
from ms_seg.systems import Model

SIDE = 64
PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "short_side": 96, "long_side": 160}  # no picture is scaled


class _OneSize(nn.Cell):
    side = SIDE

    def __init__(self):
        super().__init__()
        self.pool = nn.AvgPool2d(kernel_size=4, stride=4)

    def construct(self, images: Tensor) -> Tensor:
        assert images.shape[2:] == (SIDE, SIDE)
        return self.pool(images)


class GreyLevels(Model):
    """A query for each class: it is where the picture's grey level is the index of the class."""

    def __init__(self, preset: Preset):
        super().__init__()
        self.preset, count = preset, preset.num_classes
        self.backbone = _OneSize()
        self.classes = Tensor(np.pad(9 * np.eye(count, dtype=np.float32), ((0, 0), (0, 1)))[None])
        self.levels = Tensor(np.arange(count, dtype=np.float32).reshape(1, count, 1, 1))

    def construct(self, images: Tensor) -> tuple[Tensor, Tensor]:
        grey = self.backbone(images)[:, :1]
        return self.classes + 0 * grey.mean(), 9 - 18 * ops.abs(grey - self.levels)


def write(root: Path, dataset: str, classes: int) -> Path:
    """Two pictures of stripes: one is lower than a window, the other takes several."""
    pictures, labels, ending, first = {
        "ade20k": ("images/validation", "annotations/validation", ".png", 1),
        "cocostuff164k": ("images/val2017", "annotations/val2017", "_labelTrainIds.png", 0),
        "folder": ("images/validation", "labels/validation", ".png", 0),
    }[dataset]
    for number, size in enumerate([(20, 160), (96, 160)]):
        stripes = np.random.default_rng(number).permutation(classes)[:10].repeat(16).astype(np.uint8)
        truth = np.broadcast_to(stripes, size)
        for folder, name, image in (
            (pictures, f"{number}.png", np.stack([truth] * 3, axis=2)),
            (labels, f"{number}{ending}", truth + np.uint8(first)),
        ):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(root / folder / name)
    numbered = (f"{value} {name}\n" for value, name in enumerate(read_labels("cityscapes").names))
    (root / "labels.txt").write_text("".join(numbered))
    return root


@pytest.fixture
def evaluate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Evaluates such a network under a model's name."""

    def run(name: str, dataset: str, *more: str) -> int:
        preset = find_preset(name).override(**PLAIN, window=Window(SIDE, 40, exact=True))
        monkeypatch.setattr(ms_seg, "create_model", lambda *_, **__: GreyLevels(preset))
        data = write(tmp_path / "data", dataset, preset.num_classes)
        options = ["--checkpoint", "x.pth", "--mode", "pynative", "--dataset", dataset, "--data", str(data)]
        return main(["evaluate", *options, "--output", str(tmp_path / "out"), *more])

    return run


@pytest.mark.parametrize(
    ("name", "dataset"),
    [
        ("vit_adapter_beit_l_cocostuff164k", "cocostuff164k"),
        ("vit_adapter_beit_l_ade20k_czczup", "ade20k"),
        ("vit_adapter_beit_l_cityscapes_czczup", "folder"),
    ],
)
def test_every_pixel_is_found_and_the_windows_are_told(evaluate, tmp_path: Path, name: str, dataset: str):
    assert evaluate(name, dataset) == 0
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (found["pictures"], found["aAcc"], found["mIoU"]) == (2, 1, 1)
    assert found["slide"] == {"crop": SIDE, "stride": 40}


def test_another_stride_can_be_asked_for_and_another_crop_cannot(evaluate, tmp_path: Path, capsys):
    name = "vit_adapter_beit_l_cocostuff164k"
    assert evaluate(name, "cocostuff164k", "--slide", "--stride", "60") == 0
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["slide"] == {"crop": SIDE, "stride": 60}
    capsys.readouterr()
    assert evaluate(name, "cocostuff164k", "--slide", "--crop", "48") == 2
    error = capsys.readouterr().err
    assert error.endswith(f"{name} takes windows of 64x64 alone: it cannot be shown windows of 48x48\n")
    assert error.count("\n") == 1


def test_a_dataset_of_other_classes_is_refused(evaluate, capsys):
    assert evaluate("vit_adapter_beit_l_cityscapes_czczup", "ade20k") == 2
    assert "tells cityscapes's 19 classes apart (road, sidewalk, building, ...)" in capsys.readouterr().err

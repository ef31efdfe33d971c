"""From a hub's name to the answer: one command, one call."""

import json

import numpy as np
import pytest
from PIL import Image

import ms_seg
from ms_seg.__main__ import main
from ms_seg.presets import ASSETS

WEIGHTS = (ASSETS / "segformer_tiny_shapes.pth").read_bytes()
PICTURE = ASSETS / "shapes_1.png"


@pytest.fixture
def expected():
    model = ms_seg.create_model("auto", ASSETS / "segformer_tiny_shapes.pth")
    return ms_seg.Segmenter(model, "pynative")(PICTURE).label_map


@pytest.mark.parametrize("option", ["--model", "--checkpoint"])
def test_one_command_from_a_name_on_hugging_face_to_the_answer(huggingface, option, expected, tmp_path, capsys):
    huggingface.models["someone/shapes"] = {"README.md": b"# Shapes", "pytorch_model.bin": WEIGHTS}
    arguments = ["--mode", "pynative", "--output", str(tmp_path / "out")]
    assert main(["segment", str(PICTURE), option, "hf:someone/shapes", *arguments]) == 0
    labels = np.array(Image.open(tmp_path / "out" / "shapes_1.labels.png"))
    np.testing.assert_array_equal(labels, expected)
    assert json.loads((tmp_path / "out" / "shapes_1.segments.json").read_text())["segments"]
    assert "segmented by segformer_tiny_shapes" in capsys.readouterr().out
    assert huggingface.files == ["pytorch_model.bin"]

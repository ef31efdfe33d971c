"""From a hub's name to the answer: one command, one call."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import ms_seg
from convert import open_checkpoint
from convert.__main__ import main as convert
from convert.writing import write_checkpoint
from ms_seg.__main__ import main
from ms_seg.hub import address
from ms_seg.presets import ASSETS, Published, find_preset
from tests.hub.servers import sha256

MODEL = "segformer_tiny_shapes"
WEIGHTS = (ASSETS / "segformer_tiny_shapes.pth").read_bytes()
PICTURE = ASSETS / "shapes_1.png"


@pytest.fixture(scope="module")
def expected():
    model = ms_seg.create_model("auto", ASSETS / "segformer_tiny_shapes.pth")
    return ms_seg.Segmenter(model, "pynative")(PICTURE).label_map


def segment(tmp_path, *arguments: str) -> np.ndarray:
    """The label map that the command writes."""
    output = ["--mode", "pynative", "--output", str(tmp_path / "out")]
    assert main(["segment", str(PICTURE), *arguments, *output]) == 0
    assert json.loads((tmp_path / "out" / "shapes_1.segments.json").read_text())["segments"]
    return np.array(Image.open(tmp_path / "out" / "shapes_1.labels.png"))


@pytest.mark.parametrize("option", ["--model", "--checkpoint"])
@pytest.mark.parametrize("prefix", ["hf", "ms"])
def test_one_command_from_a_name_to_the_answer(request, prefix, option, expected, tmp_path, capsys):
    hub = request.getfixturevalue({"hf": "huggingface", "ms": "modelscope"}[prefix])
    hub.models["someone/shapes"] = {"README.md": b"# Shapes", "pytorch_model.bin": WEIGHTS}
    labels = segment(tmp_path, option, f"{prefix}:someone/shapes")
    np.testing.assert_array_equal(labels, expected)
    assert f"segmented by {MODEL}" in capsys.readouterr().out
    assert hub.files == ["pytorch_model.bin"]


def test_a_published_name_needs_no_prefix_and_says_which_model_it_is(modelscope, monkeypatch):
    preset = find_preset(MODEL)
    here = Published("modelscope", "damo/shapes", "pytorch_model.pt")
    monkeypatch.setitem(address.PRESETS, MODEL, replace(preset, published=(here, *preset.published)))
    modelscope.models["iic/shapes"] = {"pytorch_model.pt": WEIGHTS, "other.pt": b""}
    for name in ("damo/shapes", "iic/shapes", "ms:damo/shapes"):
        assert ms_seg.create_model(name).preset.name == MODEL
    assert modelscope.files == ["pytorch_model.pt"]


def test_a_link_with_its_checksum_is_a_checkpoint(huggingface, monkeypatch, tmp_path):
    monkeypatch.setenv("MS_SEG_CACHE", str(tmp_path))
    huggingface.models["files"] = {"shapes.pth": WEIGHTS}
    link = f"{huggingface.url}/files/shapes.pth#sha256={sha256(WEIGHTS)}"
    assert ms_seg.create_model(MODEL, link).checkpoint.startswith(str(tmp_path))


def test_a_file_of_this_machine_goes_before_a_hubs_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "nvidia" / "segformer-b0-finetuned-ade-512-512"
    file.parent.mkdir()
    file.write_bytes(WEIGHTS)
    assert ms_seg.create_model("auto", "nvidia/segformer-b0-finetuned-ade-512-512").preset.name == MODEL


@pytest.mark.parametrize("name", ["hf:someone/other", "ms:someone/other", "someone/other", "hf:other"])
def test_a_name_that_leads_nowhere_is_one_sentence(huggingface, modelscope, name, tmp_path, capsys):
    assert main(["segment", str(PICTURE), "--model", name, "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("ms_seg segment: ") and error.count("\n") == 1


def test_a_model_without_its_weights_says_the_name_that_brings_them(capsys):
    assert main(["segment", str(PICTURE), "--model", "segformer_b0_ade20k"]) == 2
    assert "or pass --model nvidia/segformer-b0-finetuned-ade-512-512" in capsys.readouterr().err


def test_a_hubs_model_is_converted(huggingface, tmp_path, capsys):
    huggingface.models["someone/shapes"] = {"pytorch_model.bin": WEIGHTS}
    assert convert(["hf:someone/shapes", str(tmp_path / "shapes.ckpt")]) == 0
    assert f"-> {MODEL}:" in capsys.readouterr().out
    assert ms_seg.create_model("auto", tmp_path / "shapes.ckpt").preset.name == MODEL


def test_training_begins_with_a_hubs_model(modelscope, monkeypatch, tmp_path):
    """Its name says the model and the weights; where it does not, the model is asked for."""
    preset = find_preset(MODEL)
    monkeypatch.setitem(address.PRESETS, MODEL, replace(preset, published=(Published("modelscope", "damo/shapes"),)))
    modelscope.models["damo/shapes"] = {"pytorch_model.pt": WEIGHTS}
    begun = []
    monkeypatch.setattr("ms_seg.training.run.train", lambda model, *others, **named: begun.append((model, named)))
    options = ["--dataset", "shapes", "--output", str(tmp_path / "run"), "--workers", "0"]
    assert main(["train", "--model", "damo/shapes", *options]) == 0
    assert main(["train", "--model", MODEL, "--checkpoint", "damo/shapes", *options]) == 0
    for model, _ in begun:
        assert model.preset.name == MODEL and model.checkpoint.endswith("pytorch_model.pt")
    assert begun[1][1]["options"]["checkpoint"] == "damo/shapes"


def test_training_finds_out_what_an_unknown_name_holds(huggingface, capsys, monkeypatch, tmp_path):
    """A whole model is trained on as what it is; a part could be many models', and is asked about."""
    huggingface.models["someone/shapes"] = {"pytorch_model.bin": WEIGHTS}
    begun = []
    monkeypatch.setattr("ms_seg.training.run.train", lambda model, *others, **named: begun.append(model))
    options = ["--dataset", "shapes", "--output", str(tmp_path / "run"), "--workers", "0"]
    assert main(["train", "--model", "hf:someone/shapes", *options]) == 0
    assert begun[0].preset.name == MODEL and begun[0].checkpoint.endswith("pytorch_model.bin")
    with open_checkpoint(ASSETS / f"{MODEL}.pth") as tensors:
        backbone = {name: entry for name, entry in tensors.items() if name.startswith("segformer.")}
        write_checkpoint(tmp_path / "backbone.pth", backbone)
    assert main(["train", "--model", "auto", "--checkpoint", str(tmp_path / "backbone.pth"), *options]) == 2
    assert "holds a backbone alone: name the model that it is meant for" in capsys.readouterr().err

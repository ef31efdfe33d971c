"""The test's script: pictures by words, a dataset's figures or predictions, and a sentence for what is wrong."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

import ms_seg
from ms_seg.data import semantic
from ms_seg.inference import multi_eval
from ms_seg.text import Tokenizer
from tests.toy_model import WORD_PRESET, ColourWords

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "test_lseg.py"
LINE = ["--backbone", "clip_vitl16_384", "--weights", "demo.ckpt", "--widehead", "--no-scaleinv"]
COLOURS = {"red": (220, 30, 30), "green": (30, 220, 30), "blue": (30, 30, 220)}


@pytest.fixture
def script(tmp_path, monkeypatch) -> ModuleType:
    """The script as a module, in an empty folder, with a small network that knows colours for every model."""
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location("test_lseg_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    module.asked = []

    def create(name, checkpoint, **fields):
        module.asked.append((name, checkpoint, fields))
        return ColourWords(Tokenizer(tmp_path / "merges.txt"), replace(WORD_PRESET, name=name))

    monkeypatch.setattr(ms_seg, "create_model", create)
    small = multi_eval.MultiEval(52, 48, scales=(0.5, 1.0, 1.5))
    monkeypatch.setattr(module, "MultiEval", lambda *_: small)
    return module


def run(script: ModuleType, *more: str) -> int:
    return script.main([*LINE, "--vocab", "merges.txt", *more])


def stripes(*names: str, width: int = 24, height: int = 40) -> np.ndarray:
    return np.hstack([np.full((height, width, 3), COLOURS[name], np.uint8) for name in names])


def write_dataset(root: Path) -> Path:
    """Two pictures in the folders of a person's own dataset; the truth calls one blue stripe green."""
    root.mkdir()
    (root / "labels.txt").write_text("0 red\n1 green\n2 blue\n")
    for split in semantic.SPLITS:
        images, labels = root / "images" / split, root / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for number, names in enumerate((("red", "blue"), ("green", "blue"))):
            Image.fromarray(stripes(*names)).save(images / f"{number}.png")
            truth = [np.full((40, 24), {"red": 0, "green": 1, "blue": 1}[name], np.uint8) for name in names]
            Image.fromarray(np.hstack(truth)).save(labels / f"{number}.png")
    return root


def test_a_picture_is_segmented_by_the_words_and_drawn_with_the_originals_colours(script, tmp_path):
    Image.fromarray(stripes("red", "green", "blue")).save("flag.png")
    assert run(script, "--eval", "--label_src", "blue,green,red", "--pictures", "flag.png") == 0
    labels = Image.open(tmp_path / "outdir_ours" / "flag.labels.png")
    assert np.asarray(labels)[20, [4, 36, 68]].tolist() == [2, 1, 0]
    assert labels.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]  # PASCAL VOC's
    segments = json.loads((tmp_path / "outdir_ours" / "flag.segments.json").read_text())["segments"]
    assert {segment["category"] for segment in segments} == {"red", "green", "blue"}
    assert all(0.3 < segment["score"] <= 1 for segment in segments)
    assert (tmp_path / "outdir_ours" / "flag.overlay.png").is_file()
    assert script.asked == [("lseg_vitl16_ade20k", "demo.ckpt", {})]


def test_a_dataset_is_scored_as_the_original_prints_it(script, tmp_path, capsys):
    data = write_dataset(tmp_path / "data")
    assert run(script, "--eval", "--dataset", "folder", "--data-path", str(data), "--jobname", "toy") == 0
    # Half of the pixels are right. Red is found, and of green a third; blue is nowhere in the truth: 1, 1/3 and 0.
    said = capsys.readouterr().out
    accuracy, miou = (float(part.split(": ")[1]) for part in said.splitlines()[0].split(", "))
    assert accuracy == pytest.approx(0.5, abs=0.03) and miou == pytest.approx(4 / 9, abs=0.03)
    log = (tmp_path / "logs" / "log_test_toy_folder.txt").read_text().splitlines()
    assert log[0].startswith("dataset folder ==> pixAcc: 0.5") and len(log[1].split(",")) == 4


def test_without_eval_the_predictions_are_written(script, tmp_path):
    data = write_dataset(tmp_path / "data")
    assert run(script, "--dataset", "folder", "--data-path", str(data)) == 0
    assert np.asarray(Image.open(tmp_path / "outdir_ours" / "0.png"))[20, [4, 40]].tolist() == [0, 2]


def test_the_options_of_spatial_regularisation_reach_the_model(script):
    Image.fromarray(stripes("red")).save("flag.png")
    options = ["--arch_option", "2", "--block_depth", "3", "--activation", "tanh"]
    assert run(script, "--label_src", "red,blue", "--pictures", "flag.png", *options) == 0
    assert script.asked[0][2] == {"head_block": "depthwise", "block_depth": 3, "activation": "tanh"}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--backbone", "resnet50"], "no LSeg model has the backbone 'resnet50'"),
        (["--label_src", "red,red", "--pictures", "flag.png"], "the list of labels names the class 'red' twice"),
        (["--label_src", "red,blue", "--pictures", "nowhere.png"], "nowhere.png"),
        (["--eval", "--data-path", "nowhere"], "there is no folder nowhere"),
        (["--eval", "--dataset", "citys"], "there is no dataset 'citys'"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(script, capsys, more, sentence):
    Image.fromarray(stripes("red")).save("flag.png")
    assert run(script, *more) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].startswith("test_lseg: ") and sentence in error[-1]


def test_weights_are_needed(script, capsys):
    assert script.main(["--eval"]) == 2
    assert "pass their file as --weights" in capsys.readouterr().err

"""`python -m ms_seg train` of a model that takes words: one dataset or several, each with its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

import ms_seg
from convert.reading.entry import ArrayEntry
from convert.writing import write_checkpoint
from ms_seg.__main__ import main
from ms_seg.inference.words import WordReader
from tests.commands import broken_datasets as small
from tests.training.words_and_colours import VOCABULARY, letters

NAME = "lseg_vitl16_ade20k"
SIZES = {
    "channels": 16, "depth": 4, "heads": 2, "grid": 2, "map_channels": [8, 8, 16, 16], "features": 8, "embed_dim": 8,
    "text_width": 8, "text_layers": 1, "text_heads": 2, "vocabulary": VOCABULARY,
    "short_side": 64, "long_side": 64,
}  # fmt: skip
RUN = ["--steps", "4", "--crop-size", "64", "--long-side", "64", "--workers", "0", "--keep-every", "2"]
RUN += [part for field, value in SIZES.items() for part in ("--override", f"{field}={json.dumps(value)}")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three datasets and a vocabulary."""
    root = tmp_path_factory.mktemp("data")
    for name, layout in (("ade20k", "ade20k"), ("folder", "folder"), ("other", "folder")):
        small.write_dataset(layout, root / name)
    letters(root)
    return root


def sizes() -> dict[str, Any]:
    return {field: tuple(value) if isinstance(value, list) else value for field, value in SIZES.items()}


def run(folder: Path, output: Path, *more: str, model: str = NAME, vocab: bool = True) -> int:
    words = ["--vocab", str(folder / "letters.txt")] if vocab else []
    return main(["train", "--model", model, "--output", str(output), *words, *RUN, *more])


def of(folder: Path, *names: str) -> list[str]:
    """Options for these datasets."""
    layouts = {"ade20k": "ade20k", "folder": "folder", "other": "folder"}
    return [part for name in names for part in ("--dataset", layouts[name], "--data", str(folder / name))]


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "both"
    assert run(folder, output, *of(folder, "folder", "other")) == 0
    return output


def test_several_datasets_are_trained_together(trained: Path, folder: Path):
    lines = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 4] and "mIoU" in lines[-1]
    recorded = json.loads((trained / "options.json").read_text())
    assert recorded["dataset"] == ["folder", "folder"]
    assert recorded["data"] == [str(folder / "folder"), str(folder / "other")]
    assert recorded["overrides"] == SIZES


def test_a_checkpoint_of_the_run_is_a_model(trained: Path):
    model = ms_seg.create_model(NAME, trained / "checkpoints/00000004/model.ckpt", **sizes())
    assert model.preset.name == NAME


def test_a_run_goes_on_with_its_own_datasets_alone(trained: Path, folder: Path, capfd):
    assert run(folder, trained, "--resume", *of(folder, "folder", "other")) == 0
    assert run(folder, trained, "--resume", *of(folder, "folder")) == 2
    assert "was begun with dataset ['folder', 'folder'], not folder" in capfd.readouterr().err


def test_what_each_dataset_holds_is_said(untrained, folder: Path, tmp_path: Path, capfd):
    assert run(folder, tmp_path / "run", *of(folder, "folder", "ade20k")) == 0
    lines = capfd.readouterr().out.splitlines()
    places = [lines.index(f"{name} in {folder / name}:") for name in ("folder", "ade20k")]
    assert [lines[place + 1].split(";")[0] for place in places] == [
        "  3 pictures, 3 classes",
        "  3 pictures, 150 classes",
    ]
    assert "  value  share  files  class" in lines[places[0] : places[1]]
    assert lines[-1].startswith("validation: 3 pictures, 3 classes")


def test_the_words_of_ade20k_are_lang_segs(untrained, folder: Path, tmp_path: Path, monkeypatch):
    seen: list[tuple[str, ...]] = []
    read = WordReader._features

    def listen(self: WordReader, names: tuple[str, ...]) -> Tensor:
        seen.append(names)
        return read(self, names)

    monkeypatch.setattr(WordReader, "_features", listen)
    assert run(folder, tmp_path / "run", *of(folder, "folder", "ade20k")) == 0
    assert [names[-1] for names in seen[:2]] == ["blue", "flag"]
    assert seen[1][44] == "chest"


def test_a_model_with_classes_of_its_own_learns_one_dataset(folder: Path, tmp_path: Path, capfd):
    other = "segformer_tiny_shapes"
    assert main(["train", "--model", other, "--output", str(tmp_path / "run"), *of(folder, "folder", "ade20k")]) == 2
    sentence = f"{other} has classes of its own: 2 datasets are for a model that takes words, as lseg_*"
    assert capfd.readouterr().err == f"ms_seg train: {sentence}\n"
    assert not (tmp_path / "run").exists()


def test_a_folder_too_many_and_a_missing_vocabulary_are_refused(folder: Path, tmp_path: Path, capfd):
    assert run(folder, tmp_path / "run", *of(folder, "folder", "ade20k"), "--data", "elsewhere") == 2
    assert (
        run(folder, tmp_path / "run", *of(folder, "folder", "ade20k"), "--vocab", str(tmp_path / "none"), vocab=False)
        == 2
    )
    folders, vocabulary = capfd.readouterr().err.splitlines()
    assert folders == "ms_seg train: no --dataset lies in elsewhere: name one for each --data"
    assert str(tmp_path / "none") in vocabulary
    assert not (tmp_path / "run").exists()


def write_part(file: Path, model: nn.Cell, prefix: str) -> str:
    parameters = {parameter.name: parameter for parameter in model.get_parameters()}
    part = {name: ArrayEntry(p.asnumpy()) for name, p in parameters.items() if name.startswith(prefix)}
    write_checkpoint(file, part, metadata={})
    return str(file)


def test_each_part_may_begin_with_a_file_of_its_own(untrained, folder: Path, tmp_path: Path, caplog):
    parts = {"backbone.vit.": tmp_path / "vit.ckpt", "text.": tmp_path / "text.ckpt"}
    ms.set_seed(7)
    source = ms_seg.create_model(NAME, **sizes())
    files = [word for prefix, file in parts.items() for word in ("--checkpoint", write_part(file, source, prefix))]
    assert run(folder, tmp_path / "run", *of(folder, "folder"), *files) == 0
    ((model, *_), _) = untrained[0]
    theirs = {parameter.name: parameter.asnumpy() for parameter in source.get_parameters()}
    same = [p.name for p in model.get_parameters() if np.array_equal(p.asnumpy(), theirs[p.name])]
    assert {name for name in theirs if name.startswith(tuple(parts))} <= set(same)
    assert "decoder.head.weight" not in same
    assert caplog.messages == [
        f"{parts['backbone.vit.']} fills the backbone.vit; the rest is freshly initialised",
        f"{parts['text.']} fills the text",
    ]
    assert json.loads((tmp_path / "run/options.json").read_text())["checkpoint"] == files[1::2]


def test_a_second_file_holds_a_part(folder: Path, tmp_path: Path, trained: Path, capfd):
    file = str(trained / "checkpoints/00000004/model.ckpt")
    assert run(folder, tmp_path / "run", *of(folder, "folder"), "--checkpoint", file, "--checkpoint", file) == 2
    assert f"{file} must hold a part of a model, such as its backbone: it holds a whole one" in capfd.readouterr().err


def test_an_override_of_nothing_and_of_what_follows_from_the_data_are_refused(folder: Path, tmp_path: Path, capfd):
    assert run(folder, tmp_path / "run", *of(folder, "folder"), "--override", "wings=2") == 2
    assert "has no field 'wings'" in capfd.readouterr().err
    command = ["train", "--model", "segformer_tiny_shapes", "--output", str(tmp_path / "run"), *of(folder, "folder")]
    assert main([*command, "--override", "num_classes=5"]) == 2
    assert "num_classes cannot be overridden: it follows from the dataset" in capfd.readouterr().err

"""A folder with a model in it: one file, parts and their index, and each thing that can be wrong with one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from convert import CheckpointError, open_checkpoint
from convert.reading.entry import ArrayEntry
from convert.writing import write_checkpoint

TENSORS = {"a.weight": np.arange(6.0, dtype=np.float32).reshape(2, 3), "b.bias": np.ones(4, np.float32)}
PARTS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def write(path: Path, **tensors: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(path, {name: ArrayEntry(array) for name, array in tensors.items()})
    return path


def in_parts(folder: Path) -> Path:
    """A folder of two parts, one tensor each, and their index."""
    index = {}
    for part, (name, array) in zip(PARTS, TENSORS.items(), strict=True):
        write(folder / part, **{name: array})
        index[name] = part
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return folder


def sentence(path: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        open_checkpoint(path).close()
    assert "\n" not in str(error.value)
    return str(error.value).replace(f"{path}", "FOLDER")


@pytest.mark.parametrize("opened", ["", "model.safetensors.index.json"])
def test_parts_are_read_as_one(opened: str, tmp_path: Path):
    with open_checkpoint(in_parts(tmp_path) / opened) as tensors:
        assert tensors.container == "safetensors in 2 parts"
        assert tensors.folder == tmp_path
        for name, array in TENSORS.items():
            np.testing.assert_array_equal(tensors[name].numpy(), array)


def test_the_file_that_transformers_prefers_is_read(tmp_path: Path):
    write(tmp_path / "pytorch_model.bin", old=np.zeros(1, np.float32))
    write(tmp_path / "model.safetensors", new=np.zeros(1, np.float32))
    write(tmp_path / "training_args.bin", other=np.zeros(1, np.float32))
    with open_checkpoint(tmp_path) as tensors:
        assert list(tensors) == ["new"] and tensors.passed_over == ("pytorch_model.bin",)
    with open_checkpoint(tmp_path / "pytorch_model.bin") as tensors:
        assert list(tensors) == ["old"] and tensors.passed_over == ()


def test_the_only_checkpoint_of_a_folder_is_its_weights(tmp_path: Path):
    path = write(tmp_path / "best.pth", one=np.zeros(1, np.float32))
    (tmp_path / "notes.txt").write_text("mine")
    with open_checkpoint(tmp_path) as tensors:
        assert list(tensors) == ["one"]
    write(tmp_path / "last.pth", two=np.zeros(1, np.float32))
    assert sentence(tmp_path) == "FOLDER holds several checkpoints, 'best.pth', 'last.pth': pass the one that is meant."
    with open_checkpoint(path) as tensors:
        assert tensors.folder is None


def test_a_folder_without_weights_says_what_was_looked_for(tmp_path: Path):
    assert sentence(tmp_path).startswith("FOLDER is a folder without weights: looked for model.safetensors, ")


def test_a_part_that_is_not_there_is_named(tmp_path: Path):
    in_parts(tmp_path)
    (tmp_path / PARTS[1]).unlink()
    assert f"names '{PARTS[1]}', which is not in the folder" in sentence(tmp_path)


def test_a_part_that_lacks_what_the_index_says_is_named(tmp_path: Path):
    write(in_parts(tmp_path) / PARTS[1], other=np.zeros(1, np.float32))
    assert sentence(tmp_path) == f"FOLDER/{PARTS[1]} must hold the tensor 'b.bias', as its index says: it does not."


def test_one_part_alone_is_called_one(tmp_path: Path):
    path = in_parts(tmp_path) / PARTS[0]
    assert sentence(path).startswith("FOLDER is part 1 of 2 of a checkpoint: pass the folder")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": {"a": 3}}', "[" * 100_000, "\x00"])
def test_an_index_that_is_none_is_refused(text: str, tmp_path: Path):
    (in_parts(tmp_path) / "model.safetensors.index.json").write_text(text)
    assert "model.safetensors.index.json" in sentence(tmp_path)


@pytest.mark.parametrize("name", ["../out.safetensors", "/tmp/out.safetensors"])
def test_an_index_leads_to_no_file_outside(name: str, tmp_path: Path):
    write(tmp_path / "out.safetensors", a=np.zeros(1, np.float32))
    (tmp_path / "in").mkdir()
    (tmp_path / "in/model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    assert "leads out of its folder" in sentence(tmp_path / "in")


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path):
    outside = write(tmp_path / "out.safetensors", a=np.zeros(1, np.float32))
    (tmp_path / "in").mkdir()
    (tmp_path / "in/model.safetensors").symlink_to(outside)
    assert "leads out of its folder" in sentence(tmp_path / "in")


def test_what_hugging_faces_cache_links_to_is_read(tmp_path: Path):
    home = tmp_path / "models--owner--name"
    blob = write(home / "blobs/f00.safetensors", a=np.zeros(1, np.float32))
    (snapshot := home / "snapshots/c0ffee").mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to(blob)
    with open_checkpoint(snapshot) as tensors:
        assert list(tensors) == ["a"]
    elsewhere = write(tmp_path / "secret.safetensors", a=np.zeros(1, np.float32))
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to(elsewhere)
    assert "leads out of its folder" in sentence(snapshot)


def test_an_adapter_without_its_model_is_called_one(tmp_path: Path):
    (tmp_path / "adapter_config.json").write_text("{}")
    write(tmp_path / "adapter_model.safetensors", a=np.zeros(1, np.float32))
    assert "holds a LoRA adapter and not the model that it changes" in sentence(tmp_path)


def test_parts_without_their_index_are_named_as_such(tmp_path: Path):
    for number in (1, 2):
        (tmp_path / f"model-0000{number}-of-00002.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="holds 2 parts of a checkpoint and not their index"):
        open_checkpoint(tmp_path)


def test_a_folder_of_checkpoints_names_them(tmp_path: Path):
    for name in ("checkpoint-500", "checkpoint-1000"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="in folders of it, 'checkpoint-1000', 'checkpoint-500': pass the one"):
        open_checkpoint(tmp_path)


def test_of_a_run_the_best_checkpoint_is_taken_and_its_average_where_it_has_one(tmp_path: Path):
    """One whose progress is not there was not written to its end."""
    array = np.ones(3, np.float32)
    for step, best in ((100, 100), (200, 100), (300, 100)):
        folder = tmp_path / "checkpoints" / f"{step:08}"
        folder.mkdir(parents=True)
        for name in ("model.ckpt", "optimizer.ckpt"):
            write_checkpoint(folder / name, {name: ArrayEntry(array)})
        if step < 300:
            (folder / "progress.json").write_text(json.dumps({"step": step, "best_step": best}))
    best = tmp_path / "checkpoints" / "00000100"
    for path in (tmp_path, best):
        with open_checkpoint(path) as tensors:
            assert list(tensors) == ["model.ckpt"] and tensors.file == best / "model.ckpt"
    write_checkpoint(best / "average.ckpt", {"average": ArrayEntry(array)})
    (best.with_name("00000200") / "progress.json").write_text('{"step": 200, "best_step": null}')
    with open_checkpoint(best) as tensors:
        assert list(tensors) == ["average"]
    with open_checkpoint(tmp_path) as tensors:
        assert tensors.file.parent.name == "00000200"


def test_a_pipe_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "model.safetensors.index.json")
    with pytest.raises(CheckpointError, match=r"index\.json must be a file"):
        open_checkpoint(tmp_path)

"""`python -m ms_seg train` on broken datasets: one sentence that names the file, and nothing left in the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ms_seg.__main__ import main
from ms_seg.training.step import TrainStep
from ms_seg.training.tasks import semantic
from tests.commands import broken_datasets as broken

RUN = [
    "--model", "segformer_tiny_shapes", "--workers", "0", "--steps", "2", "--batch-size", "2", "--crop-size", "32",
    "--short-side", "48", "--warmup-steps", "1", "--keep-every", "1",
]  # fmt: skip


def run(name: str, data: Path | None, output: Path, *more: object) -> int:
    where = [] if data is None else ["--data", str(data)]
    return main(["train", *RUN, "--dataset", name, *where, "--output", str(output), *map(str, more)])


def said(capfd: pytest.CaptureFixture) -> str:
    """What the command said of its end: one line, and nothing of Python's or MindSpore's call stacks."""
    error = capfd.readouterr().err
    assert "Traceback" not in error
    assert "C++ Call Stack" not in error and "----" not in error
    (sentence,) = [line for line in error.splitlines() if line.startswith("ms_seg train: ")]
    assert error.endswith(sentence + "\n")
    return sentence


@pytest.fixture
def quick(monkeypatch):
    """Steps that compute nothing."""
    monkeypatch.setattr(TrainStep, "__call__", lambda self, step, batch: 1.0)


@pytest.fixture
def unseen(monkeypatch):
    """A sample that meets nothing of what is broken."""
    monkeypatch.setattr(semantic, "preflight", lambda *_, **__: ["all is well"])


@pytest.mark.parametrize("damage", broken.DAMAGES)
@pytest.mark.parametrize(
    ("name", "split"),
    [("ade20k", "training"), ("ade20k", "validation"), ("cocostuff164k", "training"), ("folder", "validation")],
)
def test_a_broken_dataset_is_refused_before_the_first_step(tmp_path, capfd, name, split, damage):
    data = broken.write_dataset(name, tmp_path / "data")
    file = damage(broken.pair(name, data, split, 1))
    assert run(name, data, tmp_path / "run") == 2
    assert str(file) in said(capfd)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("damage", broken.NAME_DAMAGES)
def test_a_list_of_classes_that_cannot_be_read_is_named(tmp_path, capfd, damage):
    data = broken.write_dataset("folder", tmp_path / "data")
    damage(data / "labels.txt")
    assert run("folder", data, tmp_path / "run") == 2
    assert str(data / "labels.txt") in said(capfd)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", broken.DATASETS)
def test_a_dataset_on_disk_needs_a_folder_that_is_there(tmp_path, capfd, name):
    assert run(name, None, tmp_path / "run") == 2
    assert said(capfd) == f"ms_seg train: the dataset {name} needs the folder that it lies in: pass it as --data"
    assert run(name, tmp_path / "nowhere", tmp_path / "run") == 2
    assert said(capfd) == f"ms_seg train: there is no folder {tmp_path / 'nowhere'}"
    assert not (tmp_path / "run").exists()


def test_an_unknown_dataset_and_half_a_worker_are_wrong_calls(tmp_path, capfd):
    for more in (["--dataset", "imagenet"], ["--dataset", "shapes", "--workers", "-1"]):
        with pytest.raises(SystemExit) as end:
            main(["train", *RUN, "--output", str(tmp_path / "run"), *more])
        assert end.value.code == 2
    assert "must be a whole number from 0: '-1' is not" in capfd.readouterr().err


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("damage", [broken.cut_picture, broken.garble_label, broken.shrink_label])
def test_a_file_that_breaks_a_later_step_does_not_stand_in_the_way_of_another_attempt(
    tmp_path, capfd, quick, unseen, damage, workers
):
    data = broken.write_dataset("ade20k", tmp_path / "data")
    files = {damage(broken.pair("ade20k", data, "training", number)) for number in range(broken.COUNT)}
    for _ in range(2):  # the second finds nothing of the first
        assert run("ade20k", data, tmp_path / "run", "--workers", workers) == 2
        sentence = said(capfd)
        assert any(str(file) in sentence for file in files)


@pytest.mark.parametrize("damage", [broken.cut_picture, broken.garble_label, broken.shrink_label])
def test_a_file_that_breaks_a_validation_is_named(tmp_path, capfd, quick, unseen, damage):
    data = broken.write_dataset("ade20k", tmp_path / "data")
    file = damage(broken.pair("ade20k", data, "validation", 0))
    for _ in range(2):
        assert run("ade20k", data, tmp_path / "run", "--validate-every", 1) == 2
        assert str(file) in said(capfd)


def test_a_run_that_breaks_after_a_checkpoint_is_kept(tmp_path, capfd, quick, unseen):
    data, output = broken.write_dataset("ade20k", tmp_path / "data"), tmp_path / "run"
    broken.cut_picture(broken.pair("ade20k", data, "validation", 0))
    assert run("ade20k", data, output, "--validate-every", 2) == 2
    said(capfd)
    assert [path.name for path in (output / "checkpoints").iterdir()] == ["00000001"]
    assert run("ade20k", data, output, "--validate-every", 2) == 2
    assert f"{output} holds a run: go on with --resume" in said(capfd)
    assert run("ade20k", data, output, "--validate-every", 2, "--resume") == 2
    assert "view_0.jpg is cut off" in said(capfd)
    assert [json.loads(line)["step"] for line in (output / "log.jsonl").read_text().splitlines()] == [1, 2]


def test_layer_decay_of_a_backbone_without_layers_is_refused_before_there_is_a_run(tmp_path, capfd):
    assert run("shapes", None, tmp_path / "run", "--pictures", 2, "--layer-decay", 0.9) == 2
    assert said(capfd).startswith("ms_seg train: layer_decay must be 1 for MixTransformer, which does not divide into")
    assert not (tmp_path / "run").exists()

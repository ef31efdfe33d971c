"""`python -m ms_seg evaluate`: what a person types, and what comes back."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ms_seg
from ms_seg.__main__ import main
from ms_seg.evaluation.semantic.confusion import ConfusionMatrix
from tests.commands import broken_datasets as broken
from tests.commands.toy_evaluation import toy_model
from tests.toy_model import PRESET, StrongestChannel

ROOT = Path(__file__).resolve().parents[2]
COUNT = 7
TOY = ("--checkpoint", "x.pth", "--mode", "pynative")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A person's own dataset of red, green and blue regions; some of the truth is wrong and some to be ignored."""
    root = tmp_path_factory.mktemp("data")
    (root / "labels.txt").write_text("red\ngreen\nblue\n")
    for split, count in (("training", 1), ("validation", COUNT)):
        for folder in ("images", "labels"):
            (root / folder / split).mkdir(parents=True)
        for number in range(count):
            rng = np.random.default_rng(number)
            truth = rng.integers(0, 3, (3, 4 + number)).astype(np.uint8).repeat(16, axis=0).repeat(16, axis=1)
            picture = np.eye(3, dtype=np.uint8)[truth] * np.uint8(200)
            truth[:9, : 5 * number] = 1
            truth[-3:] = 255
            Image.fromarray(picture).save(root / "images" / split / f"view_{number}.png")
            Image.fromarray(truth).save(root / "labels" / split / f"view_{number}.png")
    return root


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr(ms_seg, "create_model", toy_model)


@pytest.fixture
def own(data, tmp_path) -> Path:
    """A copy of the dataset that may be broken."""
    copy = tmp_path / "own"
    for file in data.rglob("*.*"):
        target = copy / file.relative_to(data)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    return copy


def evaluate(data: Path, output: Path, *more: object) -> int:
    return main(["evaluate", "--dataset", "folder", "--data", str(data), "--output", str(output), *map(str, more)])


def metrics(output: Path) -> dict:
    return json.loads((output / "metrics.json").read_text())


def test_the_figures_are_on_screen_and_in_the_folder(toy, data, tmp_path, capsys):
    assert evaluate(data, tmp_path, *TOY) == 0
    expected = ConfusionMatrix(3)
    for number in range(COUNT):
        picture, truth = (
            np.array(Image.open(data / kind / "validation" / f"view_{number}.png")) for kind in ("images", "labels")
        )
        expected.update(picture.argmax(axis=2), truth)
    found = metrics(tmp_path)
    assert found["mIoU"] == pytest.approx(expected.miou, abs=0.02)  # but for what resizing does at borders
    assert found["pictures"] == COUNT
    assert found["model"] == "toy"
    printed = capsys.readouterr()
    for key in ("aAcc", "mIoU", "mAcc"):
        assert f"{key} {100 * found[key]:.2f}" in printed.out
    assert "red" in printed.out
    assert f"mIoU {found['mIoU']:.4f}" in printed.err
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"metrics.json", "classes.csv", "pictures.csv", "confusion.png", "worst"}


def test_saved_predictions_are_what_segment_answers_and_score_the_same(toy, data, tmp_path):
    assert evaluate(data, tmp_path / "one", *TOY, "--save-predictions", tmp_path / "saved") == 0
    pictures = data / "images" / "validation"
    assert main(["segment", str(pictures), *TOY, "--output", str(tmp_path / "segmented")]) == 0
    for number in range(COUNT):
        saved = np.array(Image.open(tmp_path / "saved" / f"view_{number}.png"))
        assert np.array_equal(saved, np.array(Image.open(tmp_path / "segmented" / f"view_{number}.labels.png")))
    assert evaluate(data, tmp_path / "two", "--predictions", tmp_path / "saved") == 0
    one, two = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    assert {key: one[key] for key in ("aAcc", "mIoU", "mAcc", "classes")} == {
        key: two[key] for key in ("aAcc", "mIoU", "mAcc", "classes")
    }


def test_predictions_are_scored_without_mindspore(data, tmp_path):
    saved = data / "labels" / "validation"
    for file in saved.iterdir():
        values = np.array(Image.open(file))
        Image.fromarray(np.where(values == 255, 0, values)).save(tmp_path / file.name)
    code = (
        "import sys; from ms_seg.__main__ import main; code = main(sys.argv[1:]); "
        "sys.exit(code or 'mindspore' in sys.modules)"
    )
    command = [sys.executable, "-c", code, "evaluate", "--dataset", "folder", "--data", data, "--predictions", tmp_path]
    subprocess.run([*command, "--output", tmp_path / "out"], cwd=ROOT, check=True, capture_output=True)
    assert metrics(tmp_path / "out")["mIoU"] == 1


def test_windows_and_several_scales_give_other_figures_each(toy, data, tmp_path):
    options = [(), ("--slide", "--crop", 32, "--stride", 24), ("--tta",), ("--tta", "--slide", "--crop", 32)]
    found = []
    for number, more in enumerate(options):
        assert evaluate(data, tmp_path / str(number), *TOY, *more) == 0
        found.append(metrics(tmp_path / str(number)))
    assert len({figures["mIoU"] for figures in found}) > 1
    assert [figures["tta"] for figures in found] == [False, False, True, True]
    assert found[1]["slide"] == {"crop": 32, "stride": 24}
    assert found[3]["slide"] == {"crop": 32, "stride": 21}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--predictions", "p", "--model", "segformer_b0_ade20k"), "leave out --model"),
        (("--predictions", "p", "--save-predictions", "q"), "leave out --save-predictions"),
        (("--checkpoint", "x.pth", "--stride", 3), "--crop and --stride belong to --slide"),
        (("--checkpoint", "x.pth", "--slide", "--crop", 8, "--stride", 9), "stride must be 1 to 8, the side of the"),
        (("--model", "segformer_b0_ade20k"), "segformer_b0_ade20k needs its weights"),
        (("--dataset", "shapes"), "shapes is drawn and lies in no folder: leave out --data"),
        (("--predictions", "nowhere"), "there is no folder nowhere"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(toy, data, tmp_path, capsys, more, sentence):
    assert evaluate(data, tmp_path / "out", *more) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_model_of_other_classes_is_refused(own, tmp_path, capsys, toy):
    (own / "labels.txt").write_text("red\ngreen\nblue\nyellow\n")
    assert evaluate(own, tmp_path / "out", *TOY, "--reduce-zero-label", "false") == 2
    assert "toy has 3 classes, and the dataset has 4" in capsys.readouterr().err


def toy_for(name: str):
    """The toy model with outputs for a dataset's classes, of which it answers the first three."""
    count = {"ade20k": 150, "cocostuff164k": 171, "folder": 3}[name]
    label_set = None if name == "folder" else name
    return StrongestChannel(replace(PRESET, label_set=label_set, arguments={**PRESET.arguments, "num_classes": count}))


@pytest.mark.parametrize("name", broken.DATASETS)
def test_every_layout_is_evaluated(tmp_path, monkeypatch, name):
    monkeypatch.setattr(ms_seg, "create_model", lambda *_, **__: toy_for(name))
    assert evaluate(broken.write_dataset(name, tmp_path / "data"), tmp_path / "out", *TOY, "--dataset", name) == 0
    assert metrics(tmp_path / "out")["pictures"] == broken.COUNT


@pytest.mark.parametrize("damage", broken.DAMAGES)
@pytest.mark.parametrize("name", broken.DATASETS)
def test_a_broken_dataset_is_one_sentence_with_the_file(tmp_path, capfd, monkeypatch, name, damage):
    monkeypatch.setattr(ms_seg, "create_model", lambda *_, **__: toy_for(name))
    data = broken.write_dataset(name, tmp_path / "data")
    file = damage(broken.pair(name, data, "validation", 1))
    assert evaluate(data, tmp_path / "broken", *TOY, "--dataset", name) == 2
    error = capfd.readouterr().err
    assert "Traceback" not in error and "C++ Call Stack" not in error
    (sentence,) = [line for line in error.splitlines() if line.startswith("ms_seg evaluate: ")]
    assert str(file) in sentence and error.endswith(sentence + "\n")
    assert not (tmp_path / "broken" / "metrics.json").exists()


@pytest.mark.parametrize("damage", broken.NAME_DAMAGES)
def test_a_list_of_classes_that_cannot_be_read_is_named(toy, own, tmp_path, capsys, damage):
    damage(own / "labels.txt")
    assert evaluate(own, tmp_path / "out", *TOY) == 2
    error = capsys.readouterr().err
    assert str(own / "labels.txt") in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", broken.DATASETS)
def test_a_dataset_on_disk_needs_a_folder_that_is_there(toy, tmp_path, capsys, name):
    assert main(["evaluate", *TOY, "--dataset", name, "--output", str(tmp_path / "out")]) == 2
    needs = f"ms_seg evaluate: the dataset {name} needs the folder that it lies in: pass it as --data\n"
    assert capsys.readouterr().err == needs
    assert evaluate(tmp_path / "nowhere", tmp_path / "out", *TOY, "--dataset", name) == 2
    assert capsys.readouterr().err == f"ms_seg evaluate: there is no folder {tmp_path / 'nowhere'}\n"
    assert not (tmp_path / "out").exists()


def test_a_mended_dataset_is_evaluated_at_the_second_attempt(toy, own, tmp_path):
    file = own / "images" / "validation" / "view_4.png"
    content = file.read_bytes()
    file.write_bytes(content[:90])
    assert evaluate(own, tmp_path / "out", *TOY) == 2
    file.write_bytes(content)
    assert evaluate(own, tmp_path / "out", *TOY) == 0
    assert metrics(tmp_path / "out")["pictures"] == COUNT


def test_compiling_is_said_beside_the_bar(toy, data, tmp_path, capsys):
    assert evaluate(data, tmp_path, "--checkpoint", "x.pth") == 0
    error = capsys.readouterr().err
    assert error.startswith("compiling StrongestChannel for ")
    assert error.count("compiling") == 3  # two sizes, and one graph for every further one


# ----------------------------------------------------------------------------------------- processes of their own


def command(data: Path, output: Path, seconds: float, *more: str) -> list[str]:
    script = str(ROOT / "tests" / "commands" / "toy_evaluation.py")
    options = ["evaluate", "--dataset", "folder", "--data", str(data), "--output", str(output), *TOY]
    return [script, str(seconds), *options, *more]


def test_an_evaluation_that_is_killed_goes_on(data, tmp_path):
    """Killed at a random moment, twice; then other options must not take what these had counted."""
    asked, output = tmp_path / "asked", tmp_path / "out"
    environment = {**os.environ, "ASKED": str(asked)}
    for pictures in (2, 4):
        process = subprocess.Popen(
            [sys.executable, *command(data, output, 0.4)],
            cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while not asked.exists() or asked.read_text().count("\n") < pictures:
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(random.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (output / "metrics.json").exists()
    subprocess.run([sys.executable, *command(data, output, 0)], cwd=ROOT, env=environment, check=True)
    assert COUNT <= asked.read_text().count("\n") <= COUNT + 4  # at most two are lost to each of the kills
    subprocess.run([sys.executable, *command(data, tmp_path / "whole", 0)], cwd=ROOT, check=True)
    assert (output / "metrics.json").read_text() == (tmp_path / "whole" / "metrics.json").read_text()
    assert (output / "pictures.csv").read_text() == (tmp_path / "whole" / "pictures.csv").read_text()


@pytest.fixture(scope="module")
def of_one_process(data, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("alone") / "out"
    subprocess.run([sys.executable, *command(data, output, 0)], cwd=ROOT, check=True)
    return output


@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_count_what_one_does(data, tmp_path, of_one_process, processes):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    here = Path(sys.executable).parent  # msrun takes whatever python comes first
    launcher = [here / "msrun", f"--worker_num={processes}", f"--local_worker_num={processes}", f"--master_port={port}"]
    launcher += [f"--log_dir={tmp_path / 'log'}", "--join=True", *command(data, tmp_path / "out", 0)]
    environment = {**os.environ, "PATH": f"{here}{os.pathsep}{os.environ['PATH']}", "ASKED": str(tmp_path / "asked")}
    result = subprocess.run(launcher, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
    for name in ("metrics.json", "classes.csv", "pictures.csv"):
        assert (tmp_path / "out" / name).read_text() == (of_one_process / name).read_text()
    assert (tmp_path / "asked").read_text().count("\n") < 2 * COUNT  # shared out, the worst ones drawn by rank 0
    for rank in range(1, processes):
        assert (tmp_path / "log" / f"worker_{rank}.log").read_text() == ""
    assert "mIoU" in (tmp_path / "log" / "worker_0.log").read_text()

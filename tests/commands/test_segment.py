"""`python -m ms_seg segment`: pictures, and the files that come back."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ms_seg
from ms_seg.presets import ASSETS
from tests.commands.command_line import run, written
from tests.toy_model import QUERY_PRESET, ColourQueries, StrongestChannel

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def toy(monkeypatch):
    """Every model is the toy one; returns what was asked for."""
    asked = []

    def create_model(name, checkpoint=None, **_choice):
        asked.append((name, checkpoint))
        return StrongestChannel()

    monkeypatch.setattr(ms_seg, "create_model", create_model)
    return asked


@pytest.fixture
def pictures(tmp_path):
    """A folder with a red and a green picture, and a file that is none."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("RGB", (64, 48), (200, 0, 0)).save(folder / "b_red.png")
    Image.new("RGB", (64, 48), (0, 200, 0)).save(folder / "a_green.jpg")
    (folder / "notes.txt").write_text("not to be looked at")
    return folder


class TestSegment:
    def test_a_picture_gets_its_three_files(self, toy, pictures, tmp_path, capsys):
        assert run("segment", pictures / "b_red.png", "--checkpoint", "x.pth", "--output", tmp_path / "out") == 0
        assert written(tmp_path / "out") == ["b_red.labels.png", "b_red.overlay.png", "b_red.segments.json"]
        assert np.all(np.array(Image.open(tmp_path / "out" / "b_red.labels.png")) == 0)
        segments = json.loads((tmp_path / "out" / "b_red.segments.json").read_text())["segments"]
        assert [segment["area"] for segment in segments] == [64 * 48]
        assert "1 of 1 pictures segmented by toy" in capsys.readouterr().out

    def test_a_folder_is_its_pictures_in_order(self, toy, pictures, tmp_path, capsys):
        assert run("segment", pictures, "--checkpoint", "x.pth", "--output", tmp_path / "out") == 0
        assert len(written(tmp_path / "out")) == 6
        progress = capsys.readouterr().err
        assert progress.index("a_green.jpg") < progress.index("b_red.png") < progress.index("segmenting: 100%")

    def test_a_folder_without_pictures_is_refused(self, tmp_path, capsys):
        assert run("segment", tmp_path) == 2
        assert "there are no pictures in" in capsys.readouterr().err

    def test_folders_of_folders_are_taken_where_it_is_asked_for_and_kept_apart(self, toy, pictures, tmp_path, capsys):
        (pictures / "deep").mkdir()
        (pictures / "b_red.png").rename(pictures / "deep" / "a_green.png")
        output = tmp_path / "out"
        assert run("segment", pictures, "--checkpoint", "x.pth", "--output", output, "--recursive") == 0
        assert sorted(path.relative_to(output).as_posix() for path in output.rglob("*.labels.png")) == [
            "a_green.labels.png",
            "deep/a_green.labels.png",
        ]
        assert run("segment", pictures.parent, "--checkpoint", "x.pth", "--output", output) == 2
        assert "with --recursive its folders are looked into" in capsys.readouterr().err

    def test_what_is_there_already_is_left_out_where_it_is_asked_for(self, toy, pictures, tmp_path, capsys):
        output = tmp_path / "out"
        assert run("segment", pictures / "a_green.jpg", "--checkpoint", "x.pth", "--output", output) == 0
        before = (output / "a_green.overlay.png").stat().st_mtime_ns
        assert run("segment", pictures, "--checkpoint", "x.pth", "--output", output, "--skip-existing") == 0
        assert "1 of 1 pictures segmented by toy into" in (said := capsys.readouterr().out)
        assert said.endswith(", 1 were there already\n")
        assert (output / "a_green.overlay.png").stat().st_mtime_ns == before
        assert (output / "b_red.overlay.png").is_file()

    def test_a_quiet_command_says_only_what_goes_wrong(self, toy, pictures, tmp_path, capsys):
        (pictures / "a_bad.jpg").write_bytes(b"\xff\xd8\xff")
        assert run("segment", pictures, "--checkpoint", "x.pth", "--output", tmp_path / "out", "--quiet") == 1
        said = capsys.readouterr()
        assert not said.out and said.err.count("\n") == 1 and "a_bad.jpg" in said.err

    def test_an_interrupt_says_what_is_done_and_how_to_go_on(self, toy, pictures, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(StrongestChannel, "construct", lambda self, images: os.kill(os.getpid(), signal.SIGINT))
        arguments = ("--checkpoint", "x.pth", "--output", tmp_path / "out", "--mode", "pynative")
        assert run("segment", pictures, *arguments) == 130
        assert capsys.readouterr().err.splitlines()[-1] == (
            f"stopped: 0 of 2 pictures are saved in {tmp_path / 'out'}; with --skip-existing the same command goes on "
            "with the others"
        )

    def test_results_among_the_pictures_are_not_segmented_again(self, toy, pictures):
        for _ in range(2):
            assert run("segment", pictures, "--checkpoint", "x.pth", "--output", pictures) == 0
        assert len(written(pictures)) == 3 + 6

    def test_pictures_of_one_name_do_not_overwrite_each_other(self, toy, pictures, tmp_path):
        other = tmp_path / "other"
        other.mkdir()
        Image.new("RGB", (64, 48), (0, 0, 200)).save(other / "B_red.jpg")
        names = (pictures / "b_red.png", other / "B_red.jpg", pictures / "b_red.png")
        assert run("segment", *names, "--checkpoint", "x.pth", "--output", tmp_path / "out") == 0
        content = {
            path.name: json.loads(path.read_text())["picture"] for path in (tmp_path / "out").glob("*.segments.json")
        }
        assert content == {"b_red.segments.json": "b_red.png", "B_red-2.segments.json": "B_red.jpg"}

    def test_one_bad_picture_does_not_stop_the_others(self, toy, pictures, tmp_path, capsys):
        (pictures / "a_bad.jpg").write_bytes(b"\xff\xd8\xff")
        assert run("segment", pictures, "nothing.jpg", "--checkpoint", "x.pth", "--output", tmp_path / "out") == 1
        assert len(written(tmp_path / "out")) == 6
        printed = capsys.readouterr()
        assert "a_bad.jpg is " in printed.err
        assert "there is no picture nothing.jpg" in printed.err
        assert "2 of 4 pictures" in printed.out

    def test_nothing_but_bad_pictures_is_a_failure(self, toy, tmp_path):
        assert run("segment", "nothing.jpg", "--checkpoint", "x.pth", "--output", tmp_path) == 2

    def test_a_network_that_fails_costs_one_picture_and_one_line(self, toy, pictures, tmp_path, capsys, monkeypatch):
        def construct(self, images):
            if images[0, 0].mean() > 10:
                raise RuntimeError("Allocate memory failed\n----\nmany lines")
            return self.pool(images)

        monkeypatch.setattr(StrongestChannel, "construct", construct)
        arguments = ("--checkpoint", "x.pth", "--output", tmp_path / "out", "--mode", "pynative")
        assert run("segment", pictures, *arguments) == 1
        error = capsys.readouterr().err
        assert "b_red.png: toy could not be run on an input of 48x64: Allocate memory failed\n" in error
        assert "many lines" not in error

    def test_a_checkpoint_without_a_model_names_itself(self, toy, pictures, tmp_path):
        run("segment", pictures, "--checkpoint", "x.pth", "--output", tmp_path / "out")
        run(
            "segment", pictures, "--checkpoint", "x.pth", "--model", "segformer_b0_ade20k", "--output", tmp_path / "out"
        )
        assert toy == [("auto", "x.pth"), ("segformer_b0_ade20k", "x.pth")]

    def test_an_embedded_model_needs_no_file(self, toy, pictures, tmp_path):
        run("segment", pictures, "--model", "segformer_tiny_shapes", "--output", tmp_path / "out")
        assert toy == [("segformer_tiny_shapes", ASSETS / "segformer_tiny_shapes.pth")]

    @pytest.mark.parametrize("options", [(), ("--model", "auto")])
    def test_without_a_model_nothing_is_answered(self, toy, pictures, tmp_path, capsys, options):
        assert run("segment", pictures, "--output", tmp_path / "out", *options) == 2
        sentence = "ms_seg segment: no model is named: pass --checkpoint FILE, which says which model it is, or --model"
        assert capsys.readouterr().err.startswith(sentence)
        assert not (tmp_path / "out").exists() and not toy

    def test_a_published_model_without_its_weights_is_refused(self, pictures, capsys):
        assert run("segment", pictures, "--model", "segformer_b0_ade20k") == 2
        error = capsys.readouterr().err
        assert "segformer_b0_ade20k needs its weights: download nvidia/segformer-b0-finetuned-ade-512-512" in error
        assert "--checkpoint" in error

    def test_an_unknown_model_is_refused_with_near_ones(self, pictures, capsys):
        assert run("segment", pictures, "--model", "segformer_b0_ade") == 2
        assert "no model 'segformer_b0_ade'; the nearest are segformer_b0_ade20k" in capsys.readouterr().err

    def test_an_output_that_is_a_file_is_refused(self, toy, pictures, capsys):
        output = pictures / "notes.txt"
        assert run("segment", pictures, "--checkpoint", "x.pth", "--output", output) == 2
        assert "notes.txt" in capsys.readouterr().err

    def test_a_device_that_is_not_there_is_refused(self, toy, pictures, tmp_path, capsys):
        arguments = ("--checkpoint", "x.pth", "--output", tmp_path / "out", "--device", "Ascend")
        assert run("segment", pictures, *arguments) == 2
        error = capsys.readouterr().err
        assert "ms_seg segment: device Ascend cannot be used here" in error
        assert error.count("\n") == 1

    @pytest.mark.parametrize("batch_size", [2, 5])
    def test_the_answers_of_a_batch_are_those_of_single_pictures(self, toy, tmp_path, batch_size):
        folder = tmp_path / "pictures"
        folder.mkdir()
        for number, size in enumerate([(64, 48), (64, 48), (40, 48), (40, 48), (40, 48), (40, 48), (64, 48)]):
            pixels = np.random.default_rng(number).integers(0, 256, (*size[::-1], 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
        (folder / "3.png").write_bytes(b"no picture")
        for name, options in (("one", ()), ("many", ("--batch-size", batch_size))):
            assert run("segment", folder, "--checkpoint", "x.pth", "--output", tmp_path / name, *options) == 1
        assert len(written(tmp_path / "one")) == 6 * 3
        assert written(tmp_path / "one") == written(tmp_path / "many")
        for name in written(tmp_path / "one"):
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "many" / name).read_bytes()

    def test_an_interrupt_leaves_whole_files_alone_and_says_how_far_it_came(self, toy, tmp_path, capsys, monkeypatch):
        folder, out = tmp_path / "pictures", tmp_path / "out"
        folder.mkdir()
        for number in range(20):
            Image.new("RGB", (64, 48), (200, number, 0)).save(folder / f"{number:02}.png")
        seen, save = [], ms_seg.answers.Answer.save

        def save_slowly(self, *arguments):
            time.sleep(0.1)
            save(self, *arguments)

        def construct(self, images):
            seen.append(1)
            if len(seen) == 4:
                raise KeyboardInterrupt
            return self.pool(images)

        monkeypatch.setattr(StrongestChannel, "construct", construct)
        monkeypatch.setattr(ms_seg.answers.Answer, "save", save_slowly)
        arguments = ("--checkpoint", "x.pth", "--output", out, "--mode", "pynative")
        assert run("segment", folder, *arguments) == 130
        assert all(not name.startswith(".") for name in written(out))
        assert len(written(out)) in (2 * 3, 3 * 3)
        assert f"stopped: {len(written(out)) // 3} of 20 pictures are saved" in capsys.readouterr().err

    def test_a_disk_that_is_full_ends_it(self, toy, pictures, tmp_path, capsys, monkeypatch):
        def save(self, *arguments):
            raise OSError("No space left on device: 'a_green.overlay.png'")

        monkeypatch.setattr(ms_seg.answers.Answer, "save", save)
        assert run("segment", pictures, "--checkpoint", "x.pth", "--output", tmp_path / "out") == 2
        assert "No space left on device" in capsys.readouterr().err

    def test_the_overlay_is_as_the_options_say(self, toy, pictures, tmp_path):
        options = ("--opacity", "0", "--no-legend")
        picture = pictures / "b_red.png"
        assert run("segment", picture, "--checkpoint", "x.pth", "--output", tmp_path, *options) == 0
        with Image.open(tmp_path / "b_red.overlay.png") as overlay:
            assert overlay.size == (64 * 7, 48 * 7)
            assert overlay.getpixel((30, 30)) == (200, 0, 0)

    @pytest.mark.parametrize("value", ["-0.1", "1.5", "nan", "half"])
    def test_an_opacity_that_is_none_is_refused(self, pictures, value, capsys):
        with pytest.raises(SystemExit):
            run("segment", pictures, "--opacity", value)
        assert "must be a number from 0 to 1" in capsys.readouterr().err

    def test_an_interrupt_ends_quietly(self, pictures, monkeypatch, tmp_path, capsys):
        def stopped(name, checkpoint=None, **_choice):
            raise KeyboardInterrupt

        monkeypatch.setattr(ms_seg, "create_model", stopped)
        assert run("segment", pictures, "--checkpoint", "x.pth", "--output", tmp_path / "out") == 130
        assert capsys.readouterr().err == "stopped\n"


class TestTasks:
    @pytest.fixture(autouse=True)
    def queries(self, monkeypatch):
        def create_model(name, checkpoint=None, weights="", drop=(), **fields):
            return ColourQueries(QUERY_PRESET.override(**fields))

        monkeypatch.setattr(ms_seg, "create_model", create_model)

    def segments(self, pictures, output, *options) -> list[dict]:
        assert run("segment", pictures / "b_red.png", "--checkpoint", "x.pth", "--output", output, *options) == 0
        return json.loads((output / "b_red.segments.json").read_text())["segments"]

    def test_a_model_of_queries_gives_panoptic_answers(self, pictures, tmp_path, capsys):
        (segment,) = self.segments(pictures, tmp_path / "out")
        assert (segment["category"], segment["isthing"], segment["area"]) == ("red", True, 64 * 48)
        assert written(tmp_path / "out") == [f"b_red.{end}" for end in (
            "labels.png", "overlay.png", "panoptic.json", "segments.json"
        )]  # fmt: skip
        assert np.array(Image.open(tmp_path / "out" / "b_red.labels.png")).tolist()[0][0] == [250, 0, 0]
        assert "b_red.*: red\n" in capsys.readouterr().err

    @pytest.mark.parametrize(("task", "scored"), [("instance", True), ("semantic", False)])
    def test_other_tasks_are_asked_for(self, pictures, tmp_path, task, scored):
        (segment,) = self.segments(pictures, tmp_path / "out", "--task", task)[:1]
        assert segment["category"] == "red"
        assert ("isthing" in segment) == scored
        assert "b_red.panoptic.json" not in written(tmp_path / "out")

    @pytest.mark.parametrize(("threshold", "shown"), [("0.1", True), ("1", False)])
    def test_instances_below_the_score_threshold_are_listed_and_not_drawn(self, pictures, tmp_path, threshold, shown):
        options = ("--task", "instance", "--score-threshold", threshold)
        assert self.segments(pictures, tmp_path / "out", *options)
        assert np.array(Image.open(tmp_path / "out" / "b_red.labels.png")).any() == shown

    def test_a_score_threshold_is_for_instances(self, pictures, tmp_path, capsys):
        arguments = ("--checkpoint", "x.pth", "--output", tmp_path / "out", "--score-threshold", "0.3")
        assert run("segment", pictures, *arguments) == 2
        assert (
            "a score threshold is for instances: toy_queries is asked for panoptic answers" in capsys.readouterr().err
        )

    @pytest.mark.parametrize(("rule", "whole"), [("mmdet", False), ("transformers", True)])
    def test_the_rule_is_a_field_to_override(self, pictures, tmp_path, rule, whole):
        picture = np.full((48, 64, 3), (200, 0, 0), np.uint8)
        picture[:20] = 90  # no mask is here: transformers' segments take whatever they win
        Image.fromarray(picture).save(pictures / "b_red.png")
        (segment,) = self.segments(pictures, tmp_path / "out", "--override", f"query_rule={rule}")
        assert (segment["area"] == 48 * 64) == whole

    def test_a_task_that_is_not_the_models_is_refused(self, toy, pictures, tmp_path, capsys):
        arguments = ("--checkpoint", "x.pth", "--output", tmp_path / "out", "--task", "panoptic")
        assert run("segment", pictures, *arguments) == 2
        assert "toy gives semantic answers and no panoptic ones" in capsys.readouterr().err


def test_a_person_sees_no_traceback_and_none_of_mindspores_warnings(pictures, tmp_path):
    command = [
        sys.executable,
        "-m",
        "ms_seg",
        "segment",
        str(pictures / "b_red.png"),
        "--model",
        "segformer_tiny_shapes",
        "--output",
        str(tmp_path / "out"),
    ]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GLOG")}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    first, *rest = [line.split()[0] for line in result.stderr.splitlines()]
    assert first == str(pictures / "b_red.png")
    assert set(rest) == {"segmenting:"}  # one line, or more where it takes long


def test_one_picture_is_not_compiled_for_and_several_are(pictures, tmp_path, capsys):
    command = ["--model", "segformer_tiny_shapes", "--output", str(tmp_path / "out")]
    for paths, compiled in (["b_red.png"], False), ([""], True):  # the second is the folder
        assert run("segment", *(pictures / path for path in paths), *command) == 0
        assert ("compiling SegFormer" in capsys.readouterr().err) == compiled

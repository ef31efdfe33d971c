"""Whatever a file is called, in whatever locale: it is segmented, and nothing ends over its name."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ms_seg.__main__ import main
from ms_seg.answers.drawing.panels import titled
from ms_seg.commands.segment import find_pictures
from ms_seg.commands.third_party import warnings_to_log
from ms_seg.evaluation.report import write_report
from ms_seg.evaluation.results import Results

ROOT = Path(__file__).resolve().parents[2]
NAMES = [b"a.png", "你好".encode("gbk") + b".png", b"\xff.png"]  # as zip archives of a Chinese Windows leave them


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    (tmp_path / "in").mkdir()
    for name in NAMES:
        with open(os.path.join(os.fsencode(tmp_path / "in"), name), "wb") as file:
            Image.fromarray(picture).save(file, "PNG")
    return tmp_path / "in"


def test_every_picture_is_segmented_and_its_name_reads_back(folder, tmp_path):
    """In a terminal that can show none of the names."""
    command = [sys.executable, "-m", "ms_seg", "segment", str(folder), "--output", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ended = subprocess.run(
        [*command, "--model", "segformer_tiny_shapes"], cwd=ROOT, env=environment, capture_output=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    assert b"3 of 3 pictures segmented" in ended.stdout
    written = [name for name in os.listdir(os.fsencode(tmp_path / "out")) if name.endswith(b".segments.json")]
    told = {json.loads((tmp_path / "out" / os.fsdecode(name)).read_text("utf-8"))["picture"] for name in written}
    assert {os.fsencode(name) for name in told} == set(NAMES)


def test_two_names_of_one_file_are_two_pictures_and_a_name_that_is_given_twice_is_one(folder, tmp_path):
    """As in the caches of hubs, where equal files are links to one."""
    (tmp_path / "links").mkdir()
    for name in ("first.png", "second.png"):
        (tmp_path / "links" / name).symlink_to(folder / "a.png")
    found = find_pictures([str(tmp_path / "links"), str(tmp_path / "links" / ".." / "links" / "second.png")])
    assert [path.name for path in found] == ["first.png", "second.png"]


def test_a_report_has_such_names(tmp_path):
    name = os.fsdecode(NAMES[2])

    class OnePicture:
        def __len__(self) -> int:
            return 1

        def name(self, index: int) -> str:
            return name

    rows = [{"class": "sky", "IoU": 1.0}]
    results = Results({"mIoU": 1.0}, ("class", "IoU"), rows, "", ("picture", "mIoU"), [(name, 1.0)])
    write_report(tmp_path, results, OnePicture(), {"data": name})
    assert json.loads((tmp_path / "metrics.json").read_text("utf-8"))["data"] == name
    assert "\\udcff.png" in (tmp_path / "pictures.csv").read_text("utf-8")
    titled(np.zeros((8, 8, 3), np.uint8), name)  # in a drawing too


def test_a_damaged_picture_of_such_a_name_is_one_that_failed(folder, tmp_path, capfd):
    with open(os.path.join(os.fsencode(folder), NAMES[2]), "wb") as file:
        file.write(b"no picture")
    assert main(["segment", str(folder), "--model", "segformer_tiny_shapes", "--output", str(tmp_path / "out")]) == 1
    said = capfd.readouterr()
    assert "2 of 3 pictures segmented" in said.out
    assert "\\udcff.png is not a picture of a known format" in said.err


def test_what_other_packages_warn_of_is_logged_and_not_shown(tmp_path):
    code = (
        "import warnings, logging; from ms_seg.commands.third_party import warnings_to_log\n"
        "with warnings_to_log():\n"
        "    warnings.warn('a glyph is missing'); logging.getLogger('matplotlib.font_manager').warning('no font')\n"
        "warnings.warn('of another time')"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert "of another time" in ended.stderr and "glyph" not in ended.stderr and "font" not in ended.stderr
    log = (tmp_path / "ms_seg/warnings.log").read_text()
    assert "a glyph is missing" in log and "no font" in log


def test_where_no_log_can_be_written_nothing_is_said_either(tmp_path, monkeypatch, capfd):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with warnings_to_log():
        logging.getLogger("PIL.Image").warning("odd")
    assert capfd.readouterr() == ("", "")

"""Pickled lists of texts: read as pickle itself would, and nothing else is."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from convert import CheckpointError
from convert.reading.text_lists import read_text_lists
from tests.data.few_shot_folders import COCO_PICTURES, coco_lists

LISTS = {0: ["val2014/a.jpg", "val2014/ü.jpg"], 7: [], 79: [f"{number}.jpg" for number in range(3000)]}


def written(tmp_path: Path, value: object, protocol: int = 3) -> Path:
    path = tmp_path / "fold0.pkl"
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_gives_the_lists_back(tmp_path, protocol):
    assert read_text_lists(written(tmp_path, LISTS, protocol)) == LISTS


@pytest.mark.parametrize("fold", range(4))
def test_lists_as_long_as_the_published_ones_which_name_a_picture_several_times(tmp_path, fold):
    lists = coco_lists(fold)
    path = written(tmp_path, lists)
    assert path.stat().st_size < 40 * sum(COCO_PICTURES[fold])  # a name that comes again is a reference
    assert read_text_lists(path) == lists


class Attack:
    def __reduce__(self) -> tuple:
        return os.mkdir, (os.environ["MARKER"],)


def test_no_function_is_called(tmp_path, monkeypatch):
    marker = tmp_path / "marker"
    monkeypatch.setenv("MARKER", str(marker))
    path = written(tmp_path, {0: Attack()})
    with pytest.raises(CheckpointError, match=r"fold0\.pkl names '\w+\.mkdir'.*refused"):
        read_text_lists(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "value",
    [
        ["a"], "a", None, {"a": ["b"]}, {0: ["a", 1]}, {0: "abc"}, {0: ("a",)}, {0: ["a" * 5000]}, {0: [b"a"]},
        {-1: ["a"]}, {True: ["a"]}, {1 << 70: ["a"]}, {(0,): ["a"]}, {0: {"a": "b"}},
    ],
    ids=repr,
)  # fmt: skip
def test_anything_else_is_refused(tmp_path, value):
    with pytest.raises(CheckpointError, match=r"fold0\.pkl holds something other than lists of texts under numbers\.$"):
        read_text_lists(written(tmp_path, value))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(LISTS, 3)[:-200], "is cut off"),
        (b"version https://git-lfs.github.com/spec/v1\n", "unknown pickle opcode"),
        (b"", "is an empty file"),
        (b"\x80\x03PSomething\n.", "refers to objects outside of itself"),
    ],
)
def test_broken_files_are_refused(tmp_path, content, message):
    with pytest.raises(CheckpointError, match=message):
        read_text_lists(written(tmp_path, content))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"fold9\.pkl does not exist"):
        read_text_lists(tmp_path / "fold9.pkl")

"""Configurations that are Python programs: what is read of them, and that nothing of them is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from convert import CheckpointError
from convert.reading.python_config import parse_python, read_python


def test_what_openmmlab_writes_is_read():
    text = """
from mmseg.models import SegformerHead
classes = ('a', "b")
norm = dict(type='SyncBN', requires_grad=True)
base: int = 2 * 16
model = dict(
    head=dict(type=SegformerHead, norm_cfg=norm, num_classes=len(classes), **{'in_index': [0, 1]}),
    scale=(base * 4, -base // 3), weights=[1.0] * 2 + [0.1])
"""
    found = parse_python(text, "config")
    assert found["model"]["head"] == {
        "type": "SegformerHead", "norm_cfg": {"type": "SyncBN", "requires_grad": True}, "num_classes": 2,
        "in_index": [0, 1],
    }  # fmt: skip
    assert found["model"]["scale"] == (128, -11) and found["model"]["weights"] == [1.0, 1.0, 0.1]


def test_what_would_have_to_be_run_is_unknown(tmp_path: Path):
    mark = tmp_path / "run"
    text = f"""
open({str(mark)!r}, "w").close()
import os
a = dict(x=1, y=os.getcwd(), z=[f"{{1}}", 2])
b = dict(x=1)
b.update(x=2)
c = 1
for c in range(3):
    pass
d = 1
if d:
    d = 2
e = [i for i in range(3)]
f = "x" * 10**9
g = 2 ** 9
"""
    assert parse_python(text, "config") == {"a": {"x": 1, "z": [None, 2]}}
    assert not mark.exists()


@pytest.mark.parametrize(
    "text",
    [
        "model = dict(", "(" * 100_000, "a = " + "-" * 100_000 + "1", "\0",
        "a0 = [1]\n" + "".join(f"a{i + 1} = dict(x=a{i}, y=a{i})\n" for i in range(60)),
    ],
    ids=["cut off", "deep", "deep in a value", "no text", "a table of tables in many places"],
)  # fmt: skip
def test_what_is_no_configuration_is_a_sentence(text: str):
    with pytest.raises(CheckpointError, match="config must be a Python configuration") as error:
        parse_python(text, "config")
    assert "\n" not in str(error.value)


def test_bases_of_the_folder_are_merged_and_others_named(tmp_path: Path):
    (tmp_path / "model.py").write_text("model = dict(a=dict(x=1, y=2), b=dict(x=1), c=3)")
    (tmp_path / "data.py").write_text("scale = 5\n_base_ = 'model.py'")
    (tmp_path / "config.py").write_text(
        "_base_ = ['./data.py', '../elsewhere.py', 'absent.py']\nmodel = dict(a=dict(y=3), b=dict(_delete_=True, z=4))"
    )
    values, missing = read_python(tmp_path / "config.py")
    assert values == {"scale": 5, "model": {"a": {"x": 1, "y": 3}, "b": {"z": 4}, "c": 3}}
    assert missing == ["'../elsewhere.py'", "'absent.py'"]


def test_files_in_a_circle_out_of_the_folder_or_of_no_text_are_refused(tmp_path: Path):
    (folder := tmp_path / "folder").mkdir()
    (folder / "config.py").write_text("_base_ = 'other.py'")
    (folder / "other.py").write_text("_base_ = 'config.py'")
    with pytest.raises(CheckpointError, match="among the files of its own _base_"):
        read_python(folder / "config.py")
    (folder / "other.py").unlink()
    (tmp_path / "outside.py").write_text("a = 1")
    (folder / "other.py").symlink_to(tmp_path / "outside.py")
    with pytest.raises(CheckpointError, match="leads out of its folder"):
        read_python(folder / "config.py")
    (folder / "config.py").write_bytes(b"\xff")
    with pytest.raises(CheckpointError, match="no text in UTF-8"):
        read_python(folder / "config.py")

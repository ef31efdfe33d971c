"""Datasets from their archives: whole and verified, continued where they were stopped, or refused in a sentence."""

from __future__ import annotations

import importlib.util
import io
import os
import stat
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from ms_seg.data import archives
from ms_seg.data.datasets import open_dataset

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
COUNTS = {"prepare_ade20k": {"training": 3, "validation": 2}, "prepare_coco_stuff": {"train2017": 3, "val2017": 2}}


def load(name: str, monkeypatch) -> ModuleType:
    """A script as a module, for datasets of a few pictures."""
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "COUNTS", COUNTS[name])
    return module


def run(module: ModuleType, monkeypatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
    return module.main()


def encoded(array: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


PICTURE = encoded(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8), "JPEG")
LABELS = encoded(np.resize(np.arange(140, dtype=np.uint8), (20, 30)), "PNG")


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def ade20k_members() -> dict[str, bytes]:
    members = {"ADEChallengeData2016/objectInfo150.txt": b"names", "ADEChallengeData2016/images/training/": b""}
    for split, count in COUNTS["prepare_ade20k"].items():
        for number in range(count):
            members[f"ADEChallengeData2016/images/{split}/ADE_{number}.jpg"] = PICTURE
            members[f"ADEChallengeData2016/annotations/{split}/ADE_{number}.png"] = LABELS
    return members


@pytest.fixture
def ade20k(monkeypatch) -> ModuleType:
    return load("prepare_ade20k", monkeypatch)


@pytest.fixture
def downloaded(tmp_path) -> Path:
    return write_zip(tmp_path / "ADEChallengeData2016.zip", ade20k_members())


def refused(capsys, *parts: str) -> None:
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert all(part in error for part in parts), error


def test_ade20k_is_unpacked_and_can_be_opened(ade20k, monkeypatch, downloaded, tmp_path, capsys):
    assert run(ade20k, monkeypatch, downloaded, "--output", tmp_path / "datasets") == 0
    dataset = open_dataset("ade20k", tmp_path / "datasets", "training")
    assert (len(dataset), len(open_dataset("ade20k", tmp_path / "datasets", "validation"))) == (3, 2)
    assert dataset.label_map(0).shape == dataset.picture(0).shape[:2]
    assert os.listdir(tmp_path / "datasets") == ["ADEChallengeData2016"]
    printed = capsys.readouterr()
    assert "3 pictures in images/training" in printed.out
    assert "unpacking ADEChallengeData2016: 100%" in printed.err


def test_coco_stuff_is_unpacked_from_its_three_archives(monkeypatch, tmp_path):
    module = load("prepare_coco_stuff", monkeypatch)
    labels = {}
    for split, count in COUNTS["prepare_coco_stuff"].items():
        names = [f"{split}/{number:012}" for number in range(count)]
        write_zip(tmp_path / f"{split}.zip", {f"{name}.jpg": PICTURE for name in names})
        small = encoded(np.zeros((20, 30), np.uint8), "PNG")
        labels |= {f"{name}.png": small for name in names}
    write_zip(tmp_path / "stuffthingmaps_trainval2017.zip", labels)
    assert run(module, monkeypatch, tmp_path, "--output", tmp_path) == 0
    dataset = open_dataset("cocostuff164k", tmp_path / "coco_stuff164k", "training")
    assert len(dataset) == 3
    assert dataset.label_map(2).max() == 0


def test_a_missing_archive_is_named(monkeypatch, tmp_path, capsys):
    write_zip(tmp_path / "train2017.zip", {})
    assert run(load("prepare_coco_stuff", monkeypatch), monkeypatch, tmp_path, "--output", tmp_path) == 2
    refused(capsys, "there is no stuffthingmaps_trainval2017.zip", "download it first")


def test_a_whole_dataset_is_left_as_it_is(ade20k, monkeypatch, downloaded, tmp_path, capsys):
    assert run(ade20k, monkeypatch, downloaded, "--output", tmp_path) == 0
    file = tmp_path / "ADEChallengeData2016/images/training/ADE_0.jpg"
    written = file.stat().st_mtime_ns
    assert run(ade20k, monkeypatch, downloaded, "--output", tmp_path) == 0
    assert file.stat().st_mtime_ns == written
    assert "is there already, and whole" in capsys.readouterr().out


@pytest.mark.parametrize("gone", ["images/training/ADE_0.jpg", "annotations/training/ADE_0.png"])
def test_a_dataset_that_lost_a_file_is_not_called_whole(ade20k, monkeypatch, downloaded, tmp_path, capsys, gone):
    assert run(ade20k, monkeypatch, downloaded, "--output", tmp_path) == 0
    (tmp_path / "ADEChallengeData2016" / gone).unlink()
    assert run(ade20k, monkeypatch, downloaded, "--output", tmp_path) == 2
    refused(capsys, "is not a whole dataset")


def test_a_stopped_run_is_continued(ade20k, monkeypatch, downloaded, tmp_path, capsys):
    replace, left = os.replace, [4]

    def stopped_after_four(*names: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        replace(*names)

    monkeypatch.setattr(archives.os, "replace", stopped_after_four)
    assert run(ade20k, monkeypatch, downloaded, "--output", tmp_path) == 130
    assert not (tmp_path / "ADEChallengeData2016").exists()
    assert "the same command continues" in capsys.readouterr().err
    done = [file for file in (tmp_path / ".ADEChallengeData2016.part").rglob("ADE_*") if file.is_file()]
    assert len(done) == 4
    os.truncate(done[0], 0)  # as a crash of the machine may leave it
    unpacked = []
    monkeypatch.setattr(archives.os, "replace", lambda *names: (unpacked.append(names[1]), replace(*names)))
    assert run(ade20k, monkeypatch, downloaded, "--output", tmp_path) == 0
    assert len(unpacked) == 10 - 4 + 1
    assert len(open_dataset("ade20k", tmp_path, "training")) == 3
    assert not list((tmp_path / "ADEChallengeData2016").glob(".*"))


def test_a_full_disk_is_said_before_anything_is_unpacked(ade20k, monkeypatch, downloaded, tmp_path, capsys):
    usage = archives.shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _folder: usage)
    assert run(ade20k, monkeypatch, downloaded, "--output", tmp_path) == 2
    refused(capsys, "MB more, and the disk has 0 MB free")


# ---------------------------------------------------------------------------------------- wrong, broken and hostile


def cut(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def spoil(path: Path) -> None:
    """Change a byte inside the packed contents of the first picture."""
    content = bytearray(path.read_bytes())
    content[content.index(b"ADE_0.jpg") + 200] ^= 0xFF
    path.write_bytes(content)


def without(name: str):
    def change(path: Path) -> None:
        write_zip(path, {key: content for key, content in ade20k_members().items() if key != name})

    return change


def with_member(name: str, content: bytes = b"x"):
    return lambda path: write_zip(path, {**ade20k_members(), name: content})


def with_link(path: Path) -> None:
    link = zipfile.ZipInfo("ADEChallengeData2016/images/training/ADE_0.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    members = ade20k_members()
    members.pop(link.filename)
    write_zip(path, members)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")


def encrypted(path: Path) -> None:
    """Set the flag of encryption in every header."""
    content = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.find(signature)
        while start >= 0:
            content[start + at] |= 1
            start = content.find(signature, start + 4)
    path.write_bytes(content)


def bomb(path: Path) -> None:
    """Three times 60 MB of zeros: each may be that large, but no archive of a few KB may grow that much."""
    zeros = bytes(60 << 20)
    write_zip(path, {**ade20k_members(), **{f"ADEChallengeData2016/notes{number}": zeros for number in range(3)}})


def understated(path: Path) -> None:
    """The directory says that a label map has 10 bytes."""
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02", 0, content.rindex(b"annotations/training/ADE_0.png"))
    struct.pack_into("<I", content, at + 24, 10)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: cut(path, 0.5), "is no zip archive, or cut off"),
        (lambda path: cut(path, 0), "is no zip archive, or cut off"),
        (lambda path: path.write_text("<html>404</html>"), "is no zip archive, or cut off"),
        (spoil, "is damaged at ADEChallengeData2016/images/training/ADE_0.jpg"),
        (understated, "is damaged at ADEChallengeData2016/annotations/training/ADE_0.png"),
        (without("ADEChallengeData2016/images/validation/ADE_1.jpg"), "holds 1 files images/validation/*.jpg, not 2"),
        (lambda path: write_zip(path, {"a.txt": b""}), "is not ADEChallengeData2016.zip as published: it holds 0"),
        (with_member("../evil.jpg"), "a path that leads out of the dataset: refused"),
        (with_member("ADEChallengeData2016/images/training/../../../../evil.jpg"), "leads out of the dataset"),
        (with_member("/etc/evil"), "leads out of the dataset"),
        (with_member("..\\evil.jpg"), "leads out of the dataset"),
        (with_link, "a symbolic link: refused"),
        (with_member("ADEChallengeData2016/notes.txt", bytes(65 << 20)), "of 65 MB: refused"),
        (bomb, "would grow to 180 MB"),
        (encrypted, "is damaged at"),
    ],
    ids=["cut", "empty", "a web page", "a byte changed", "size understated", "a file missing", "another archive",
         "upwards", "upwards inside", "absolute", "backslash", "link", "huge file", "bomb", "encrypted"],
)  # fmt: skip
def test_an_archive_that_is_wrong_leaves_no_dataset(ade20k, monkeypatch, downloaded, tmp_path, capsys, change, message):
    change(downloaded)
    output = tmp_path / "inside" / "datasets"
    assert run(ade20k, monkeypatch, downloaded, "--output", output) == 2
    refused(capsys, str(downloaded), message)
    assert not (output / "ADEChallengeData2016").exists()
    assert not list(tmp_path.rglob("evil*"))


def test_a_mended_archive_continues_after_a_damaged_one(ade20k, monkeypatch, downloaded, tmp_path):
    whole = downloaded.read_bytes()
    spoil(downloaded)
    assert run(ade20k, monkeypatch, downloaded, "--output", tmp_path) == 2
    downloaded.write_bytes(whole)
    assert run(ade20k, monkeypatch, downloaded, "--output", tmp_path) == 0


@pytest.mark.parametrize("script", COUNTS)
def test_the_published_counts_are_asked_for(script, tmp_path):
    """The script itself, as a person runs it, on an archive that holds too little."""
    for name in ("ADEChallengeData2016", "train2017", "val2017", "stuffthingmaps_trainval2017"):
        write_zip(tmp_path / f"{name}.zip", ade20k_members())
    result = subprocess.run(
        [sys.executable, SCRIPTS / f"{script}.py", tmp_path, "--output", tmp_path], capture_output=True, text=True
    )
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert ("not 20210" if script == "prepare_ade20k" else "not 118287") in result.stderr

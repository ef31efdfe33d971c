"""COCO panoptic from its archives, of which some lie in another: whole and verified, continued, or refused."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from ms_seg.data import archives
from ms_seg.data.coco.instance import open_coco_instance
from ms_seg.data.coco.panoptic import open_coco_panoptic
from tests.data.panoptic_files import CATEGORIES, in_quarters, segment, write_panoptic

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "prepare_coco_panoptic.py"
COUNTS = {"train2017": 2, "val2017": 1}


@pytest.fixture
def script(monkeypatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("prepare_coco_panoptic", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "COUNTS", COUNTS)
    return module


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def jpeg(size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size[::-1], "grey").save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def downloaded(tmp_path) -> Path:
    """The three archives, with what macOS put into the published ones."""
    folder, outer = tmp_path / "downloads", {}
    folder.mkdir()
    for split, count in COUNTS.items():
        drawn = [(in_quarters([1, 2, 3, 0]), [segment(i, 3) for i in (1, 2, 3)])] * count
        file = write_panoptic(tmp_path / "made" / f"panoptic_{split}.json", drawn)
        maps = {f"panoptic_{split}/{png.name}": png.read_bytes() for png in file.with_suffix("").iterdir()}
        maps[f"__MACOSX/panoptic_{split}/._{next(file.with_suffix('').iterdir()).name}"] = b"junk"
        outer[f"annotations/panoptic_{split}.json"] = file.read_bytes()
        outer[f"annotations/panoptic_{split}.zip"] = zipped(maps)
        outer[f"__MACOSX/annotations/._panoptic_{split}.zip"] = b"junk"
        pictures = {f"{split}/{Path(name).stem}.jpg": jpeg((20, 30)) for name in list(maps)[:-1]}
        (folder / f"{split}.zip").write_bytes(zipped(pictures))
    (folder / "panoptic_annotations_trainval2017.zip").write_bytes(zipped(outer))
    return folder


def run(script: ModuleType, monkeypatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["prepare_coco_panoptic", *map(str, arguments)])
    return script.main()


def test_it_is_unpacked_and_can_be_opened(script, monkeypatch, downloaded, tmp_path, capsys):
    assert run(script, monkeypatch, downloaded, "--output", tmp_path) == 0
    assert "2 pictures in train2017, 1 pictures in val2017" in capsys.readouterr().out
    dataset = open_coco_panoptic(tmp_path / "coco_panoptic", "training")
    assert len(dataset) == 2
    assert dataset.panoptic(1).ids.shape == dataset.picture(1).shape[:2]
    assert not list((tmp_path / "coco_panoptic").glob(".*"))
    assert not list(tmp_path.glob(".*"))
    assert run(script, monkeypatch, downloaded, "--output", tmp_path) == 0
    assert "is there already, and whole" in capsys.readouterr().out


def test_the_validation_pictures_can_be_had_alone_with_instances(script, monkeypatch, downloaded, tmp_path):
    (downloaded / "train2017.zip").unlink()
    thing = {"image_id": 100, "category_id": 3, "bbox": [0, 0, 5, 5], "area": 25, "segmentation": [[0, 0, 5, 0, 5, 5]]}
    images = [{"id": 100, "file_name": f"{100:012}.jpg", "height": 20, "width": 30}]
    content = json.dumps({"images": images, "annotations": [thing], "categories": CATEGORIES[:3]}).encode()
    (downloaded / "annotations_trainval2017.zip").write_bytes(zipped({"annotations/instances_val2017.json": content}))
    assert run(script, monkeypatch, downloaded, "--output", tmp_path, "--validation") == 0
    assert len(open_coco_instance(tmp_path / "coco_panoptic", "validation").things(0)) == 1


def test_a_stopped_run_is_continued(script, monkeypatch, downloaded, tmp_path, capsys):
    replace, left = os.replace, [4]

    def stopped_after_four(*names: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        replace(*names)

    monkeypatch.setattr(archives.os, "replace", stopped_after_four)
    assert run(script, monkeypatch, downloaded, "--output", tmp_path) == 130
    assert not (tmp_path / "coco_panoptic").exists()
    unpacked = []
    monkeypatch.setattr(archives.os, "replace", lambda *names: (unpacked.append(names[1]), replace(*names)))
    assert run(script, monkeypatch, downloaded, "--output", tmp_path) == 0
    assert len(unpacked) == 2 + 2 + 3 + 3 - 4  # archives, JSON files, maps, pictures


def test_a_map_that_the_json_file_names_and_nobody_packed_leaves_no_dataset(
    script, monkeypatch, downloaded, tmp_path, capsys
):
    path = downloaded / "panoptic_annotations_trainval2017.zip"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = "annotations/panoptic_val2017.json"
    members[name] = members[name].replace(b"000000000100.png", b"000000000107.png")
    path.write_bytes(zipped(members))
    assert run(script, monkeypatch, downloaded, "--output", tmp_path) == 2
    assert "000000000107.png is missing" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "coco_panoptic").exists()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("annotations/panoptic_val2017.zip", b"<html>404</html>", "is no zip archive, or cut off"),
        ("annotations/panoptic_val2017.json", b"{", "is no JSON, or cut off"),
        ("annotations/panoptic_val2017.zip", zipped({"a.txt": b""}), "it holds 0 files panoptic_val2017/*.png, not 1"),
        ("annotations/panoptic_val2017.zip", zipped({"../evil.png": b""}), "a path that leads out of the dataset"),
    ],
)
def test_what_is_wrong_inside_an_archive_is_one_sentence(
    script, monkeypatch, downloaded, tmp_path, capsys, name, content, sentence
):
    path = downloaded / "panoptic_annotations_trainval2017.zip"
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    path.write_bytes(zipped({**members, name: content}))
    assert run(script, monkeypatch, downloaded, "--output", tmp_path) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("prepare_coco_panoptic: ") and sentence in error
    assert not (tmp_path / "coco_panoptic").exists()

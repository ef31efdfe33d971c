"""`python -m ms_seg data look`: sheets, the distribution of the classes, and what is odd, without a model."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ms_seg.__main__ import main
from tests.commands import broken_datasets as broken
from tests.data.published import write_cityscapes, write_cityscapes_panoptic, write_voc

ROOT = Path(__file__).resolve().parents[2]


def look(data: Path | None, output: Path, *more: str) -> int:
    return main(["data", "look", *([str(data)] if data else []), "--output", str(output), *more])


def test_each_split_gets_a_sheet_and_its_classes(tmp_path, capfd):
    data = broken.write_dataset("folder", tmp_path / "data")
    assert look(data, tmp_path / "out") == 0
    said = capfd.readouterr().out
    assert "values 0..2 with 3 classes: 0..2 number them" in said
    assert said.count("value  share  files  class") == 2
    for split in ("training", "validation"):
        assert f"{split}: {tmp_path / 'out' / split}.png" in said
        sheet = np.array(Image.open(tmp_path / f"out/{split}.png"))
        assert sheet.shape[1] >= 1000 and len(np.unique(sheet.reshape(-1, 3), axis=0)) > 500


def test_no_model_and_no_mindspore_is_needed(tmp_path):
    data = broken.write_dataset("folder", tmp_path / "data")
    code = "import sys; from ms_seg.__main__ import main; sys.exit(main(sys.argv[1:]) or 'mindspore' in sys.modules)"
    command = [sys.executable, "-c", code, "data", "look", str(data), "--output", str(tmp_path / "out")]
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0


def test_all_damaged_files_are_named_at_once_and_the_others_drawn(tmp_path, capfd):
    data = broken.write_dataset("folder", tmp_path / "data")
    files = [
        damage(broken.pair("folder", data, "training", number))
        for number, damage in enumerate([broken.cut_picture, broken.garble_label])
    ]
    assert look(data, tmp_path / "out", "--reduce-zero-label", "false") == 1
    said = capfd.readouterr()
    assert all(str(file) in said.err for file in files)
    assert "3 pictures, 3 classes; labels of 1 read" in said.out
    assert (tmp_path / "out/training.png").is_file()


def test_what_a_dataset_cannot_be_used_for_is_said_after_the_sheet(tmp_path, capfd):
    data = broken.write_dataset("folder", tmp_path / "data")
    for number in range(broken.COUNT):
        broken.write_labels(broken.pair("folder", data, "training", number).label, [0, 1], broken.SIZE)
    picture = broken.pair("folder", data, "training", 0).picture.read_bytes()
    broken.pair("folder", data, "validation", 2).picture.write_bytes(picture)
    assert look(data, tmp_path / "out") == 2
    said = capfd.readouterr().err
    assert "no label file of the 3 in" in said and "shows blue" in said and "are the same picture" in said
    assert (tmp_path / "out/validation.png").is_file()


def test_labels_of_two_readings_are_drawn_in_both(tmp_path, capfd):
    data = broken.write_dataset("folder", tmp_path / "data")
    broken.write_labels(broken.pair("folder", data, "validation", 0).label, [0, 1, 2, 3], broken.SIZE)
    assert look(data, tmp_path / "out") == 2
    assert "can be read in 2 ways" in capfd.readouterr().err
    assert (tmp_path / "out.readings.png").is_file() and not (tmp_path / "out").exists()


@pytest.mark.parametrize("dataset", ["shapes", "shapes_panoptic"])
def test_any_dataset_is_looked_at_by_its_name(tmp_path, capfd, dataset):
    assert look(None, tmp_path / "out", "--dataset", dataset, "--split", "validation", "--pictures", "4") == 0
    assert "4 pictures, 9 classes; labels of 4 read" in capfd.readouterr().out
    assert (tmp_path / "out/validation.png").is_file()


def panoptic_validation(root: Path) -> Path:
    """Pictures of both splits, and the JSON file of one."""
    return write_cityscapes_panoptic(write_cityscapes(write_cityscapes(root), "training"))


@pytest.mark.parametrize("dataset", ["folder", "cityscapes", "cityscapes_panoptic", "voc2012"])
def test_a_split_that_is_not_there_is_said_and_no_fault(tmp_path, capfd, dataset):
    writer = {"cityscapes": write_cityscapes, "cityscapes_panoptic": panoptic_validation, "voc2012": write_voc}.get(
        dataset
    )
    data = writer(tmp_path / "data") if writer else broken.write_dataset("folder", tmp_path / "data")
    if dataset == "folder":
        shutil.rmtree(data / "images/training")
        shutil.rmtree(data / "labels/training")
    elif dataset == "voc2012":
        (data / "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt").unlink()
    assert look(data, tmp_path / "out", "--dataset", dataset) == 0
    said = capfd.readouterr()
    assert said.out.startswith("training: there is no ") and "validation: " in said.out
    assert look(data, tmp_path / "out", "--dataset", dataset, "--split", "training") == 2


def test_a_split_without_its_labels_is_a_fault(tmp_path, capfd):
    data = broken.write_dataset("folder", tmp_path / "data")
    shutil.rmtree(data / "labels/training")
    assert look(data, tmp_path / "out") == 2
    assert f"there is no folder {data}/labels/training" in capfd.readouterr().err

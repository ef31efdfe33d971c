"""SBD's label maps beside VOC's: converted, listed, and refused in a sentence."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from ms_seg.data.datasets import open_dataset
from tests.data.published import write_voc

SCRIPT = Path(__file__).parents[2] / "scripts" / "prepare_voc_aug.py"
LABELS = np.resize(np.array([0, 5, 20], np.uint8), (40, 60))


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    """VOC with nothing of SBD's, and SBD, which shares a picture with each of VOC's splits."""
    voc, sbd = write_voc(tmp_path) / "VOCdevkit/VOC2012", tmp_path / "benchmark_RELEASE/dataset"
    (voc / "ImageSets/Segmentation/aug.txt").unlink()
    for file in (voc / "SegmentationClassAug").iterdir():
        file.unlink()
    (sbd / "cls").mkdir(parents=True)
    for part, numbers in (("train", (10, 0)), ("val", (11, 20))):
        (sbd / f"{part}.txt").write_text("".join(f"2008_{number:06}\n" for number in numbers))
        for number in numbers:
            savemat(sbd / "cls" / f"2008_{number:06}.mat", {"GTcls": {"Segmentation": LABELS, "Boundaries": 0}})
    return voc, sbd


def run(*folders: Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, SCRIPT, *folders], capture_output=True, text=True)


def test_what_it_writes_is_what_voc2012_aug_reads(folders, tmp_path):
    voc, _ = folders
    done = run(*folders)
    assert done.returncode == 0 and "2 pictures beside VOC's 2 to train on" in done.stdout
    assert np.array_equal(np.array(Image.open(voc / "SegmentationClassAug/2008_000010.png")), LABELS)
    lists = [(voc / f"ImageSets/Segmentation/{name}.txt").read_text().split() for name in ("aug", "trainaug")]
    assert [[int(name[5:]) for name in names] for names in lists] == [[10, 11], [0, 1, 10, 11]]
    dataset = open_dataset("voc2012_aug", tmp_path, "training")
    assert len(dataset) == 4 and np.array_equal(dataset.label_map(3), LABELS)


@pytest.mark.parametrize(
    ("content", "sentence"), [(None, "there is no .*11.mat"), (b"MATLAB", "is no label map of SBD")]
)
def test_a_file_that_is_missing_or_damaged_is_named_and_no_list_is_written(folders, content, sentence):
    voc, sbd = folders
    file = sbd / "cls/2008_000011.mat"
    file.unlink() if content is None else file.write_bytes(content)
    done = run(*folders)
    assert done.returncode == 2 and re.search(sentence, done.stderr)
    assert not (voc / "ImageSets/Segmentation/aug.txt").exists()

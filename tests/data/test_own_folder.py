"""A person's own pictures as tools export them: CVAT, labelme and Roboflow."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ms_seg.data.datasets import open_dataset, open_for_task
from ms_seg.data.own_folder import WHOLE, splits_of
from ms_seg.data.semantic import SPLITS
from tests.commands.broken_datasets import write_dataset
from tests.data.small_datasets import write_labels, write_picture

NAMES = ("frame_1", "frame_2", "frame_3")
COLOURS = np.uint8([[0, 0, 0], [128, 64, 128], [0, 128, 0]])


def labels_of(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, (4, 6)).repeat(5, axis=0).repeat(5, axis=1)


def write_cvat(root: Path) -> Path:
    """CVAT's "Segmentation mask 1.1" with images: coloured PNG files, and the colours in labelmap.txt."""
    for seed, name in enumerate(NAMES):
        write_picture(root / f"JPEGImages/{name}.jpg", (20, 30), seed)
        (root / "SegmentationClass").mkdir(exist_ok=True)
        Image.fromarray(COLOURS[labels_of(seed)]).save(root / f"SegmentationClass/{name}.png")
    lines = "background:0,0,0::\nroad:128,64,128::\nplants:0,128,0::\n"
    (root / "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + lines)
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/default.txt").write_text("\n".join(NAMES) + "\n")
    return root


def write_labelme(root: Path) -> Path:
    """labelme2voc.py's folder: palettes, arrays and drawings beside them, and class_names.txt."""
    for seed, name in enumerate(NAMES):
        write_picture(root / f"JPEGImages/{name}.jpg", (20, 30), seed)
        write_picture(root / f"SegmentationClassVisualization/{name}.jpg", (20, 30), seed)
        for folder in ("SegmentationClass", "SegmentationClassPNG"):
            (root / folder).mkdir(exist_ok=True)
        np.save(root / f"SegmentationClass/{name}.npy", labels_of(seed))
        indices = Image.fromarray(labels_of(seed).astype(np.uint8))
        indices.putpalette(COLOURS[[0, 2, 1]].tobytes())  # labelme colours indices, whatever they stand for
        indices.save(root / f"SegmentationClassPNG/{name}.png")
    (root / "class_names.txt").write_text("_background_\nroad\nplants\n")
    return root


def write_roboflow(root: Path) -> Path:
    """Roboflow's "Semantic Segmentation Masks": both files in one folder, with a list of values in each split."""
    for seed, (split, name) in enumerate(zip(("train", "train", "valid"), NAMES, strict=True)):
        stem = root / split / f"{name}_jpg.rf.abc{seed}f"
        write_picture(Path(f"{stem}.jpg"), (20, 30), seed)
        write_labels(Path(f"{stem}_mask.png"), labels_of(seed))
        (root / split / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, road\n2, plants\n")
    return root


@pytest.mark.parametrize("write", [write_cvat, write_labelme])
def test_an_export_in_pascals_folders_is_looked_at_as_a_whole_or_split_by_lists(tmp_path, write):
    root = write(tmp_path)
    assert splits_of(root) == (WHOLE,)
    dataset = open_dataset("folder", root, WHOLE)
    assert len(dataset) == 3 and dataset.label_set.names[1:] == ("road", "plants")
    for index in range(3):
        assert np.array_equal(dataset.label_map(index), labels_of(index))
    with pytest.raises(ValueError, match=r"there is no .*train\.txt: write the names of the training split's pictures"):
        open_dataset("folder", root, "training")
    lists = root / "ImageSets/Segmentation"
    lists.mkdir(parents=True, exist_ok=True)
    (lists / "Train.txt").write_text("frame_1\nframe_3\n")  # CVAT keeps the case of its subsets
    (lists / "val.txt").write_text("frame_2\n")
    assert splits_of(root) == SPLITS
    training, validation = (open_dataset("folder", root, split) for split in SPLITS)
    assert [training.name(index) for index in range(2)] == ["frame_1", "frame_3"]
    assert [validation.name(0), len(validation)] == ["frame_2", 1]


def test_roboflows_masks_lie_beside_the_pictures(tmp_path):
    root = write_roboflow(tmp_path)
    training, validation = (open_dataset("folder", root, split) for split in splits_of(root))
    assert (len(training), len(validation), training.label_set.names) == (2, 1, ("background", "road", "plants"))
    assert np.array_equal(training.label_map(1), labels_of(1))
    assert np.array_equal(validation.label_map(0), labels_of(2))


def test_a_persons_own_pictures_may_have_a_test_split_and_published_ones_have_none(tmp_path):
    root = write_dataset("folder", tmp_path / "data")
    with pytest.raises(ValueError, match="there is no folder .*images/test"):
        open_for_task("folder", root, "test")
    for kind in ("images", "labels"):
        shutil.copytree(root / kind / "validation", root / kind / "test")
    dataset = open_for_task("folder", root, "test")
    assert len(dataset) == 3 and dataset.paths(0)[0].parent == root / "images" / "test"
    with pytest.raises(ValueError, match="ade20k has no split 'test': choose from training, validation"):
        open_for_task("ade20k", root, "test")


def test_an_export_without_its_pictures_is_told(tmp_path):
    root = write_cvat(tmp_path)
    (root / "JPEGImages").rename(root / "elsewhere")
    with pytest.raises(ValueError, match=r"SegmentationClass is there and no .*JPEGImages: export the pictures too"):
        open_dataset("folder", root, "training")


def test_labels_that_were_saved_as_jpeg_are_told(tmp_path):
    (tmp_path / "labels.txt").write_text("sky\nroad\n")
    for name in ("images/training/a.jpg", "labels/training/a.jpg"):
        write_picture(tmp_path / name)
    with pytest.raises(ValueError, match=r"labels/training/a\.jpg is a JPEG file, which changes the values of labels"):
        open_dataset("folder", tmp_path, "training")

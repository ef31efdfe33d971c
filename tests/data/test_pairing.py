"""A person's own folders: which names of folders and files are understood, and which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from ms_seg.data.datasets import open_dataset
from tests.data.small_datasets import write_labels, write_picture


def write(root: Path, *pairs: tuple[str, str]) -> Path:
    root.mkdir(exist_ok=True)
    (root / "labels.txt").write_text("cat\ndog\n")
    for picture, labels in pairs:
        write_picture(root / picture)
        write_labels(root / labels, [0, 1])
    return root


@pytest.mark.parametrize(
    ("pictures", "labels"),
    [
        (["images/train/{}.jpg"], ["annotations/train/{}.png"]),
        (["train/images/{}.jpg"], ["train/masks/{}.png"]),
        (["images/training/{}.png"], ["masks/train/{}_mask.png"]),
        (["images/train/north/{}.JPG"], ["labels/train/north/{}.PNG"]),
        (["images/train/{}_image.jpg"], ["labels/train/{}_mask.png"]),
        (["images/train/{}_leftImg8bit.png"], ["labels/train/{}_gtFine_labelIds.png"]),
        (["train/{}.jpg"], ["train/{}.png"]),
        (["train/{}.jpg"], ["train/{}_mask.png"]),
        (["train/{}.png"], ["train/{}-label.png"]),
        (["train/{}.png"], ["trainannot/{}.png"]),  # CamVid, as SegNet's authors give it
        (["train/{}.png"], ["train_labels/{}_L.png"]),  # and as Kaggle does
        (["images/train/{}.jpg"], ["labels/train/{}.tif"]),
    ],
)
def test_pictures_and_labels_of_common_folders_are_paired(tmp_path, pictures, labels):
    names = ("a1", "a10", "b_2")
    write(tmp_path, *((pictures[0].format(name), labels[0].format(name)) for name in names))
    dataset = open_dataset("folder", tmp_path, "training")
    assert len(dataset) == 3
    for index in range(3):
        assert dataset.label_map(index)[0, :2].tolist() == [0, 1]
        assert dataset.name(index).rpartition("/")[2] in names
        assert all(dataset.name(index).rpartition("/")[2] in path.name for path in dataset.paths(index))


def test_pictures_of_one_name_in_two_folders_have_two_names(tmp_path):
    write(tmp_path, *((f"images/val/{p}/1.jpg", f"labels/val/{p}/1.png") for p in ("north", "south")))
    dataset = open_dataset("folder", tmp_path, "validation")
    assert [dataset.name(index) for index in range(2)] == ["north/1", "south/1"]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["masks/train/a.png"], "both .*labels/train and .*masks/train could be meant: leave one"),
        (["labels/training/a.png"], "both .*labels/training and .*labels/train could be meant"),
        (["labels/train/c_mask.png"], r"label file .*c_mask\.png has no picture"),
        (["labels/train/a_mask.png", "labels/train/b_mask.png"], "are of several kinds, that end in '' and '_mask'"),
    ],
)
def test_what_could_mean_two_things_is_refused(tmp_path, more, sentence):
    write(tmp_path, ("images/train/a.jpg", "labels/train/a.png"), ("images/train/b.jpg", "labels/train/b.png"))
    for file in more:
        write_labels(tmp_path / file, [0, 1])
    with pytest.raises(ValueError, match=sentence):
        open_dataset("folder", tmp_path, "training")


def test_two_folders_of_label_files_beside_a_split_are_refused(tmp_path):
    write(tmp_path, ("train/a.png", "train_labels/a.png"), ("train/b.png", "train_masks/b.png"))
    with pytest.raises(ValueError, match="both .*train_labels and .*train_masks could be meant: leave one of them"):
        open_dataset("folder", tmp_path, "training")


def test_a_picture_whose_label_file_is_missing_is_named_with_the_others_ending(tmp_path):
    write(tmp_path, *((f"images/train/{name}.jpg", f"labels/train/{name}_mask.png") for name in "abc"))
    (tmp_path / "labels/train/b_mask.png").unlink()
    with pytest.raises(ValueError, match=r"picture .*b\.jpg has no label file .*labels/train/b_mask\.png"):
        open_dataset("folder", tmp_path, "training")


def test_one_folder_that_does_not_tell_labels_apart_is_refused(tmp_path):
    write(tmp_path, ("train/a.png", "train/b.png"))
    with pytest.raises(ValueError, match="train does not tell pictures from label files"):
        open_dataset("folder", tmp_path, "training")


def test_folders_that_link_in_a_circle_end(tmp_path):
    write(tmp_path, ("images/train/a.jpg", "labels/train/a.png"))
    (tmp_path / "images/train/again").symlink_to(tmp_path / "images/train", target_is_directory=True)
    with pytest.raises(ValueError, match="again/a.jpg has no label file"):
        open_dataset("folder", tmp_path, "training")

"""Datasets as they lie on disk: found, paired, numbered, and refused in a sentence that names the file."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ms_seg.data.datasets import SEMANTIC, open_dataset
from ms_seg.data.drawn.scenes import draw_scene
from ms_seg.data.drawn.world import DrawnWorld
from ms_seg.data.numbering import coco_stuff
from ms_seg.data.semantic import first_pictures
from ms_seg.label_sets import read_labels
from tests.data.small_datasets import write_ade20k, write_folder, write_labels, write_picture

# ------------------------------------------------------------------------------------------------- published layouts


def test_ade20k_turns_zero_into_ignored_and_moves_the_others_down(tmp_path):
    dataset = open_dataset("ade20k", write_ade20k(tmp_path, values=[0, 1, 150, 255]), "training")
    assert len(dataset) == 3
    assert dataset.name(2) == "ADE_00000002"
    assert len(dataset.label_set) == 150
    assert dataset.label_map(0)[0, :4].tolist() == [255, 0, 149, 255]
    assert dataset.label_map(0).dtype == np.uint8
    assert (dataset.picture(0).shape, dataset.picture(0).dtype) == ((20, 30, 3), np.uint8)


def test_ade20k_is_found_from_the_folder_above(tmp_path):
    write_ade20k(tmp_path / "ADEChallengeData2016", "validation", count=2)
    assert len(open_dataset("ade20k", tmp_path, "validation")) == 2


def test_ade20k_pictures_have_the_published_names_and_each_its_own_size(tmp_path):
    sizes = [(512, 683), (364, 500), (300, 400)]  # of the first three of its validation
    for number, size in enumerate(sizes, start=1):
        write_picture(tmp_path / f"images/validation/ADE_val_{number:08}.jpg", size)
        write_labels(tmp_path / f"annotations/validation/ADE_val_{number:08}.png", [0, 1, 2, 3, 5, 7, 10, 18], size)
    dataset = open_dataset("ade20k", tmp_path, "validation")
    assert [dataset.name(index) for index in range(3)] == [f"ADE_val_{number:08}" for number in (1, 2, 3)]
    assert [dataset.picture(index).shape for index in range(3)] == [(*size, 3) for size in sizes]
    assert [dataset.label_map(index).shape for index in range(3)] == sizes
    assert np.unique(dataset.label_map(0)).tolist() == [0, 1, 2, 4, 6, 9, 17, 255]


@pytest.mark.parametrize("pictures", ["images/train2017", "train2017"])
@pytest.mark.parametrize("labels", ["annotations/train2017", "stuffthingmaps_trainval2017/train2017"])
def test_coco_stuff_as_published_skips_the_numbers_that_coco_never_used(tmp_path, pictures, labels):
    write_picture(tmp_path / pictures / "000000000009.jpg")
    write_labels(tmp_path / labels / "000000000009.png", [0, 10, 12, 91, 92, 181, 255])
    dataset = open_dataset("cocostuff164k", tmp_path, "training")
    assert dataset.label_map(0)[0, :7].tolist() == [0, 10, 11, 80, 81, 170, 255]
    assert (dataset.name(0), len(dataset.label_set)) == ("000000000009", 171)


def test_coco_stuff_numbers_lead_to_the_published_names():
    """Numbers and names of labels.txt of nightrome/cocostuff, less one, as the label maps count from 0."""
    names, table = read_labels("cocostuff164k").names, coco_stuff().table
    learned = {number: names[table[number]].replace("-", " ") for number in range(182) if table[number] < len(names)}
    beside_the_unused = {
        0: "person", 10: "fire hydrant", 12: "stop sign", 24: "giraffe", 26: "backpack", 27: "umbrella", 30: "handbag",
        43: "bottle", 45: "wine glass", 64: "bed", 66: "dining table", 69: "toilet", 71: "tv", 81: "refrigerator",
        83: "book", 89: "toothbrush", 91: "banner", 181: "wood",
    }  # fmt: skip
    assert {number: learned.get(number) for number in beside_the_unused} == beside_the_unused
    lines = "\n".join(f"{number} {name}" for number, name in learned.items())
    checksum = hashlib.sha256(lines.encode()).hexdigest()  # of all 171, with spaces for the hyphens
    assert checksum == "706872755f2d9eb063e17b5d5013441b14923ac7a26d3c88b37290d6c8eb7a0a"


def test_coco_stuff_is_found_from_the_folder_above(tmp_path):
    write_picture(tmp_path / "coco_stuff164k/images/val2017/a.jpg")
    write_labels(tmp_path / "coco_stuff164k/annotations/val2017/a.png", [181])
    assert len(open_dataset("cocostuff164k", tmp_path, "validation")) == 1


def test_coco_stuff_prefers_mmsegmentations_label_maps(tmp_path):
    write_picture(tmp_path / "images/val2017/a.jpg")
    write_labels(tmp_path / "annotations/val2017/a.png", [181])
    write_labels(tmp_path / "annotations/val2017/a_labelTrainIds.png", [170])
    dataset = open_dataset("cocostuff164k", tmp_path, "validation")
    assert len(dataset) == 1
    assert dataset.label_map(0).max() == 170


def test_a_number_that_coco_never_used_is_refused(tmp_path):
    write_picture(tmp_path / "images/val2017/a.jpg")
    write_labels(tmp_path / "annotations/val2017/a.png", [0, 11])
    with pytest.raises(ValueError, match=r"a\.png holds the value 11"):
        open_dataset("cocostuff164k", tmp_path, "validation").label_map(0)


# -------------------------------------------------------------------------------------------------- a person's own


def test_a_folder_numbered_from_zero(tmp_path):
    write_folder(tmp_path, ["cat", "dog"], {"training/a": [0, 1, 255], "training/b": [1]})
    dataset = open_dataset("folder", tmp_path, "training")
    assert dataset.label_set.names == ("cat", "dog")
    assert dataset.label_set.palette.shape == (2, 3)
    assert dataset.label_map(0)[0, :3].tolist() == [0, 1, 255]


def test_a_folder_numbered_from_one(tmp_path):
    write_folder(tmp_path, ["cat", "dog"], {"training/a": [1, 2, 255]})
    assert open_dataset("folder", tmp_path, "training").label_map(0)[0, :3].tolist() == [0, 1, 255]


def test_both_splits_of_a_folder_are_numbered_alike(tmp_path):
    write_folder(tmp_path, ["cat", "dog"], {"training/a": [1, 2], "validation/b": [1]})
    assert open_dataset("folder", tmp_path, "validation").label_map(0).max() == 0


def test_a_folder_with_more_numbers_than_names_is_refused(tmp_path):
    write_folder(tmp_path, ["cat", "dog"], {"training/a": [0, 1], "training/b": [0, 7]})
    with pytest.raises(ValueError, match=r"b\.png holds the value 7, but labels\.txt names 2 classes"):
        open_dataset("folder", tmp_path, "training")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"cat\ndog\ncat\n", "names the class 'cat' twice"),
        (b"\xff\xfe\xff", "is not UTF-8"),
        (b"cat\n1\tdog\n", "has control characters in the name of class 1"),
        (b"d" * 201, "has a name of 201 characters for class 0: at most 200"),
    ],
)
def test_a_bad_label_list_is_refused(tmp_path, content, message):
    write_folder(tmp_path, ["cat"], {"training/a": [0]})
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(ValueError, match=rf"labels\.txt {message}"):
        open_dataset("folder", tmp_path, "training")


def test_a_missing_label_list_says_what_to_write(tmp_path):
    write_folder(tmp_path, ["cat"], {"training/a": [0]})
    (tmp_path / "labels.txt").unlink()
    with pytest.raises(ValueError, match=r"labels\.txt: write the classes' names into it"):
        open_dataset("folder", tmp_path, "training")


def test_more_classes_than_label_files_can_number_are_refused(tmp_path):
    write_folder(tmp_path, [f"class {number}" for number in range(255)], {"training/a": [0]})
    with pytest.raises(ValueError, match="there are 255 classes: label maps of 8 bits hold 1 to 254"):
        open_dataset("folder", tmp_path, "training")


def test_palette_and_black_and_white_label_files_are_read_as_numbers(tmp_path):
    write_folder(tmp_path, ["cat", "dog"], {"training/a": [0], "training/b": [0]})
    indices = Image.fromarray(np.resize(np.array([0, 1], np.uint8), (20, 30)))
    indices.putpalette([9, 9, 9, 200, 100, 0])
    assert indices.mode == "P"
    indices.save(tmp_path / "labels/training/a.png")
    Image.fromarray(np.ones((20, 30), bool)).save(tmp_path / "labels/training/b.png")
    dataset = open_dataset("folder", tmp_path, "training")
    assert dataset.label_map(0)[0, :2].tolist() == [0, 1]
    assert dataset.label_map(1).min() == 1


# ---------------------------------------------------------------------------------------------------------- broken


def broken_ade20k(tmp_path: Path, change) -> None:
    """Opens and reads everything of an ADE20K folder of which something was spoilt."""
    change(write_ade20k(tmp_path))
    dataset = open_dataset("ade20k", tmp_path, "training")
    for index in range(len(dataset)):
        dataset.picture(index), dataset.label_map(index)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


ANNOTATION, PICTURE = "annotations/training/ADE_00000001.png", "images/training/ADE_00000001.jpg"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / ANNOTATION).unlink(), r"picture .*ADE_00000001\.jpg has no label file .*1\.png"),
        (lambda root: (root / PICTURE).unlink(), r"label file .*ADE_00000001\.png has no picture"),
        (lambda root: write_labels(root / ANNOTATION, [0], (20, 31)), r"1\.png is 31x20, but its picture .* is 30x20"),
        (lambda root: write_labels(root / ANNOTATION, [0, 151]), r"1\.png holds the value 151, which is none"),
        (lambda root: write_labels(root / ANNOTATION, [0, 300]), r"1\.png holds the value 300"),
        (lambda root: write_picture(root / ANNOTATION), r"1\.png has colours"),
        (lambda root: cut(root / ANNOTATION), r"1\.png is (cut off|not a picture)"),
        (lambda root: cut(root / PICTURE), r"1\.jpg is cut off"),
        (lambda root: (root / ANNOTATION).write_bytes(b""), r"1\.png is not a picture"),
        (lambda root: (root / PICTURE).write_bytes(b"hello"), r"1\.jpg is (not|missing or not)"),
        (lambda root: write_picture(root / "images/training/ADE_00000001.png"), r"holds both ADE_00000001\.jpg and"),
    ],
    ids=["no label", "no picture", "size", "value", "16 bits", "colours", "cut label", "cut picture", "empty label",
         "no picture file", "twice"],
)  # fmt: skip
def test_a_broken_dataset_ends_in_one_sentence_that_names_the_file(tmp_path, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        broken_ade20k(tmp_path, change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["images", "annotations"])
def test_an_empty_folder_is_named(tmp_path, kind):
    def empty(root: Path) -> None:
        for file in (root / kind / "training").iterdir():
            file.unlink()

    with pytest.raises(ValueError, match=rf"the folder .*{kind}/training is empty"):
        broken_ade20k(tmp_path, empty)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"there is no folder .*nowhere"):
        open_dataset("ade20k", tmp_path / "nowhere", "training")
    with pytest.raises(ValueError, match=r"there is no folder .*images/validation"):
        open_dataset("ade20k", write_ade20k(tmp_path), "validation")


def test_a_dataset_without_its_folder_an_unknown_one_and_an_unknown_split_are_refused(tmp_path):
    with pytest.raises(ValueError, match="ade20k needs the folder"):
        open_dataset("ade20k", None, "training")
    with pytest.raises(ValueError, match=f"choose from {', '.join(SEMANTIC)}"):
        open_dataset("ade", tmp_path, "training")
    with pytest.raises(ValueError, match="no split 'train': choose from training, validation"):
        open_dataset("ade20k", tmp_path, "train")


def test_hidden_files_are_not_pictures(tmp_path):
    write_ade20k(tmp_path)
    (tmp_path / "images/training/._ADE_00000000.jpg").write_bytes(b"Mac")
    assert len(open_dataset("ade20k", tmp_path, "training")) == 3


def test_labels_belong_to_the_picture_as_its_exif_tag_turns_it(tmp_path):
    write_folder(tmp_path, ["cat", "dog"], {"training/a": [0, 1]})
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.fromarray(np.zeros((30, 20, 3), np.uint8)).save(tmp_path / "images/training/a.jpg", exif=exif)
    dataset = open_dataset("folder", tmp_path, "training")
    assert dataset.picture(0).shape[:2] == dataset.label_map(0).shape == (20, 30)
    upright = dataset.label_map(0)
    write_labels(tmp_path / "labels/training/a.png", np.rot90(upright))  # drawn before the tag turns the picture
    assert np.array_equal(dataset.label_map(0), upright)
    write_labels(tmp_path / "labels/training/a.png", [0, 1], (30, 21))
    with pytest.raises(ValueError, match=r"a\.png is 21x30, but its picture .* is 30x20"):
        dataset.label_map(0)


# ------------------------------------------------------------------------------------------------------ drawn world


def test_the_drawn_world_is_the_scene_of_each_seed():
    dataset = open_dataset("shapes", None, "training")
    scene = draw_scene(5)
    for _ in range(2):  # drawn, and remembered
        assert np.array_equal(dataset.picture(5), scene.picture)
        assert np.array_equal(dataset.label_map(5), scene.label_map)
    assert dataset.scene(5).instances == scene.instances


def test_training_and_held_out_scenes_have_no_seed_in_common():
    training, validation = (open_dataset("shapes", None, split) for split in ("training", "validation"))
    names = [{dataset.name(index) for index in range(len(dataset))} for dataset in (training, validation)]
    assert len(names[0]) == len(training) and len(names[1]) == len(validation)
    assert not names[0] & names[1]


def test_the_drawn_world_has_the_size_asked_for():
    dataset = DrawnWorld("validation", (64, 96))
    assert dataset.picture(0).shape == (64, 96, 3)
    assert dataset.label_map(0).shape == (64, 96)


def test_what_a_forked_process_drew_needs_no_drawing_here(monkeypatch):
    dataset = DrawnWorld("training", (64, 64))
    worker = get_context("fork").Process(target=dataset.picture, args=(3,))
    worker.start()
    worker.join()
    truth = draw_scene(3, (64, 64))
    monkeypatch.setattr("ms_seg.data.drawn.world.draw_scene", None)
    assert np.array_equal(dataset.picture(3), truth.picture)
    assert np.array_equal(dataset.label_map(3), truth.label_map)


def test_what_is_read_may_be_written_to_without_harm_to_the_next_reader():
    dataset = DrawnWorld("training", (64, 64))
    first = dataset.picture(0)
    kept = first.copy()
    first[:] = 0
    assert np.array_equal(dataset.picture(0), kept)


def test_the_room_imports_no_mindspore():
    modules = "semantic, ms_seg.data.preflight, ms_seg.data.samples, ms_seg.data.archives"
    code = f"import sys, ms_seg.data.{modules}; sys.exit('mindspore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0


def test_ade20k_in_words_has_the_same_labels_under_lang_segs_names(tmp_path):
    dataset = open_dataset("ade20k", write_ade20k(tmp_path), "training")
    in_words = dataset.in_words()
    assert dataset.label_set.names == read_labels("ade20k").names
    assert in_words.label_set.names == read_labels("ade20k_lang_seg").names
    assert np.array_equal(in_words.label_map(1), dataset.label_map(1)) and len(in_words) == len(dataset)


def test_other_classes_have_the_same_names_in_words(tmp_path):
    write_folder(tmp_path, ["cat", "dog"], {"training/a": [0, 1]})
    assert open_dataset("folder", tmp_path, "training").in_words().label_set.names == ("cat", "dog")
    shapes = open_dataset("shapes", None, "training")
    assert shapes.in_words().label_set is shapes.label_set


@pytest.mark.parametrize(("name", "every", "seen"), [("shapes_coloured", 57, 46), ("shapes_patterned", 27, 21)])
def test_the_drawn_world_by_phrases_keeps_some_of_them_from_models_that_take_words(name, every, seen):
    scene = open_dataset("shapes", None, "training").scene(3)
    training = open_dataset(name, None, "training")
    for dataset, count in ((training, every), (training.in_words(), seen)):
        labels = dataset.label_map(3)
        assert len(dataset.label_set) == count == len(set(dataset.label_set.names))
        assert np.array_equal(dataset.picture(3), scene.picture)
        assert np.array_equal(labels, dataset.phrases.label_map(scene)) and np.array_equal(labels, dataset.label_map(3))
    assert len(open_dataset(name, None, "validation").in_words().label_set) == every


def test_the_first_pictures_of_a_dataset_are_a_dataset():
    whole = open_dataset("shapes_coloured", None, "training").in_words()
    world = first_pictures(whole, 5)
    assert len(world) == 5 and world.name(4) == whole.name(4)
    assert np.array_equal(world.label_map(4), whole.label_map(4)) and world.label_set.names == whole.label_set.names
    assert len(first_pictures(open_dataset("shapes", None, "validation"), 10_000)) == 200
    with pytest.raises(ValueError, match="the first 0 pictures are no dataset"):
        first_pictures(world, 0)

"""What is said about the labels before the first step, and what stops the run."""

from __future__ import annotations

import pytest

from ms_seg.data.datasets import open_dataset
from ms_seg.data.preflight import ALLOWED, check_splits, preflight
from ms_seg.data.readings import LabelOptions
from tests.data.small_datasets import write_ade20k, write_folder, write_labels, write_picture


def said(dataset, outputs: int, **options) -> str:
    return "\n".join(preflight(dataset, outputs, **options))


def test_ade20k_is_recognised(tmp_path):
    text = said(open_dataset("ade20k", write_ade20k(tmp_path, values=[0, 0, 0, 1, 150]), "training"), 150)
    assert "values 0..150 with 150 classes: 1..150 number them, 0 and 255 are ignored; reduce_zero_label is on" in text
    assert "60.0% of the pixels are ignored" in text
    assert "148 of 150 classes were not met" in text
    assert text.startswith("3 pictures, 150 classes; labels of 3 read")


def test_ade20k_that_was_renumbered_before_is_doubted(tmp_path):
    text = said(open_dataset("ade20k", write_ade20k(tmp_path, values=[0, 1, 149, 255]), "training"), 150)
    assert "255 occurs and 150 does not: if these files were renumbered from 0 before, undo that" in text


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 2], "values 0..2 with 3 classes: 0..2 number them, 255 is ignored; reduce_zero_label is off"),
        ([1, 2, 3], "values 1..3 with 3 classes: 1..3 number them, 0 and 255 are ignored; reduce_zero_label is on"),
    ],
)
def test_a_persons_own_numbering_is_told(tmp_path, values, expected):
    write_folder(tmp_path, ["cat", "dog", "owl"], {"training/a": values})
    assert expected in said(open_dataset("folder", tmp_path, "training"), 3)


def test_a_table_says_what_is_met(tmp_path):
    write_folder(tmp_path, ["cat", "dog"], {"training/a": [0, 1, 1, 255], "training/b": [1], "training/c": [1, 0]})
    lines = said(open_dataset("folder", tmp_path, "training"), 2).splitlines()
    table = [line.split() for line in lines if line.split()[0] in ("value", "0", "1", "255")]
    assert table == [
        ["value", "share", "files", "class"],
        ["0", "25.0%", "2", "cat"],
        ["1", "66.7%", "3", "dog"],
        ["255", "8.3%", "1", "(ignored)"],
    ]


def own(tmp_path, values: dict[str, object], **said_of_labels):
    write_folder(tmp_path, ["cat", "dog", "owl"], values)
    return open_dataset("folder", tmp_path, "training", LabelOptions(**said_of_labels))


def test_a_class_that_no_label_file_shows_is_refused_unless_it_is_allowed(tmp_path):
    dataset = own(tmp_path, {"training/a": [0, 2], "training/b": [2]}, reduce_zero_label=False)
    sentence = r"no label file of the 2 in .*training shows dog .*: take it out .* or pass --allow missing-classes"
    with pytest.raises(ValueError, match=sentence):
        preflight(dataset, 3)
    for less in ({"learned": False}, {"allowed": ["missing-classes"]}):
        assert "1 of 3 classes were not met in this sample: dog" in said(dataset, 3, **less)


def test_a_single_class_is_refused_as_a_thing_to_learn_whatever_is_allowed(tmp_path):
    dataset = own(tmp_path, {"training/a": [1, 255]}, reduce_zero_label=False)
    with pytest.raises(ValueError, match="show dog and nothing else .*: there is nothing to tell it from"):
        preflight(dataset, 3, allowed=ALLOWED)
    assert said(dataset, 3, learned=False)


def test_own_label_files_are_read_on_until_every_class_is_met(tmp_path):
    dataset = own(tmp_path, {f"training/{place}": [0, 1, 2] if place == 5 else [0, 1] for place in range(9)})
    assert said(dataset, 3, sample=2).startswith("9 pictures, 3 classes; labels of 8 read")


def test_a_class_with_a_name_of_nothing_is_asked_after(tmp_path):
    write_folder(tmp_path, ["Void", "cat"], {"training/a": [0, 1]})
    text = said(open_dataset("folder", tmp_path, "training"), 2)
    assert "Void is a class like any other: a line '0 ignore', and a value on the others, leaves it out" in text


def test_the_same_picture_in_both_splits_is_refused_unless_it_is_allowed(tmp_path):
    write_folder(tmp_path, ["cat", "dog"], {"training/a": [0, 1], "training/b": [0, 1], "validation/c": [0, 1]})
    training, validation = (open_dataset("folder", tmp_path, split) for split in ("training", "validation"))
    check_splits(training, validation)
    write_picture(tmp_path / "images/validation/c.jpg", seed=1)
    with pytest.raises(ValueError, match=r"training/b\.jpg and .*validation/c\.jpg are the same picture"):
        check_splits(training, validation)
    check_splits(training, validation, ["shared-pictures"])


def test_coco_stuff_and_a_model_with_an_output_more(tmp_path):
    write_picture(tmp_path / "images/train2017/a.jpg")
    write_labels(tmp_path / "annotations/train2017/a.png", [0, 181, 255])
    text = said(open_dataset("cocostuff164k", tmp_path, "training"), 172)
    assert "values 0..181 and 255 with 171 classes: 0..181 without COCO's unused numbers" in text
    assert "the model has 172 outputs: no label asks for those from 171 on" in text


def test_a_class_without_an_output_stops_and_names_file_value_and_class_count(tmp_path):
    write_ade20k(tmp_path, values=[1, 21])
    write_labels(tmp_path / "annotations/training/ADE_00000001.png", [22])
    with pytest.raises(ValueError, match=r"ADE_00000001\.png holds class 21 \(water\), but the model has 21 classes"):
        preflight(open_dataset("ade20k", tmp_path, "training"), 21)


def test_a_value_out_of_range_stops_and_names_file_value_and_class_count(tmp_path):
    write_ade20k(tmp_path)
    write_labels(tmp_path / "annotations/training/ADE_00000002.png", [0, 200])
    with pytest.raises(ValueError, match=r"ADE_00000002\.png holds the value 200, which is none of the 150 classes"):
        preflight(open_dataset("ade20k", tmp_path, "training"), 150)


def test_labels_of_another_size_stop(tmp_path):
    write_ade20k(tmp_path)
    write_labels(tmp_path / "annotations/training/ADE_00000000.png", [1], (3, 4))
    with pytest.raises(ValueError, match=r"ADE_00000000\.png is 4x3, but its picture"):
        preflight(open_dataset("ade20k", tmp_path, "training"), 150)


def test_a_picture_that_is_cut_off_stops(tmp_path):
    file = write_ade20k(tmp_path) / "images/training/ADE_00000001.jpg"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"ADE_00000001\.jpg is cut off"):
        preflight(open_dataset("ade20k", tmp_path, "training"), 150)


def test_labels_of_nothing_stop(tmp_path):
    with pytest.raises(ValueError, match=r"ADE_00000000\.png and the other 2 label files read hold nothing"):
        preflight(open_dataset("ade20k", write_ade20k(tmp_path, values=[0]), "training"), 150)


def test_the_sample_reaches_from_the_first_file_to_the_last(tmp_path):
    write_ade20k(tmp_path, count=9)
    write_labels(tmp_path / "annotations/training/ADE_00000008.png", [151])
    dataset = open_dataset("ade20k", tmp_path, "training")
    with pytest.raises(ValueError, match=r"ADE_00000008\.png"):
        preflight(dataset, 150, sample=2)
    write_labels(tmp_path / "annotations/training/ADE_00000008.png", [1])
    assert "labels of 2 read" in said(dataset, 150, sample=2)


def test_the_drawn_world_has_no_files_to_doubt():
    text = said(open_dataset("shapes", None, "validation"), 9, sample=5)
    assert text.startswith("200 pictures, 9 classes; labels of 5 read\n0.0% of the pixels are ignored")

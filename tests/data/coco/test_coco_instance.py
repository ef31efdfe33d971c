"""COCO instances' files: read as published, or refused in a sentence that names the file."""

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from ms_seg.data.coco.instance import open_coco_instance, run_lengths
from ms_seg.evaluation.instance.average_precision import average_precision
from tests.data.panoptic_files import CATEGORIES, in_quarters, segment, write_coco_panoptic


@pytest.fixture
def instances(tmp_path) -> Path:
    """Two pictures, and things of the first: a triangle, run lengths of two kinds, and a crowd."""
    root = write_coco_panoptic(tmp_path / "coco", [(in_quarters((1, 0, 0, 0)), [segment(1, 3)])] * 2)
    mask = np.zeros((20, 30), np.uint8)
    mask[3:9, 4:11] = 1
    packed = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    outlines = [[[0, 0, 12, 0, 0, 12]], {"size": [20, 30], "counts": packed}, {"size": [20, 30], "counts": [7, 3, 590]}]
    rows = [
        {"id": i, "image_id": 100, "category_id": 7, "bbox": [0, 0, 5, 5], "area": 9, "segmentation": outline}
        for i, outline in enumerate([*outlines, outlines[2]])
    ]
    rows[3]["iscrowd"] = 1
    images = json.loads((root / "annotations" / "panoptic_val2017.json").read_text())["images"]
    content = {"images": images, "annotations": rows, "categories": CATEGORIES[:3]}
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    return root


def test_instances_are_read_as_published(instances):
    dataset = open_coco_instance(instances, "validation")
    assert (len(dataset), dataset.name(1), dataset.image_id(1)) == (2, "000000000101", 101)
    assert dataset.label_set.names == ("cat", "dog", "owl")
    things = dataset.things(0)
    assert [(thing.label, thing.iscrowd) for thing in things] == [(1, False), (1, False), (1, False), (1, True)]
    masks = [coco_mask.decode(run_lengths(thing.segmentation, (20, 30))) for thing in things]
    assert masks[1].sum() == 42 and masks[1][3:9, 4:11].all()
    assert masks[2].sum() == 3 and masks[2][7:10, 0].all()
    assert 60 < masks[0].sum() < 84
    assert dataset.things(1) == ()
    assert dataset.picture(0).shape == (20, 30, 3)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"image_id": 7}, "annotates picture 7, which is not among its images"),
        ({"category_id": 92}, "a thing of the unknown category 92"),
        ({"bbox": [1, 2]}, "a box that is not x, y, width and height"),
        ({"segmentation": []}, "a thing without an outline"),
    ],
)
def test_instances_that_are_wrong_are_named(instances, change, sentence):
    file = instances / "annotations" / "instances_val2017.json"
    content = json.loads(file.read_text())
    content["annotations"][0].update(change)
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=sentence) as error:
        open_coco_instance(instances, "validation")
    assert str(file) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("outline", "sentence"),
    [
        ({"size": [20, 30], "counts": [601]}, "do not fill a mask of 20x30"),
        ({"size": [20, 30], "counts": [-1, 601]}, "run lengths are whole numbers or text"),
        ({"size": [30, 20], "counts": [600]}, r"run lengths of \[30, 20\] do not fit a picture of \[20, 30\]"),
        ([[0, 0, 1e300, 0, 5, 5]], "no place in a picture"),
        ([[0, 0, 5, 5]], "no polygon of at least three corners"),
    ],
)
def test_an_outline_that_is_none_within_the_picture_is_refused(outline, sentence):
    with pytest.raises(ValueError, match=sentence):
        run_lengths(outline, (20, 30))


def test_an_outline_that_cannot_be_scored_names_file_and_picture(instances):
    file = instances / "annotations" / "instances_val2017.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["segmentation"] = {"size": [20, 30], "counts": [601]}
    file.write_text(json.dumps(content))
    dataset = open_coco_instance(instances, "validation")
    with pytest.raises(ValueError, match=f"{file}: picture 100: the run lengths do not fill a mask of 20x30"):
        average_precision(dataset, [[], []], "mask")


@pytest.mark.parametrize("layout", ["val", "roboflow"])
def test_a_persons_own_splits_need_not_be_called_after_the_year(instances, layout):
    file = instances / "annotations" / "instances_val2017.json"
    if layout == "val":
        file.rename(file.with_name("instances_val.json"))
        (instances / "val2017").rename(instances / "val")
    else:
        (instances / "val2017").rename(instances / "valid")
        file.rename(instances / "valid" / "_annotations.coco.json")
    dataset = open_coco_instance(instances, "validation")
    assert len(dataset.things(0)) == 4 and dataset.picture(0).shape == (20, 30, 3)

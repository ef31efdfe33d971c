"""Cityscapes, ADE20K's things and PASCAL, read from the folders they are published in."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ms_seg.data.datasets import open_dataset, open_for_task
from ms_seg.data.instance import regions_of
from ms_seg.label_sets import read_labels
from tests.data.published import (
    cityscapes_ids,
    write_ade20k_instances,
    write_ade20k_json,
    write_cityscapes,
    write_cityscapes_panoptic,
    write_train_ids,
    write_voc,
)

# ------------------------------------------------------------------------------------------------------ Cityscapes


def test_cityscapes_published_ids_and_train_ids_are_the_same_19_classes(tmp_path):
    root = write_cityscapes(tmp_path / "cityscapes")
    published = open_dataset("cityscapes", tmp_path, "validation")
    assert [published.name(index) for index in range(3)] == [
        "bonn_000001_000019",
        "ulm_000000_000019",
        "ulm_000002_000019",
    ]
    by_ids = [published.label_map(index) for index in range(3)]
    write_train_ids(root)
    converted = open_dataset("cityscapes", root, "validation")
    assert converted.label_file(0).name == "bonn_000001_000019_gtFine_labelTrainIds.png"
    assert all(np.array_equal(converted.label_map(index), by_ids[index]) for index in range(3))
    assert set(np.unique(by_ids)) == {0, 10, 11, 12, 13, 255}
    assert published.label_set is read_labels("cityscapes") and published.picture(0).shape == (40, 60, 3)


def test_cityscapes_things_are_single_ones_and_groups(tmp_path):
    dataset = open_for_task("cityscapes_instance", write_cityscapes(tmp_path), "validation")
    ids, things = cityscapes_ids(0), dataset.things(1)
    assert dataset.name(1) == "ulm_000000_000019" and dataset.label_set is read_labels("cityscapes_things")
    known = {24: (0, True), 25_000: (1, False), 26_000: (2, False), 26_001: (2, False)}
    there = [number for number in known if (ids == number).any()]
    assert [(thing.label, thing.iscrowd) for thing in things] == [known[number] for number in there]
    assert [thing.area for thing in things] == [(ids == number).sum() for number in there]
    labels, masks = dataset.targets(1)
    assert len(labels) == len(masks) == sum(number >= 1000 for number in there)
    assert all(np.array_equal(mask, ids == number) for mask, number in zip(masks, there[-len(masks) :], strict=True))


@pytest.mark.parametrize("train_ids", [False, True])
def test_cityscapes_panoptic_finds_its_pictures_by_their_ids(tmp_path, train_ids):
    root = write_cityscapes_panoptic(write_cityscapes(tmp_path), train_ids=train_ids)
    dataset = open_for_task("cityscapes_panoptic", root, "validation")
    assert dataset.label_set.names == read_labels("cityscapes").names and sum(dataset.label_set.things) == 8
    index = [dataset.name(index) for index in range(3)].index("ulm_000000_000019")
    assert (dataset.image_id(index), dataset.picture(index).shape) == ("ulm_000000_000019", (40, 60, 3))
    classes = open_dataset("cityscapes", root, "validation").label_map(1)
    found = dataset.panoptic(index).classes()
    assert np.array_equal(np.where(found == 0xFFFF, 255, found), classes)


def test_cityscapes_without_a_part_is_refused_by_name(tmp_path):
    root = write_cityscapes(tmp_path)
    with pytest.raises(ValueError, match=r"there is no .*gtFine/cityscapes_panoptic_val\.json"):
        open_for_task("cityscapes_panoptic", root, "validation")
    with pytest.raises(ValueError, match=r"there is no folder .*gtFine/train"):
        open_dataset("cityscapes", root, "training")
    next((root / "gtFine/val/bonn").glob("*_labelIds.png")).unlink()
    with pytest.raises(
        ValueError, match=r"bonn_000001_000019_leftImg8bit\.png has no label file .*bonn_000001_000019_gt"
    ):
        open_dataset("cityscapes", root, "validation")


# ---------------------------------------------------------------------------------------------------------- ADE20K


def test_ade20ks_things_are_read_from_their_published_maps(tmp_path):
    dataset = open_for_task("ade20k_instance", write_ade20k_instances(tmp_path), "validation")
    names = [dataset.label_set.names[thing.label] for thing in dataset.things(0)]
    assert names == ["bed", "bed", "windowpane"]
    assert [thing.box for thing in dataset.things(0)] == [(5, 2, 20, 10), (5, 15, 20, 15), (30, 2, 20, 28)]
    assert len(dataset.label_set) == 100 and dataset.picture(1).shape == (40, 60, 3)


def test_ade20ks_json_files_mean_the_published_classes_whatever_their_synonyms(tmp_path):
    root = write_ade20k_json(write_ade20k_instances(tmp_path))
    instances = open_for_task("ade20k_instance", root, "validation")
    assert [instances.label_set.names[thing.label] for thing in instances.things(0)] == ["bed", "bed"]
    assert instances.label_set.names == read_labels("ade20k_things").names
    panoptic = open_for_task("ade20k_panoptic", root, "validation")
    assert panoptic.label_set.names == read_labels("ade20k").names
    assert [panoptic.label_set.names[s.label] for s in panoptic.panoptic(1).segments] == ["wall", "bed", "bed"]
    file = root / "ade20k_panoptic_val.json"
    file.write_text(file.read_text().replace('"isthing": 1', '"isthing": 0', 1))
    with pytest.raises(ValueError, match="has other categories than ADE20K's 150"):
        open_for_task("ade20k_panoptic", root, "validation")


# ---------------------------------------------------------------------------------------------------------- PASCAL


def test_voc_reads_the_pictures_of_its_lists(tmp_path):
    dataset = open_dataset("voc2012", write_voc(tmp_path), "training")
    assert [dataset.name(index) for index in range(len(dataset))] == ["2008_000000", "2008_000001"]
    assert dataset.label_map(0)[0, :4].tolist() == [0, 15, 20, 255]
    assert [dataset.label_set.names[index] for index in (0, 15, 20)] == ["background", "person", "tvmonitor"]
    assert open_dataset("voc2012", tmp_path / "VOCdevkit", "validation").name(0) == "2008_000020"


@pytest.mark.parametrize("listed", ["aug", "trainaug"])
def test_voc_aug_adds_sbds_and_keeps_vocs_own_label_maps(tmp_path, listed):
    lists = write_voc(tmp_path) / "VOCdevkit/VOC2012/ImageSets/Segmentation"
    if listed == "trainaug":
        (lists / "trainaug.txt").write_text((lists / "train.txt").read_text() + (lists / "aug.txt").read_text())
        (lists / "aug.txt").unlink()
    dataset = open_dataset("voc2012_aug", tmp_path, "training")
    assert [dataset.name(index) for index in range(len(dataset))] == [f"2008_{n:06}" for n in (0, 1, 10, 11)]
    assert [dataset.label_file(index).parent.name for index in (0, 2)] == ["SegmentationClass", "SegmentationClassAug"]
    assert (dataset.label_map(0).max(), dataset.label_map(2).max()) == (255, 20)
    validation = open_dataset("voc2012_aug", tmp_path, "validation")
    assert (validation.name(0), validation.label_file(0).parent.name) == ("2008_000020", "SegmentationClass")


def test_context_ignores_the_background(tmp_path):
    dataset = open_dataset("pascal_context_59", write_voc(tmp_path), "validation")
    assert (len(dataset), len(dataset.label_set)) == (2, 59)
    assert dataset.label_map(0)[0, :3].tolist() == [255, 0, 58]


def test_context_as_it_is_published_says_what_makes_label_maps_of_it(tmp_path):
    root = write_voc(tmp_path) / "VOCdevkit/VOC2010"
    shutil.rmtree(root / "SegmentationClassContext")
    (root / "trainval_merged.json").write_text("{}")
    with pytest.raises(ValueError, match=r"pascal_context\.py .*trainval_merged\.json writes SegmentationClassContext"):
        open_dataset("pascal_context_59", tmp_path, "validation")


@pytest.mark.parametrize("file", ["JPEGImages/2008_000001.jpg", "SegmentationClass/2008_000001.png"])
def test_what_a_list_names_must_be_there(tmp_path, file):
    (write_voc(tmp_path) / "VOCdevkit/VOC2012" / file).unlink()
    with pytest.raises(ValueError, match=rf"{file} is missing: a list in .*ImageSets names it"):
        open_dataset("voc2012", tmp_path, "training")


# ----------------------------------------------------------------------------------------------- things that overlap


def test_regions_give_back_masks_that_overlap():
    rng = np.random.default_rng(3)
    masks = [rng.random((9, 11)) < 0.4 for _ in range(5)] + [np.zeros((9, 11), bool)]
    regions, members = regions_of(masks, (9, 11))
    assert regions.dtype == np.uint16 and members.shape == (len(members), 6)
    assert all(np.array_equal(members[:, place][regions], mask) for place, mask in enumerate(masks))
    assert not regions_of([], (2, 3))[0].any()


def test_a_map_of_colours_is_no_map_of_numbers(tmp_path):
    root = write_cityscapes(tmp_path)
    file = next(Path(root / "gtFine/val/bonn").glob("*_instanceIds.png"))
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(file)
    with pytest.raises(ValueError, match="has colours: it must hold the number of a thing"):
        open_for_task("cityscapes_instance", root, "validation").things(0)

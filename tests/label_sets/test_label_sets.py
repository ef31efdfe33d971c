"""Label sets: the published names, in the order of the networks' outputs, and their colours."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ms_seg.data.drawn.scenes import STUFF, THINGS
from ms_seg.label_sets import known_labels, numbered_labels, read_labels


def test_ade20k_has_its_150_classes_in_order():
    labels = read_labels("ade20k")
    assert len(labels) == len(set(labels.names)) == 150
    assert (labels.names[0], labels.names[7], labels.names[149]) == ("wall", "bed", "flag")
    assert labels.palette[[0, 149]].tolist() == [[120, 120, 120], [92, 0, 255]]


def test_cocostuff_has_80_things_then_91_stuff():
    labels = read_labels("cocostuff164k")
    assert len(labels) == len(set(labels.names)) == 171
    assert (labels.names[0], labels.names[79], labels.names[80], labels.names[170]) == (
        "person",
        "toothbrush",
        "banner",
        "wood",
    )
    assert labels.palette[[0, 170]].tolist() == [[0, 192, 64], [64, 64, 0]]


def test_coco_panoptic_has_80_things_then_53_stuff_under_cocos_numbers():
    labels = read_labels("coco_panoptic")
    assert len(labels) == len(set(labels.names)) == len(set(labels.ids)) == 133
    assert labels.things == (True,) * 80 + (False,) * 53
    assert list(labels.ids) == sorted(labels.ids[:80]) + sorted(labels.ids[80:])
    for index, expected in {
        0: ("person", 1),
        79: ("toothbrush", 90),
        80: ("banner", 92),
        132: ("rug-merged", 200),
    }.items():
        assert (labels.names[index], labels.ids[index]) == expected
    assert labels.palette[[0, 80]].tolist() == [[220, 20, 60], [255, 255, 128]]


def test_cityscapes_has_its_19_classes_in_the_order_of_training():
    labels = read_labels("cityscapes")
    assert len(labels) == len(set(labels.names)) == len(set(labels.ids)) == 19
    assert labels.things == (False,) * 11 + (True,) * 8
    for index, expected in {0: ("road", 7), 10: ("sky", 23), 11: ("person", 24), 18: ("bicycle", 33)}.items():
        assert (labels.names[index], labels.ids[index]) == expected
    assert labels.palette[[0, 12, 18]].tolist() == [[128, 64, 128], [255, 0, 0], [119, 11, 32]]


def test_mapillary_has_37_things_among_65_classes():
    labels = read_labels("mapillary")
    assert len(labels) == len(set(labels.names)) == 65
    things = [name for name, thing in zip(labels.names, labels.things, strict=True) if thing]
    assert len(things) == 37
    assert (things[:3], things[-1]) == (["Bird", "Ground Animal", "Crosswalk - Plain"], "Wheeled Slow")
    assert (labels.names[13], labels.names[64]) == ("Road", "Ego Vehicle")
    assert labels.palette[[0, 13, 64]].tolist() == [[165, 42, 42], [128, 64, 128], [120, 10, 10]]


def test_pascal_context_has_59_classes_without_background():
    labels = read_labels("pascal_context_59")
    assert len(labels) == len(set(labels.names)) == 59 and labels.things is None
    assert (labels.names[0], labels.names[58]) == ("aeroplane", "wood")
    assert labels.palette[[0, 58]].tolist() == [[180, 120, 120], [31, 0, 255]]


@pytest.mark.parametrize(
    ("name", "whole", "count", "first", "last"),
    [
        ("coco_things", "coco_panoptic", 80, ("person", 1), ("toothbrush", 90)),
        ("cityscapes_things", "cityscapes", 8, ("person", 24), ("bicycle", 33)),
        ("ade20k_things", "ade20k", 100, ("bed", 0), ("flag", 99)),
    ],
)
def test_models_of_instances_tell_the_things_of_a_set_apart_in_its_order(name, whole, count, first, last):
    labels, published = read_labels(name), read_labels(whole)
    assert labels.names == tuple(n for n, thing in zip(published.names, published.things, strict=True) if thing)
    assert len(labels) == count and labels.things == (True,) * count
    assert [(labels.names[place], labels.numbers[place]) for place in (0, -1)] == [first, last]
    assert labels.palette[0].tolist() == published.palette[published.names.index(first[0])].tolist()
    assert known_labels(labels.names) == name


def test_the_forms_of_the_drawn_world_are_things_and_its_grounds_stuff():
    labels = read_labels("shapes")
    assert dict(zip(labels.names, labels.things, strict=True)) == {name: name in THINGS for name in THINGS + STUFF}
    assert labels.ids is None


def test_a_label_set_without_things_says_so():
    assert read_labels("cocostuff164k").things is None
    assert read_labels("cocostuff164k").ids is None


def test_every_class_counts_as_a_thing_where_none_is_told_from_stuff():
    assert read_labels("cocostuff164k").isthing == (True,) * 171
    assert read_labels("coco_panoptic").isthing == read_labels("coco_panoptic").things


def test_lang_seg_has_words_of_its_own_for_ade20ks_classes():
    labels, published = read_labels("ade20k_lang_seg"), read_labels("ade20k")
    assert np.array_equal(labels.palette, published.palette)
    other = {ours: theirs for ours, theirs in zip(published.names, labels.names, strict=True) if ours != theirs}
    assert len(other) == 15
    assert (other["chest of drawers"], other["traffic light"], other["crt screen"]) == ("chest", "traffic", "crt")
    assert [index for index, name in enumerate(labels.names) if name == "screen"] == [58, 130]


def test_lang_segs_words_are_those_of_its_file():
    """By the SHA-256 of label_files/ade20k_objectInfo150.txt, of each row the last column up to its first semicolon."""
    checksum = hashlib.sha256("\n".join(read_labels("ade20k_lang_seg").names).encode()).hexdigest()
    assert checksum == "6eb499914339dc1b71fa471db02850f2deaaa0fd6cf3495dfbc2ac2ce8e160d6"


@pytest.mark.parametrize(
    "name",
    ["ade20k", "ade20k_lang_seg", "ade20k_things", "cityscapes", "cityscapes_things", "coco_panoptic", "coco_things"]
    + ["cocostuff164k", "mapillary", "pascal_context_59", "shapes"],
)
def test_every_class_has_a_colour(name):
    labels = read_labels(name)
    assert labels.palette.shape == (len(labels.names), 3)
    assert labels.palette.dtype == np.uint8


def test_a_palette_cannot_be_changed_for_the_next_caller():
    with pytest.raises(ValueError, match="read-only"):
        read_labels("ade20k").palette[0] = 0


@pytest.mark.parametrize("name", ["ade", "../labels", ""])
def test_an_unknown_label_set_names_those_there_are(name):
    with pytest.raises(
        ValueError, match="no label set .*: choose from ade20k, ade20k_lang_seg, ade20k_things, cityscapes, "
    ):
        read_labels(name)


def test_classes_without_names_are_numbered_in_distinct_colours():
    labels = numbered_labels(300)
    assert labels.names[:2] == ("class 0", "class 1")
    assert len({tuple(colour) for colour in labels.palette.tolist()}) == 300
    assert np.abs(np.diff(labels.palette.astype(int), axis=0)).sum(axis=1).min() > 100


def test_data_and_metrics_do_not_import_mindspore():
    code = "import sys, ms_seg.label_sets, ms_seg.evaluation.semantic.confusion; sys.exit('mindspore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0

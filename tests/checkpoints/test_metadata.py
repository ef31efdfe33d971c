"""What a checkpoint says of itself: written, read again, and refused where it makes no sense."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from convert import CheckpointError
from ms_seg.checkpoints.metadata import (
    describe,
    noted_arithmetic,
    noted_label_values,
    noted_labels,
    noted_preprocessing,
    noted_tasks,
    noted_window,
)
from ms_seg.data.numbering import from_record, from_values
from ms_seg.label_sets import LabelSet
from ms_seg.presets import PRESETS, Preset, Window, find_preset

OWN = LabelSet(("cat", "größter Hund"), np.uint8([[255, 0, 16], [1, 2, 3]]))
THINGS = replace(OWN, things=(True, False), ids=(3, 92))


def own_preset() -> Preset:
    changes = {"num_classes": 2, "label_set": OWN, "short_side": 48, "mean": (1.5, 2.0, 3.0), "norm_eps": 3e-7}
    return find_preset("segformer_b0_ade20k").override(**changes)


def test_what_is_described_is_read_again():
    preset, notes = own_preset(), describe(own_preset())
    assert noted_arithmetic(notes) == {
        "norm_eps": 3e-7, "conv_norm_eps": 1e-5, "heads": [1, 2, 5, 8], "strides": [4, 2, 2, 2],
        "concat_order": "coarse_to_fine",
    }  # fmt: skip
    assert find_preset("segformer_b0_ade20k_mmseg").override(**noted_preprocessing(notes)).preprocessing == (
        preset.preprocessing
    )
    labels = noted_labels(notes, 2)
    assert labels.names == OWN.names
    assert np.array_equal(labels.palette, OWN.palette) and labels.palette.dtype == np.uint8


def test_things_and_the_numbers_of_annotations_are_described():
    notes = describe(find_preset("mask2former_r50_coco_panoptic").override(num_classes=2, label_set=THINGS))
    labels = noted_labels(notes, 2)
    assert (labels.names, labels.things, labels.ids) == (OWN.names, (True, False), (3, 92))
    assert np.array_equal(labels.palette, OWN.palette)


@pytest.mark.parametrize("name", PRESETS)
def test_the_arithmetic_of_every_model_is_read_again(name: str):
    preset = find_preset(name)
    read = noted_arithmetic(describe(preset))
    assert read.keys() == {key for key in preset.arithmetic if key in preset.sizes}
    assert preset.override(**read) == preset


def test_a_spatial_block_is_described():
    plain = find_preset("lseg_vitl16_ade20k")
    block = {"head_block": "depthwise", "block_depth": 3, "activation": "tanh"}
    assert noted_arithmetic(describe(plain))["head_block"] == "none"
    assert noted_arithmetic(describe(plain.override(**block))) == {**block, "heads": 16, "text_heads": 8}


def test_a_published_label_set_is_described_by_its_name():
    notes = describe(find_preset("segformer_b0_cocostuff164k"))
    assert notes["labels"] == '"cocostuff164k"'
    assert noted_labels(notes, 172) == "cocostuff164k"


def test_what_a_model_answers_is_described():
    preset = find_preset("mask2former_r50_coco_panoptic")
    for fewer in ({}, {"tasks": ("semantic",)}):
        assert noted_tasks(describe(preset.override(**fewer))) == {"tasks": preset.tasks, **fewer}
    assert noted_tasks({}) == {}


def test_how_an_input_is_looked_at_is_described():
    for preset in (find_preset("vit_adapter_beit_l_cocostuff164k"), find_preset("segformer_b0_ade20k")):
        assert noted_window(describe(preset)) == {"window": preset.window}
    wide = Window(64, 40, across=(96, 64))
    assert noted_window(describe(find_preset("segformer_b0_ade20k").override(window=wide))) == {"window": wide}
    assert noted_window({"window": '{"crop": 512, "stride": 341, "exact": false}'}) == {"window": Window(512, 341)}
    assert noted_window({}) == {}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "3",
        '{"crop": 512}',
        '{"crop": 512, "stride": 341, "exact": false, "across": [512]}',
        '{"crop": 512, "stride": 341, "exact": false, "across": [1e9, 2]}',
        '{"crop": 512, "stride": 341, "exact": false, "across": [1000000, 2]}',
        '{"crop": 512, "stride": 341, "exact": true, "across": [1024, 2]}',
        '{"crop": 512, "stride": 600, "exact": false}',
        '{"crop": 1e9, "stride": 1, "exact": false}',
        '{"crop": 1000000, "stride": 1, "exact": true}',
    ],
)
def test_a_window_that_is_none_is_refused(text: str):
    refused(noted_window, text)


def test_a_part_of_a_model_says_nothing_of_pictures_and_classes():
    assert describe(own_preset(), "backbone").keys() == {"model", "arithmetic"}


def test_a_file_without_notes_says_nothing():
    assert (noted_arithmetic({}), noted_preprocessing({}), noted_labels({}, 3)) == ({}, {}, None)


def test_how_labels_were_numbered_is_described_and_read_again():
    numbering = from_values((7, 300), (0, 255), " in labels.txt")
    notes = describe(own_preset().override(label_values=numbering.record))
    (record,) = noted_label_values(notes).values()
    assert from_record(record) == numbering
    assert noted_label_values(describe(own_preset())) == {}  # as of a published dataset


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2]",
        '{"values": [1]}',
        '{"values": [1, "2"], "ignored": [], "meaning": "", "in_colour": false}',
        '{"values": [1, 99999999], "ignored": [], "meaning": "", "in_colour": false}',
        '{"values": [1, 2], "ignored": [], "meaning": 3, "in_colour": false}',
    ],
)
def test_a_numbering_that_is_none_is_refused(text):
    refused(noted_label_values, text)


def test_labels_of_a_person_need_a_class_for_each_output():
    with pytest.raises(ValueError, match="label_set has 2 classes, and the model 3"):
        find_preset("segformer_b0_ade20k").override(num_classes=3, label_set=OWN)


def refused(read, text: str, *arguments: object) -> str:
    key = read.__name__.removeprefix("noted_")
    with pytest.raises(CheckpointError) as error:
        read({key: text}, *arguments)
    sentence = str(error.value)
    assert sentence.startswith(f"the checkpoint's note on its {key} cannot be used: ")
    assert "\n" not in sentence and len(sentence) < 400
    return sentence


NO_TABLE = ["", "{", "[" * 100_000, "3", "[]", '"text"', "9" * 5000]


@pytest.mark.parametrize(
    "text",
    [
        *NO_TABLE,
        '{"norm_eps": "1e-5"}',
        '{"norm_eps": true}',
        '{"norm_eps": NaN}',
        '{"norm_eps": 0}',
        '{"norm_eps": 1}',
        '{"norm_eps": -1e-5}',
        '{"norm_eps": [1e-5]}',
        '{"num_classes": 0.5}',
        '{"head_block": 3}',
        '{"activation": null}',
        '{"block_depth": 0}',
        '{"block_depth": 2.0}',
        '{"block_depth": 1000000}',
        '{"heads": [1, 2, 0, 8]}',
        '{"heads": []}',
        '{"text_heads": [8]}',
        '{"points": true}',
        '{"add_query": 1}',
    ],
    ids=lambda text: text[:20],
)
def test_arithmetic_that_is_none_is_refused(text: str):
    refused(noted_arithmetic, text)


@pytest.mark.parametrize("text", ["", "{", "3", "{}", '"semantic"', "[]", '["semantic", "depth"]', "[[]]"])
def test_tasks_that_are_none_are_refused(text: str):
    refused(noted_tasks, text)


@pytest.mark.parametrize(
    "text",
    [
        *NO_TABLE,
        '{"short_side": 0}',
        '{"short_side": -512}',
        '{"short_side": 512.0}',
        '{"short_side": true}',
        '{"short_side": "512"}',
        '{"long_side": 1000000000}',
        '{"long_side": 1%s}' % ("0" * 400),
        '{"pad_multiple": 0}',
        '{"resize": "bend"}',
        '{"resize": null}',
        '{"resize": "%s"}' % ("x" * 5000),
        '{"mean": [1.0, 2.0]}',
        '{"mean": [1.0, 2.0, "3.0"]}',
        '{"mean": [1.0, 2.0, Infinity]}',
        '{"mean": [1.0, 2.0, 1%s]}' % ("0" * 400),
        '{"std": [1.0, 2.0, 0.0]}',
        '{"std": 1.0}',
        '{"logits_via_input": 1}',
        '{"__doc__": "text"}',
        '{"build": 1}',
    ],
    ids=lambda text: text[:30],
)
def test_preprocessing_that_is_none_is_refused(text: str):
    refused(noted_preprocessing, text)


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ({}, "neither a name nor a list"),
        (3, "neither a name nor a list"),
        ([], "neither a name nor a list"),
        ("ade20", "there is no label set"),
        ("../ade20k", "there is no label set"),
        ("ade20k", "it has 150 classes, and the model 2"),
        ([["cat", "#000000"]], "it has 1 classes, and the model 2"),
        ([["cat", "#000000"]] * 3, "names the class 'cat' twice"),
        (["cat", "dog"], "not a name and a colour"),
        ([["cat"], ["dog"]], "not a name and a colour"),
        ([["cat", "#000000"], [7, "#000000"]], "not a name and a colour"),
        ([["cat", "#000000"], ["dog", 0]], "not a name and a colour"),
        ([["cat", "#000000"], ["dog", "#000000", True, 1]], "not a name and a colour"),
        ([["cat", "#000000", True], ["dog", "#000000", True]], "not a name and a colour"),
        ([["cat", "#000000", True, 1], ["dog", "#000000", 1, 2]], "whether it is a thing"),
        ([["cat", "#000000", True, 1], ["dog", "#000000", True, 2.0]], "the number of a class"),
        ([["cat", "#000000", True, 1], ["dog", "#000000", True, -2]], "the number of a class"),
        ([["cat", "#000000", True, 1], ["dog", "#000000", True, 1]], "the same number"),
        ([["cat", "#000000"], ["dog", "black"]], "not written as #rrggbb"),
        ([["cat", "#000000"], ["dog", "#00000"]], "not written as #rrggbb"),
        ([["cat", "#000000"], ["dog", "#0000000"]], "not written as #rrggbb"),
        ([["cat", "#000000"], ["", "#000000"]], "no name for class 1"),
        ([["cat", "#000000"], [" ", "#000000"]], "no name for class 1"),
        ([["cat", "#000000"], ["d" * 201, "#000000"]], "201 characters for class 1"),
        ([["cat", "#000000"], ["d\x1b[2Jog", "#000000"]], "control characters"),
        ([["cat", "#000000"], ["d\nog", "#000000"]], "control characters"),
        ([["cat", "#000000"], ["d\ud800og", "#000000"]], "control characters"),
        ([[f"class {i}", "#000000"] for i in range(50_000)], "characters"),
    ],
    ids=lambda value: str(value)[:40].encode("ascii", "replace").decode(),
)
def test_labels_that_are_none_are_refused(labels: object, problem: str):
    assert problem in refused(noted_labels, json.dumps(labels), 2)


@pytest.mark.parametrize("text", ["", "[[", "[" * 100_000], ids=len)
def test_labels_that_cannot_be_read_are_refused(text: str):
    assert "it is no JSON" in refused(noted_labels, text, 2)

"""What transformers' processors say, in each of their spellings, and what they cannot say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convert import CheckpointError
from ms_seg.checkpoints.transformers.image_processor import (
    read_image_processor,
    read_label_values,
    told_processor,
    write_image_processor,
)
from ms_seg.data.preprocessing import network_input
from ms_seg.presets import IMAGENET_MEAN, IMAGENET_STD, Preprocessing


def rule(config: dict[str, Any], system: str = "segformer") -> Preprocessing:
    fields = read_image_processor(config, system)
    assert fields.pop("window") is None
    return Preprocessing(**fields)


@pytest.mark.parametrize(
    ("size", "found"),
    [
        (None, ("squash", 512)),
        (640, ("squash", 640)),
        ({"height": 96, "width": 96}, ("squash", 96)),
        ({"height": 96, "width": 128}, ("stretch", 96, 128)),
        ([96, 128], ("stretch", 96, 128)),
        ({"shortest_edge": 96}, ("shortest_edge", 96, 16384)),
        ({"shortest_edge": 96, "longest_edge": 160}, ("shortest_edge", 96, 160)),
    ],
)
def test_every_spelling_of_segformers_size_is_read(size: Any, found: tuple):
    read = rule({} if size is None else {"size": size})
    assert (read.resize, read.short_side, read.long_side)[: len(found)] == found
    assert (read.pad_multiple, read.mean, read.std) == (1, IMAGENET_MEAN, IMAGENET_STD)


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({}, ("shortest_edge", 800, 1333, 32)),
        ({"size": 640}, ("shortest_edge", 640, 1333, 32)),
        ({"size": 640, "max_size": 2560}, ("shortest_edge", 640, 2560, 32)),
        ({"size": {"height": 384, "width": 384}}, ("squash", 384, 2048, 1)),
        ({"size": {"height": 380, "width": 400}}, ("stretch", 384, 416, 1)),
        ({"size": {"height": 380, "width": 400}, "size_divisor": 10}, ("stretch", 380, 400, 1)),
    ],
)
def test_mask2formers_sides_are_taken_up_to_its_divisor(config: dict, found: tuple):
    read = rule(config, "mask2former")
    assert (read.resize, read.short_side, read.long_side, read.pad_multiple) == found
    assert read.query_rule == "transformers"


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"image_processor_type": "Mask2FormerImageProcessorFast"}, "transformers"),
        ({"image_processor_type": "MaskFormerImageProcessor"}, "transformers_maskformer"),
        ({"feature_extractor_type": "MaskFormerFeatureExtractor"}, "transformers_maskformer"),
    ],
)
def test_the_processors_class_says_which_rule_masks_become_segments_by(config: dict, found: str):
    assert (read := rule(config, "mask2former")).query_rule == found
    assert told_processor(config, "mask2former") == ()
    written, _ = write_image_processor(read, "mask2former", None)
    assert rule(written, "mask2former").query_rule == found


def test_pictures_that_are_padded_to_a_size_are_not_taken_for_others():
    with pytest.raises(CheckpointError, match="pad_size must be null"):
        rule({"pad_size": {"height": 100, "width": 100}}, "mask2former")


def test_a_picture_that_is_not_resized_keeps_its_size():
    picture = np.zeros((37, 201, 3), np.uint8)
    assert network_input(picture, rule({"do_resize": False}))[1].padded == (37, 201)


def test_float32_written_out_is_what_was_meant():
    assert rule({"image_mean": [0.48500001430511475, 0.456, 0.406]}).mean == IMAGENET_MEAN


@pytest.mark.parametrize("factor", [{"rescale_factor": 1 / 255}, {"do_rescale": False}, {"rescale_factor": 0.25}, {}])
def test_pixels_become_what_they_become_there(factor: dict):
    picture = np.arange(32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8)
    config = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.1, 0.2, 0.3], "do_resize": False, **factor}
    scale = 1.0 if factor.get("do_rescale") is False else factor.get("rescale_factor", 1 / 255)
    expected = (picture * scale - np.array(config["image_mean"])) / np.array(config["image_std"])
    np.testing.assert_allclose(
        network_input(picture, rule(config))[0][0], expected.transpose(2, 0, 1), rtol=2e-6, atol=1e-5
    )


@pytest.mark.parametrize(
    ("config", "values", "ignored"),
    [
        ({"do_reduce_labels": True}, [1, 2, 3], [0, 255]),
        ({"reduce_labels": True, "ignore_index": 255}, [1, 2, 3], [0, 255]),
        ({"ignore_index": 65}, [0, 1, 2], [65, 255]),
    ],
)
def test_how_label_files_were_numbered_is_read_where_it_is_said(config: dict, values: list[int], ignored: list[int]):
    record = read_label_values(config, 3, 255)["label_values"]
    assert (record["values"], record["ignored"]) == (values, ignored)
    assert write_image_processor(rule({}), "segformer", record)[0]["do_reduce_labels"] == (values[0] == 1)


@pytest.mark.parametrize("config", [{}, {"do_reduce_labels": False, "ignore_index": None}, {"ignore_index": 0}])
def test_how_label_files_were_numbered_is_not_guessed(config: dict):
    assert read_label_values(config, 3, 255) == {}


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"size": "large"}, "size must be a number, two, or a table"),
        ({"size": {"width": 3}}, "size must be"),
        ({"size": 10**9}, "of 1 to 16384 pixels"),
        ({"size": {"shortest_edge": 800, "longest_edge": 600}}, "shortest_edge of at most its longest_edge"),
        ({"image_mean": [1, 2]}, "image_mean must be three numbers"),
        ({"image_std": [0, 1, 1]}, "image_std must be above 0"),
        ({"rescale_factor": 0}, "rescale_factor must be a number above 0"),
        ({"resample": 7}, "resample must be 0 to 5"),
        ({"do_resize": "no"}, "do_resize must be true or false"),
        ({"reduce_labels": 1}, "reduce_labels must be true or false"),
        ({"image_mean": [float("nan"), 1, 1]}, "image_mean must be three numbers"),
        ({"image_std": [float("inf"), 1, 1]}, "image_std must be three numbers"),
    ],
)
def test_what_no_processor_has_is_refused_in_a_sentence(config: dict, problem: str):
    with pytest.raises(CheckpointError, match=problem):
        rule(config)

"""Classes that a training framework recorded in its file, and a model of one output."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ms_seg
from convert import open_checkpoint
from convert.__main__ import main as convert
from convert.recognition import recognise
from ms_seg.checkpoints.identification import identify
from ms_seg.label_sets import OBJECT
from ms_seg.presets import ASSETS
from tests.convert.layouts.published import manifests, read_manifest
from tests.convert.reading import files

PUBLISHED = ASSETS / "segformer_tiny_shapes.pth"  # transformers' layout, 9 classes
NINE = [f" kind {index}" for index in range(9)]


def saved(path: Path, **beside: object) -> Path:
    with open_checkpoint(PUBLISHED) as tensors:
        state = {name: files.tensor(entry.numpy().copy()) for name, entry in tensors.items()}
    path.write_bytes(files.torch_zip({"state_dict": state, **beside}))
    return path


@pytest.mark.parametrize(
    "meta",
    [
        {"CLASSES": NINE, "PALETTE": [[index, 1, 2] for index in range(9)]},
        {"dataset_meta": {"classes": NINE, "palette": [[index, 1, 2] for index in range(9)]}},
    ],
)
def test_recorded_names_and_colours_are_used_and_travel(meta: dict, tmp_path: Path):
    path = saved(tmp_path / "a.pth", meta=meta)
    assert convert([str(path), str(tmp_path / "a.ckpt")]) == 0
    for checkpoint in (path, tmp_path / "a.ckpt"):
        labels = ms_seg.create_model("auto", checkpoint).preset.label_set
        assert labels.names == tuple(name.strip() for name in NINE)
        np.testing.assert_array_equal(labels.palette[:, 0], range(9))


def test_recorded_names_of_a_known_label_set_are_that_one(tmp_path: Path):
    names = list(ms_seg.label_sets.read_labels("shapes").names)
    assert ms_seg.create_model("auto", saved(tmp_path / "a.pth", meta={"CLASSES": names})).preset.label_set == "shapes"


def test_too_few_names_are_left_with_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = saved(tmp_path / "a.pth", meta={"CLASSES": NINE[:4]})
    ms_seg.create_model("auto", path)
    assert "the 4 class names that came with the weights are not used: the model tells 9 apart" in caplog.messages


def test_the_classifier_of_other_classes_of_equal_number_is_fresh_or_announced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    labels = ms_seg.label_sets.numbered_labels(9)
    ms_seg.create_model(
        "segformer_tiny_shapes", saved(tmp_path / "a.pth", meta={"CLASSES": NINE}), fine_tune=True, label_set=labels
    )
    assert "has the class kind 0 where the model is to have class 0: the classifier" in caplog.messages[-1]
    ms_seg.create_model("segformer_tiny_shapes", PUBLISHED, fine_tune=True, label_set=labels)
    assert "the file has 9 classes, as the model is to have, and does not name them" in caplog.messages[-1]


def test_queries_of_one_class_have_no_background_among_their_classes():
    """They have an output of their own for nothing, where one logit has a sigmoid."""
    names = ("mask2former_r50_coco_panoptic_hf", "segformer_b0_hf_ade150")
    for name, outputs, told in zip(names, (2, 1), (None, OBJECT), strict=True):
        tensors = read_manifest(manifests(name)[name])
        for key, entry in tensors.items():
            if key.startswith(("class_predictor.", "decode_head.classifier.")):
                tensors[key] = replace(entry, shape=(outputs, *entry.shape[1:]))
        preset = identify(recognise(tensors), {})
        assert (preset.num_classes, preset.label_set) == (1, told)


@pytest.mark.parametrize("threshold", [None, 0.3])
def test_one_output_is_thresholded(threshold: float | None, tmp_path: Path):
    """As its training did, by the sigmoid; converted, it still is."""
    with open_checkpoint(PUBLISHED) as tensors:
        state = {name: entry.numpy().copy() for name, entry in tensors.items()}
    for leaf in ("weight", "bias"):
        state[f"decode_head.classifier.{leaf}"] = state[f"decode_head.classifier.{leaf}"][:1]
    path = tmp_path / "one.pth"
    path.write_bytes(files.torch_zip({name: files.tensor(array) for name, array in state.items()}))
    overrides = {} if threshold is None else {"threshold": threshold}
    model = ms_seg.create_model("auto", path, **overrides)
    picture = np.random.RandomState(0).randint(0, 256, (64, 96, 3)).astype(np.uint8)
    segmenter = ms_seg.Segmenter(model, "pynative")
    answer, values = segmenter(picture), segmenter.predict(picture).logits()
    assert answer.label_set.names == OBJECT.names == ("background", "object")
    (object_logits,) = np.concatenate([band[..., 1:] for _, band in values.bands()]).transpose(2, 0, 1)
    np.testing.assert_array_equal(answer.label_map, 1 / (1 + np.exp(-object_logits)) > (threshold or 0.5))
    assert 0 < answer.label_map.mean() < 1
    flags = [f"--override=threshold={threshold}"] if threshold else []
    assert convert([str(path), str(tmp_path / "one.ckpt"), *flags]) == 0
    again = ms_seg.Segmenter(ms_seg.create_model("auto", tmp_path / "one.ckpt"), "pynative")(picture)
    np.testing.assert_array_equal(again.label_map, answer.label_map)

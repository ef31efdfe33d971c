"""Folders that transformers writes, opened here and there: the same answers, whatever their configurations say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest
import references
import torch
from errors import relative_error
from PIL import Image
from transformers import (
    AutoImageProcessor,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    Mask2FormerImageProcessor,
    MaskFormerImageProcessor,
    ResNetConfig,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
    SwinConfig,
)

import ms_seg
from convert.__main__ import main as convert
from ms_seg.data.preprocessing import network_input

NAMES = ("road", "verge", "a lake", "sky", "house", "boat", "hill")
SMALL = {
    "hidden_sizes": [8, 16, 24, 32], "depths": [1, 2, 1, 1], "num_attention_heads": [1, 2, 3, 4],
    "decoder_hidden_size": 20,
}  # fmt: skip
UNUSUAL = {"sr_ratios": [4, 2, 2, 1], "mlp_ratios": [2, 4, 3, 1], "patch_sizes": [7, 5, 3, 3], "strides": [2, 2, 2, 2]}
PROCESSORS: dict[str, dict[str, Any]] = {
    "squashed": {"size": {"height": 64, "width": 96}, "do_reduce_labels": True},
    "of one number": {"size": 96},
    "as it is, bicubic": {"do_resize": False, "image_mean": [0.5, 0.4, 0.3], "resample": 3},
    "not normalised": {"size": {"height": 64, "width": 64}, "do_normalize": False},
}


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    coarse = np.random.RandomState(3).randint(0, 256, (6, 8, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((93, 71), Image.Resampling.BICUBIC)


def segformer_folder(folder: Path, processor: dict[str, Any], **saving: Any) -> SegformerForSemanticSegmentation:
    """A SegFormer with drawn weights, saved as transformers saves it, of ratios and strides that nobody published."""
    labels = dict(enumerate(NAMES))
    config = SegformerConfig(
        **SMALL, **UNUSUAL, id2label=labels, label2id={name: index for index, name in labels.items()}
    )
    model = references.draw_weights(SegformerForSemanticSegmentation(config), 1).eval()
    model.save_pretrained(folder, **saving)
    SegformerImageProcessor(**processor).save_pretrained(folder)
    return model


def agreement(ours: np.ndarray, theirs: torch.Tensor) -> float:
    return float((ours == theirs.numpy()).mean())


@pytest.mark.parametrize("kind", PROCESSORS)
def test_a_segformer_answers_as_in_transformers(kind: str, picture: Image.Image, tmp_path: Path):
    reference = segformer_folder(tmp_path, PROCESSORS[kind])
    processor = SegformerImageProcessor.from_pretrained(tmp_path)
    with torch.no_grad():
        outputs = reference(**processor(picture, return_tensors="pt"))
    (theirs,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[picture.size[::-1]])
    answer = ms_seg.Segmenter(ms_seg.create_model("auto", tmp_path), "pynative")(picture)
    assert answer.label_set.names == NAMES
    assert agreement(answer.label_map, theirs) > 0.9999
    assert len(np.unique(answer.label_map)) > 2


SQUASHED, MASKFORMERS = "squashed", "of MaskFormer's class"
MASK2FORMER_PROCESSORS: dict[str, dict[str, Any]] = {
    SQUASHED: {"size": {"height": 100, "width": 100}},
    "of one number, no longer than": {"size": 90, "max_size": 110},
    "of another divisor": {"size": {"shortest_edge": 96, "longest_edge": 400}, "size_divisor": 40},
    MASKFORMERS: {"size": {"shortest_edge": 72, "longest_edge": 400}},
}


def mask2former_folder(
    folder: Path, processor: dict[str, Any], backbone: str = "swin"
) -> Mask2FormerForUniversalSegmentation:
    """A Mask2Former with drawn weights, saved as transformers saves it."""
    maps = {"out_features": ["stage1", "stage2", "stage3", "stage4"]}
    backbones = {
        "swin": SwinConfig(
            embed_dim=12, depths=[1, 2, 1, 1], num_heads=[1, 2, 3, 4], window_size=3, mlp_ratio=2.5, **maps
        ),
        "resnet": ResNetConfig(embedding_size=8, hidden_sizes=[32, 64, 128, 256], depths=[1, 1, 2, 1], **maps),
    }
    config = Mask2FormerConfig(
        backbone_config=backbones[backbone], num_queries=9, feature_size=32, mask_feature_size=32, hidden_dim=32,
        encoder_layers=2, decoder_layers=3, num_attention_heads=4, dim_feedforward=40, encoder_feedforward_dim=48,
        id2label=dict(enumerate(NAMES)), label2id={name: index for index, name in enumerate(NAMES)},
    )  # fmt: skip
    reference = references.draw_weights(Mask2FormerForUniversalSegmentation(config), 2).eval()
    reference.save_pretrained(folder)
    Mask2FormerImageProcessor(**processor).save_pretrained(folder)
    return reference


@pytest.mark.parametrize(
    ("kind", "backbone"), [*((kind, "swin") for kind in MASK2FORMER_PROCESSORS), (SQUASHED, "resnet")]
)
def test_a_mask2former_answers_as_in_transformers(kind: str, backbone: str, picture: Image.Image, tmp_path: Path):
    reference = mask2former_folder(tmp_path, MASK2FORMER_PROCESSORS[kind], backbone)
    if kind == MASKFORMERS:
        MaskFormerImageProcessor(**MASK2FORMER_PROCESSORS[kind]).save_pretrained(tmp_path)
    processor = AutoImageProcessor.from_pretrained(tmp_path, use_fast=False)
    with torch.no_grad():
        outputs = reference(**processor(picture, return_tensors="pt"))
    model, size = ms_seg.create_model("auto", tmp_path), picture.size[::-1]
    (theirs,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[size])
    images, _ = network_input(np.asarray(picture), model.preset.preprocessing)
    pairs = zip(model(ms.Tensor(images)), (outputs.class_queries_logits, outputs.masks_queries_logits), strict=True)
    assert all(relative_error(our.asnumpy(), their.numpy()) < 1e-4 for our, their in pairs)
    answer = ms_seg.Segmenter(model, "pynative", task="semantic")(picture)
    assert answer.label_set.names == NAMES
    assert agreement(answer.label_map, theirs) > 0.9999
    (theirs,) = processor.post_process_panoptic_segmentation(outputs, target_sizes=[size])
    with pytest.raises(ValueError, match="panoptic or instance or semantic, is not said beside its weights"):
        ms_seg.Segmenter(model, "pynative")
    panoptic = ms_seg.Segmenter(model, "pynative", task="panoptic")(picture)
    assert [s["category_id"] for s in panoptic.segments] == [s["label_id"] for s in theirs["segments_info"]]


@pytest.mark.parametrize("name", ["segformer", "mask2former", "mask2former on resnet"])
def test_what_is_written_is_what_transformers_opens(name: str, picture: Image.Image, tmp_path: Path):
    """Back from ours, from memory and by the command: the same logits, classes and pictures."""
    rule, theirs = {"size": {"height": 64, "width": 96}}, tmp_path / "theirs"
    if name == "segformer":
        reference: Any = segformer_folder(theirs, {**rule, "do_reduce_labels": True})
    else:
        reference = mask2former_folder(theirs, rule, "resnet" if name.endswith("resnet") else "swin")
    model = ms_seg.create_model("auto", tmp_path / "theirs")
    ms_seg.to_pretrained(model, tmp_path / "ours")
    assert convert([str(tmp_path / "theirs"), str(tmp_path / "model.ckpt")]) == 0
    assert convert([str(tmp_path / "model.ckpt"), str(tmp_path / "again"), "--to", "hf"]) == 0
    processor = AutoImageProcessor.from_pretrained(tmp_path / "theirs")
    inputs = processor(picture, return_tensors="pt")
    for folder in (tmp_path / "ours", tmp_path / "again"):
        again, loading = type(reference).from_pretrained(folder, output_loading_info=True)
        assert not any(loading[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
        assert again.config.id2label == dict(enumerate(NAMES))
        assert AutoImageProcessor.from_pretrained(folder).do_reduce_labels == processor.do_reduce_labels
        seen = AutoImageProcessor.from_pretrained(folder)(picture, return_tensors="pt")
        np.testing.assert_array_equal(seen["pixel_values"], inputs["pixel_values"])
        with torch.no_grad():
            ours, theirs = again.eval()(**seen), reference(**inputs)
        key = "logits" if name == "segformer" else "masks_queries_logits"
        np.testing.assert_array_equal(ours[key], theirs[key])
    with pytest.raises(ValueError, match="is there already"):
        ms_seg.to_pretrained(model, tmp_path / "ours")


def test_classes_whose_numbers_have_gaps_are_those_of_transformers(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Which makes as many outputs as there are names, and calls each by its own number."""
    config = SegformerConfig(**SMALL, id2label={0: "road", 2: "sky", 5: "boat"})
    reference = references.draw_weights(SegformerForSemanticSegmentation(config), 1).eval()
    reference.save_pretrained(tmp_path)
    model = ms_seg.create_model("auto", tmp_path)
    assert model.preset.label_set.names == ("road", "class 1", "sky")
    assert "no name for output 1, and 'boat (5)' is of no output" in caplog.text
    images = np.random.RandomState(0).randn(1, 3, 64, 64).astype(np.float32)
    with torch.no_grad():
        theirs = reference(torch.from_numpy(images)).logits
    assert relative_error(model(ms.Tensor(images)).asnumpy(), theirs.numpy()) < 1e-5


def test_what_a_folder_says_travels_into_the_converted_file(picture: Image.Image, tmp_path: Path):
    """Saved in several parts, with an index, and converted."""
    (folder := tmp_path / "folder").mkdir()
    segformer_folder(folder, PROCESSORS["squashed"], max_shard_size="40KB")
    assert (folder / "model.safetensors.index.json").exists()
    assert convert([str(folder), str(tmp_path / "model.ckpt")]) == 0
    ours, again = (
        ms_seg.Segmenter(ms_seg.create_model("auto", path), "pynative")(picture)
        for path in (folder, tmp_path / "model.ckpt")
    )
    assert again.label_set.names == NAMES
    np.testing.assert_array_equal(again.label_map, ours.label_map)

"""`ms_seg.modelscope` against ModelScope's own pipelines beside it: what they take, and what they give, key by key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import modelscope_reference
import numpy as np
import pytest
import references
import torch
import vit_adapter_reference
from errors import LABELS_LIMIT
from PIL import Image

import ms_seg
from ms_seg.label_sets import LabelSet
from ms_seg.modelscope import Tasks, panoptic_seg_masks_to_image, pipeline, semantic_seg_masks_to_image
from ms_seg.presets import Window, find_preset
from tests.hub.servers import Hub, serving
from tests.text.small_vocabulary import tokenizer_of

SIZE = (75, 110)
FORMS = ["path", "array", "image", "list"]
CLASSES = tuple(f"class {number}" for number in range(11))
DECODERS = {"num_classes": 11, "queries": 12, "width": 64, "decoder_heads": 4, "pixel_layers": 1, "pixel_hidden": 48}
DECODERS |= {"query_layers": 1, "query_hidden": 80}
LABELS = LabelSet(CLASSES, np.zeros((11, 3), np.uint8), tuple(number < 6 for number in range(11)), tuple(range(11)))


@pytest.fixture(scope="module")
def hub():
    with serving(Hub({"files": {}})) as hub:
        yield hub


def inputs(folder: Path, hub: Hub) -> dict[str, Any]:
    """One picture in every form in which all of ModelScope's pipelines take it; its file is to be turned."""
    pixels = np.random.default_rng(3).integers(0, 256, (*SIZE, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(folder / "turned.png", exif=exif)
    Image.fromarray(pixels).save(folder / "plain.png")
    hub.models["files"]["turned.png"] = (folder / "turned.png").read_bytes()
    return {
        "address": f"{hub.url}/files/turned.png",
        "path": str(folder / "turned.png"),
        "array": pixels,
        "image": Image.open(folder / "plain.png"),
        "list": [pixels[..., 0]],
    }


def check_equal(ours: Any, theirs: Any) -> None:
    """Keys, types, order and values; masks but for a pixel in ten thousand. Ours may say more of its confidence."""
    if isinstance(theirs, list):
        assert isinstance(ours, list) and len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            check_equal(one, other)
        return
    assert set(ours) - {"confidences"} == set(theirs)
    assert {key: value for key, value in ours.items() if key in ("labels", "scores")} == {
        key: value for key, value in theirs.items() if key in ("labels", "scores")
    }
    assert type(ours["masks"]) is type(theirs["masks"])
    if isinstance(theirs["masks"], np.ndarray):
        assert ours["masks"].dtype == theirs["masks"].dtype
        assert set(np.unique(ours["masks"])) == set(np.unique(theirs["masks"])) == {0, 255}
    assert len(ours["masks"]) == len(theirs["masks"]) > 0
    assert [mask.dtype for mask in ours["masks"]] == [mask.dtype for mask in theirs["masks"]]
    assert np.mean(np.stack(ours["masks"]) != np.stack(theirs["masks"])) <= LABELS_LIMIT


@pytest.fixture(scope="module")
def panoptic(tmp_path_factory, hub):
    """Both pipelines, and the forms of a picture."""
    name, folder = "mask2former_swin_t_coco_panoptic", tmp_path_factory.mktemp("panoptic")
    sizes = {**DECODERS, "channels": 16, "depths": (1, 1, 1, 1), "heads": (1, 2, 2, 4), "drop_path_rate": 0.0}
    sizes |= {"short_side": 64, "long_side": 96}
    preset = find_preset(name).override(**sizes)
    network = references.build_reference(preset, seed=3)
    with torch.no_grad():
        network.panoptic_head.cls_embed.weight *= 8  # sure enough of some queries to keep them
    checkpoint = references.save_checkpoint(network, folder / "theirs.pth")
    model = ms_seg.create_model(name, checkpoint, **sizes, label_set=LABELS)
    ours = pipeline(Tasks.image_segmentation, model, mode="pynative")
    return ours, modelscope_reference.panoptic(network, preset, CLASSES, folder), inputs(folder, hub)


@pytest.fixture(scope="module")
def easycv(tmp_path_factory, hub):
    """SegFormer, with an output more than there are classes."""
    name, folder = "segformer_b0_cocostuff164k", tmp_path_factory.mktemp("easycv")
    sizes = {"embed_dims": (16, 32, 32, 64), "depths": (1, 1, 1, 1), "heads": (1, 2, 2, 4), "head_width": 32}
    sizes |= {"num_classes": 6, "short_side": 64, "long_side": 96}
    preset = find_preset(name).override(**sizes)
    network = references.build_reference(preset, seed=2)
    with torch.no_grad():
        network["decode_head"].conv_seg.bias[5] += 3.0  # some pixels are of no class
    checkpoint = references.save_checkpoint(network, folder / "theirs.pth")
    model = ms_seg.create_model(name, checkpoint, **sizes)
    five = LabelSet(CLASSES[:5], np.zeros((5, 3), np.uint8))
    model.preset = replace(model.preset, label_set=five)  # as of COCO-Stuff: 171 names, 172 outputs
    ours = pipeline(Tasks.image_segmentation, model, mode="pynative")
    return ours, modelscope_reference.easycv_semantic(network, preset, CLASSES[:5]), inputs(folder, hub)


@pytest.fixture(scope="module")
def semantic(tmp_path_factory, hub):
    name, folder = "vit_adapter_beit_l_cocostuff164k", tmp_path_factory.mktemp("semantic")
    sizes = {**DECODERS, "channels": 48, "depth": 4, "heads": 3, "grid": 6, "deform_heads": 4, "prior_width": 8}
    sizes |= {"short_side": 96, "long_side": 128, "window": Window(96, 80, exact=True)}
    preset = find_preset(name).override(**sizes)
    network = references.build_reference(preset, seed=1)
    checkpoint = references.save_checkpoint(network, folder / "theirs.pth")
    model = ms_seg.create_model(name, checkpoint, **sizes, label_set=LABELS)
    ours = pipeline(Tasks.image_segmentation, model, mode="pynative")
    segmentor = vit_adapter_reference.build_segmentor(network, model.preset.window, 11)
    return ours, modelscope_reference.semantic(segmentor, preset, CLASSES, folder), inputs(folder, hub)


@pytest.fixture(scope="module")
def text_driven(tmp_path_factory, hub):
    name, folder = "lseg_vitl16_text_driven", tmp_path_factory.mktemp("words")
    tokenizer = tokenizer_of(folder)
    sizes = {"features": 16, "embed_dim": 24, "text_width": 32, "text_layers": 1, "text_heads": 2, "channels": 32}
    sizes |= {"vocabulary": len(tokenizer), "depth": 4, "heads": 2, "grid": 24, "map_channels": (8, 12, 16, 20)}
    network = references.build_reference(find_preset(name).override(**sizes), seed=1)
    checkpoint = references.save_checkpoint(network, folder / "theirs.pth")
    ours = pipeline(
        Tasks.text_driven_segmentation, ms_seg.create_model(name, checkpoint, **sizes),
        vocab=folder / "merges.txt", mode="pynative",
    )  # fmt: skip
    return ours, modelscope_reference.text_driven(network, tokenizer, folder), inputs(folder, hub)


@pytest.mark.parametrize("form", ["path", "array", "image", "list"])
def test_easycvs_results_are_modelscopes(easycv, form: str):
    ours, theirs, pictures = easycv
    given = [pictures["path"], pictures["array"]] if form == "list" else pictures[form]
    result = theirs(given)
    assert 0 < sum(mask.sum() for mask in result["masks"]) < result["masks"][0].size
    check_equal(ours(given), result)


@pytest.mark.parametrize("form", FORMS)
def test_panoptic_results_are_modelscopes(panoptic, form: str):
    ours, theirs, pictures = panoptic
    check_equal(ours(pictures[form]), theirs(pictures[form]))


@pytest.mark.parametrize("form", ["address", "image"])
def test_semantic_results_are_modelscopes(semantic, form: str):
    ours, theirs, pictures = semantic
    check_equal(ours(pictures[form]), theirs(pictures[form]))


@pytest.mark.parametrize("form", ["path", "array", "image"])
def test_text_driven_results_are_modelscopes(text_driven, form: str):
    ours, theirs, pictures = text_driven
    asked = {"image": pictures[form], "text": "xyz"}
    check_equal(ours(asked), theirs(asked))


def test_text_driven_results_of_a_list_are_modelscopes(text_driven):
    ours, theirs, pictures = text_driven
    asked = [{"image": picture, "text": "cat"} for picture in (pictures["array"], *pictures["list"])]
    check_equal(ours(asked), theirs(asked))


def test_masks_are_drawn_as_modelscope_draws_them(panoptic):
    functions = modelscope_reference.module("utils.cv.image_utils")
    masks = [np.random.default_rng(seed).integers(0, 2, (5, 7)) for seed in range(133)]
    for ours in (semantic_seg_masks_to_image, panoptic_seg_masks_to_image):
        for count in (1, 20, 133):
            drawn, expected = ours(masks[:count]), getattr(functions, ours.__name__)(masks[:count])
            assert drawn.dtype == expected.dtype and np.array_equal(drawn, expected)


@pytest.mark.parametrize("name", ["Tasks", "DownloadMode", "Hubs"])
def test_constants_are_modelscopes(panoptic, name: str):
    ours, theirs = getattr(ms_seg.modelscope, name), getattr(modelscope_reference.module("utils.constant"), name)
    for key in (key for key in vars(ours) if not key.startswith("_")):
        assert getattr(getattr(ours, key), "value", getattr(ours, key)) == getattr(
            getattr(theirs, key), "value", getattr(theirs, key)
        )


def test_keys_of_results_are_modelscopes(panoptic):
    theirs = modelscope_reference.module("outputs").OutputKeys
    ours = ms_seg.modelscope.OutputKeys
    assert (ours.MASKS, ours.LABELS, ours.SCORES) == (theirs.MASKS, theirs.LABELS, theirs.SCORES)

"""Every published layout of Mask2Former and of the backbones it starts from, by the keys and shapes of its files."""

from __future__ import annotations

import numpy as np
import pytest

from convert.layouts.row import NATIVE
from convert.plan import find_layout
from convert.recognition import recognise
from ms_seg.checkpoints.identification import identify
from tests.convert.layouts.published import Declared, manifests, model_shapes, read_manifest

SWIN_L, R50 = "mask2former_swin_l_coco_panoptic", "mask2former_r50_coco_panoptic"
EXPECTED = {  # manifest -> the layout and the model that are inferred
    "mask2former_swinl_coco_panoptic_modelscope": ("mmdet", SWIN_L),
    "mask2former_swinl_coco_panoptic_detectron2": ("detectron2", SWIN_L),
    "mask2former_swinl_coco_panoptic_detectron2_code": ("detectron2", SWIN_L),
    "mask2former_swinl_coco_panoptic_hf": ("hf", SWIN_L),
    "mask2former_r50_coco_panoptic_modelscope": ("easycv", R50),
    "mask2former_r50_coco_panoptic_mmdet": ("mmdet", R50),
    "mask2former_r50_coco_panoptic_detectron2": ("detectron2", R50),
    "mask2former_r50_coco_panoptic_detectron2_code": ("detectron2", R50),
    "mask2former_r50_coco_panoptic_hf": ("hf", R50),
    "mask2former_r50_coco_panoptic_mmdet3": ("mmdet3", R50),
    "mask2former_swint_coco_instance_mmdet3": ("mmdet3", "mask2former_swin_t_coco_instance"),
    "mask2former_r101_cityscapes_semantic_mmseg1": ("mmseg1", "mask2former_r101_cityscapes_semantic_mmseg"),
    "mask2former_swint_ade20k_semantic_mmseg1": ("mmseg1", "mask2former_swin_t_ade20k_semantic_mmseg"),
    "swin_tiny_patch4_window7_224_timm": ("timm-swin", "mask2former_swin_t_coco_panoptic"),
    "swin_large_patch4_window12_384_22k_official": ("original-swin", SWIN_L),
    "swin_large_patch4_window12_384_22kto1k_official": ("original-swin", SWIN_L),
    "resnet50_torchvision": ("torchvision-resnet", R50),
}
MANIFESTS = manifests(*EXPECTED)
WHOLE = [name for name in MANIFESTS if name.startswith("mask2former_")]
NOT_CARRIED = (".num_batches_tracked", ".relative_position_index", ".attn_mask", "criterion.empty_weight")


def array(name: str, key: str) -> np.ndarray:
    """A tensor of ours, converted from this manifest."""
    tensors = read_manifest(MANIFESTS[name])
    return recognise(tensors).plan(None).apply(tensors)[key].numpy()


@pytest.mark.parametrize("name", MANIFESTS)
def test_every_key_and_every_parameter_is_accounted_for(name: str):
    tensors = read_manifest(MANIFESTS[name])
    source = recognise(tensors)
    preset = identify(source, {})
    assert (source.layout.name, preset.name) == EXPECTED[name]
    plan = source.plan(model_shapes(preset.name))
    assert plan.complete, plan.explain()
    carried = {key for step in plan.steps for key in step.sources}
    assert carried | set(plan.dropped) == set(tensors) and not carried & set(plan.dropped)
    classifier = () if name in WHOLE else ("norm.", "head.", "fc.")
    assert all(key.endswith(NOT_CARRIED) or key.startswith(classifier) for key in plan.dropped)


@pytest.mark.parametrize("name", ["mask2former_swinl_coco_panoptic_hf", "mask2former_r50_coco_panoptic_hf"])
def test_transformers_bare_model_fills_all_but_the_classifier(name: str):
    tensors = read_manifest(MANIFESTS[name])
    bare = {key.removeprefix("model."): entry for key, entry in tensors.items() if key.startswith("model.")}
    assert len(bare) > 500 and "Mask2FormerModel" in recognise(bare).layout.title
    source, model = recognise(bare), model_shapes(EXPECTED[name][1])
    plan = source.plan(model)
    assert plan.complete, plan.explain()
    filled = {target for step in plan.steps for target in step.targets}
    assert set(model) - filled == {f"query_decoder.class_embed.{leaf}" for leaf in ("weight", "bias")}
    assert identify(source, {}).name == EXPECTED[name][1]


def test_imagenets_swin_leaves_only_the_norms_of_the_levels_to_be_drawn():
    plan = recognise(read_manifest(MANIFESTS["swin_large_patch4_window12_384_22k_official"])).plan(None)
    missing = {name for name in model_shapes(SWIN_L) if name.startswith("backbone.")} - set(plan.shapes)
    assert missing == {f"backbone.norm{level}.{leaf}" for level in range(4) for leaf in ("gamma", "beta")}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_converted_file_is_recognised_as_ours_and_as_the_same_model(name: str):
    source = recognise(read_manifest(MANIFESTS[name]))
    shapes = source.plan(None).shapes
    again = recognise({key: Declared(key, shape, "float32") for key, shape in shapes.items()})
    assert again.layout.name == (NATIVE if name in WHOLE else f"native-{source.layout.name.split('-')[1]}")
    written = {"model": EXPECTED[name][1]} if "semantic" in name else {}  # shapes alone tell no tasks apart
    assert identify(again, written).name == EXPECTED[name][1]
    assert again.plan(model_shapes(EXPECTED[name][1])).complete


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_way_back_gives_the_same_keys_and_numbers(name: str):
    """But for what is made anew: numbers are compared where they are few, which is so for a tensor of every row."""
    tensors = read_manifest(MANIFESTS[name])
    source = recognise(tensors)
    converted = source.plan(None).apply(tensors)
    back = recognise(converted).plan_back(find_layout(source.layout.name, source.layout.system)).apply(converted)
    dropped = {key for key in source.plan(None).dropped if not key.endswith(".num_batches_tracked")}
    assert {key.replace("query_feat", "static_query") for key in back} == {
        key.replace("query_feat", "static_query") for key in set(tensors) - dropped
    }
    for key, entry in back.items():
        if key in tensors and np.prod(tensors[key].shape) < 600_000:
            expected = np.zeros((), np.int64) if key.endswith("num_batches_tracked") else tensors[key].numpy()
            assert entry.dtype == tensors[key].dtype
            np.testing.assert_array_equal(entry.numpy(), expected, err_msg=key)


@pytest.mark.parametrize("query", ["static_query", "query_feat"])
def test_the_queries_have_two_names_in_detectron2s_files(query: str):
    tensors = read_manifest(MANIFESTS["mask2former_swinl_coco_panoptic_detectron2"])
    entry = tensors.pop("sem_seg_head.predictor.static_query.weight")
    tensors[f"sem_seg_head.predictor.{query}.weight"] = entry
    plan = recognise(tensors).plan(model_shapes(SWIN_L))
    assert plan.complete, plan.explain()
    np.testing.assert_array_equal(plan.apply(tensors)["query_decoder.query_feat"].numpy(), entry.numpy())


def test_the_originals_norms_that_learn_count_batches_which_are_dropped():
    """Those of its R50 and R101 of Cityscapes and R101 of ADE20K, trained with SyncBN."""
    tensors = read_manifest(MANIFESTS["mask2former_r50_coco_panoptic_detectron2"])
    counts = [key.replace("running_mean", "num_batches_tracked") for key in tensors if key.endswith(".running_mean")]
    tensors |= {key: Declared(key, (), "int64") for key in counts}
    plan = recognise(tensors).plan(model_shapes(R50))
    assert plan.complete and set(counts) <= set(plan.dropped) and len(counts) == 53


def test_packed_queries_keys_and_values_are_taken_apart_where_they_look_at_the_picture():
    name, layer = "mask2former_swinl_coco_panoptic_modelscope", "query_decoder.layers.2"
    theirs = "panoptic_head.transformer_decoder.layers.2.attentions"
    packed = read_manifest(MANIFESTS[name])[f"{theirs}.0.attn.in_proj_weight"].numpy()
    for part, rows in zip("qkv", np.split(packed, 3), strict=True):
        np.testing.assert_array_equal(array(name, f"{layer}.cross_attn.{part}.weight"), rows)
    packed = read_manifest(MANIFESTS[name])[f"{theirs}.1.attn.in_proj_weight"].numpy()
    np.testing.assert_array_equal(array(name, f"{layer}.self_attn.qkv.weight"), packed)


def test_a_model_of_other_classes_is_recognised_by_its_structure():
    tensors = read_manifest(MANIFESTS["mask2former_r50_coco_panoptic_modelscope"])
    for leaf, shape in (("weight", (9, 256)), ("bias", (9,))):
        key = f"head.predictor.class_embed.{leaf}"
        tensors[key] = Declared(key, shape, "float32")
    preset = identify(recognise(tensors), {})
    assert (preset.name, preset.arguments["num_classes"], preset.label_set) == (R50, 8, None)

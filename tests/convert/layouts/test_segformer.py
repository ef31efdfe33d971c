"""Every published layout of SegFormer and MiT, by the keys and shapes of its files."""

from __future__ import annotations

import numpy as np
import pytest

from convert.plan import find_layout
from convert.recognition import recognise
from ms_seg.checkpoints.identification import identify
from tests.convert.layouts.published import manifests, model_shapes, read_manifest

MANIFESTS = manifests("segformer_", "mit_")
LAYOUT_OF = {"hf": "hf", "easycv": "mmseg", "mmseg": "mmseg", "nvlabs": "original"}
ENDINGS = {"hf": "classifier.bias", "easycv": "conv_seg.bias", "mmseg": "conv_seg.bias", "nvlabs": "linear_pred.bias"}


@pytest.mark.parametrize("name", MANIFESTS)
def test_every_key_and_every_parameter_is_accounted_for(name: str):
    tensors = read_manifest(MANIFESTS[name])
    source = recognise(tensors)
    kind, size, origin = name.split("_")[:3]
    part = "-backbone" if kind == "mit" else ""
    assert source.layout.name == LAYOUT_OF[origin] + part
    preset = identify(source, {})
    assert f"_{size}_" in preset.name
    plan = source.plan(model_shapes(preset.name, num_classes=preset.arguments["num_classes"]))
    assert plan.complete, plan.explain()
    carried = {key for step in plan.steps for key in step.sources}
    assert carried | set(plan.dropped) == set(tensors) and not carried & set(plan.dropped)


@pytest.mark.parametrize("name", [name for name in MANIFESTS if name.startswith("segformer")])
def test_outputs_and_labels_follow_from_the_classifier(name: str):
    tensors = read_manifest(MANIFESTS[name])
    classes = next(e.shape[0] for key, e in tensors.items() if key.endswith(ENDINGS[name.split("_")[2]]))
    preset = identify(recognise(tensors), {})
    assert preset.arguments["num_classes"] == classes
    assert preset.label_set == {150: "ade20k", 171: "cocostuff164k", 172: "cocostuff164k"}[classes]


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        ("segformer_b0_easycv_cocostuff172", "segformer_b0_cocostuff164k"),
        ("segformer_b0_mmseg_ade150", "segformer_b0_ade20k_mmseg"),
        ("segformer_b0_hf_ade150", "segformer_b0_ade20k"),
        ("segformer_b0_nvlabs_ade150", "segformer_b0_ade20k"),
    ],
)
def test_the_model_is_inferred_from_keys_and_shapes(name: str, preset: str):
    assert identify(recognise(read_manifest(MANIFESTS[name])), {}).name == preset


def test_epsilons_come_with_the_layout():
    def epsilons(name: str) -> tuple[float, float]:
        arguments = identify(recognise(read_manifest(MANIFESTS[name])), {}).sizes
        return arguments["norm_eps"], arguments["conv_norm_eps"]

    assert epsilons("segformer_b0_hf_ade150") == (1e-5, 1e-5)
    assert epsilons("segformer_b0_nvlabs_ade150") == (1e-6, 1e-5)
    assert epsilons("segformer_b0_mmseg_ade150") == (1e-6, 1e-6)


@pytest.mark.parametrize("name", [name for name in MANIFESTS if name.startswith("segformer_b0")])
def test_the_way_back_gives_the_same_keys_and_numbers(name: str):
    tensors = read_manifest(MANIFESTS[name])
    source = recognise(tensors)
    converted = source.plan(None).apply(tensors)
    back = recognise(converted).plan_back(find_layout(source.layout.name, "segformer")).apply(converted)
    never_called = {key for key in tensors if "nvlabs" in name and ".conv_seg." in key}
    assert set(back) == set(tensors) - never_called
    for key, entry in back.items():
        expected = np.zeros((), np.int64) if key.endswith("num_batches_tracked") else tensors[key].numpy()
        assert entry.dtype == tensors[key].dtype
        np.testing.assert_array_equal(entry.numpy(), expected, err_msg=key)


def test_queries_are_the_first_third_of_a_packed_projection():
    tensors = read_manifest(MANIFESTS["segformer_b0_mmseg_ade150"])
    packed = tensors["backbone.layers.1.1.0.attn.attn.in_proj_weight"].numpy()
    converted = recognise(tensors).plan(None).apply(tensors)
    np.testing.assert_array_equal(converted["backbone.stages.1.blocks.0.attn.q.weight"].numpy(), packed[:64])
    np.testing.assert_array_equal(converted["backbone.stages.1.blocks.0.attn.kv.weight"].numpy(), packed[64:])


def test_a_prefix_before_every_key_is_taken_off():
    tensors = {f"module.{key}": entry for key, entry in read_manifest(MANIFESTS["segformer_b0_hf_ade150"]).items()}
    source = recognise(tensors)
    assert source.prefix == "module."
    assert source.plan(model_shapes("segformer_b0_ade20k")).complete

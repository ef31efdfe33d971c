"""CLIP's files, of which LSeg takes the text tower: by the keys and shapes of the published ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mindspore.nn.utils import no_init_parameters

from convert.layouts import clip
from convert.plan import find_layout
from convert.recognition import recognise
from ms_seg.checkpoints.loading import shapes_of
from ms_seg.text.transformer import TextTransformer
from tests.convert.layouts.published import Declared, manifests, read_manifest

MANIFESTS = manifests("clip_")
LAYOUT_OF = {"openai": "openai-text", "hf": "hf-text"}
SIZES = {  # width, heads, layers, embed_dim
    "clip_vitb32_openai": (512, 8, 12, 512),
    "clip_rn50x16_openai": (768, 12, 12, 768),
    "clip_vitb32_hf": (512, 8, 12, 512),
}


def smaller(name: str) -> dict[str, Declared]:
    """The tensors of a manifest with every side but the number of positions divided."""
    tensors = read_manifest(MANIFESTS[name])
    return {
        key: replace(entry, shape=tuple(n if n == 77 else -(-n // 64) for n in entry.shape))
        for key, entry in tensors.items()
    }


def is_text(key: str) -> bool:
    others = ("visual", "vision_model", "logit_scale", "input_resolution", "context_length", "vocab_size")
    return not key.startswith(others) and not key.endswith("position_ids")


@pytest.mark.parametrize("name", SIZES)
def test_every_key_and_every_parameter_is_accounted_for(name: str):
    tensors = read_manifest(MANIFESTS[name])
    source = recognise(tensors)
    assert (source.layout.name, source.layout.system, source.prefix) == (LAYOUT_OF[name.split("_")[-1]], "lseg", "")
    with no_init_parameters():
        shapes = shapes_of(TextTransformer(*SIZES[name]))
    elsewhere = {"backbone.cls_token": (1, 1, 1024)}
    plan = source.plan({f"text.{parameter}": shape for parameter, shape in shapes.items()} | elsewhere)
    assert plan.complete, plan.explain()
    carried = {key for step in plan.steps for key in step.sources}
    assert carried == {key for key in tensors if is_text(key)} and set(plan.dropped) == set(tensors) - carried
    assert all(plan.dropped.values())


@pytest.mark.parametrize("name", SIZES)
def test_the_way_back_gives_the_same_keys_and_numbers(name: str):
    tensors = smaller(name)
    source = recognise(tensors)
    converted = source.plan(None).apply(tensors)
    layout = find_layout(source.layout.name, "lseg")
    back = type(source)(layout, "", converted).plan_back(layout).apply(converted)
    assert set(back) == {key for key in tensors if is_text(key)}
    for key, entry in back.items():
        np.testing.assert_array_equal(entry.numpy(), tensors[key].numpy(), err_msg=key)


def test_half_precision_becomes_single():
    tensors = smaller("clip_vitb32_openai")
    assert tensors["text_projection"].dtype == "float16"
    converted = recognise(tensors).plan(None).apply(tensors)
    assert {entry.dtype for entry in converted.values()} == {"float32"}
    assert {entry.numpy().dtype for entry in converted.values()} == {np.dtype(np.float32)}


def test_transformers_queries_keys_and_values_are_packed_in_this_order():
    tensors = smaller("clip_vitb32_hf")
    packed = recognise(tensors).plan(None).apply(tensors)["text.blocks.3.attn.qkv.weight"].numpy()
    parts = (tensors[f"text_model.encoder.layers.3.self_attn.{part}_proj.weight"].numpy() for part in "qkv")
    np.testing.assert_array_equal(packed, np.concatenate(list(parts)))


def test_transformers_projection_lies_the_other_way():
    tensors = smaller("clip_vitb32_hf")
    converted = recognise(tensors).plan(None).apply(tensors)
    np.testing.assert_array_equal(converted["text.proj"].numpy(), tensors["text_projection.weight"].numpy().T)


def test_the_rows_serve_a_clip_inside_another_checkpoint():
    alone, inside = clip.TABLE.rows("openai"), clip.TABLE.rows("openai", under="net.clip_pretrained.")
    assert [row.ours for row in inside] == [row.ours for row in alone]
    for row, other in zip(alone, inside, strict=True):
        assert other.theirs == tuple(f"net.clip_pretrained.{name}" for name in row.theirs)

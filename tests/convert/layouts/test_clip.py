"""CLIP's files, of which LSeg takes the text tower: by the keys and shapes of the published ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from mindspore.nn.utils import no_init_parameters

from convert.layouts.clip import clip_text
from convert.plan import find_layout, recognise
from ms_seg.loading import shapes_of
from ms_seg.text.transformer import TextTransformer

MANIFESTS = Path(__file__).parent / "manifests"
LAYOUT_OF = {"openai": "openai-text", "hf": "hf-text"}
SIZES = {  # width, heads, layers, embed_dim
    "clip_vitb32_openai": (512, 8, 12, 512),
    "clip_rn50x16_openai": (768, 12, 12, 768),
    "clip_vitb32_hf": (512, 8, 12, 512),
}


@dataclass(frozen=True)
class Declared:
    """An entry of which only shape and dtype are known; its numbers count up, from another start for each name."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    def numpy(self) -> np.ndarray:
        numbers = np.arange(np.prod(self.shape, dtype=int)) + sum(map(ord, self.name))
        return (numbers % 2003).astype(self.dtype).reshape(self.shape)


def read_manifest(name: str, divisor: int = 1) -> dict[str, Declared]:
    """divisor: of every side but the number of positions."""
    entries = {}
    for line in (MANIFESTS / f"{name}.tsv").read_text().splitlines():
        key, shape, dtype = line.split("\t")
        sides = [int(side) for side in shape.strip("[]").split(",") if side]
        entries[key] = Declared(key, tuple(n if n == 77 else -(-n // divisor) for n in sides), dtype)
    return entries


def is_text(key: str) -> bool:
    others = ("visual", "vision_model", "logit_scale", "input_resolution", "context_length", "vocab_size")
    return not key.startswith(others) and not key.endswith("position_ids")


@pytest.mark.parametrize("name", SIZES)
def test_every_key_and_every_parameter_is_accounted_for(name: str):
    tensors = read_manifest(name)
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
    tensors = read_manifest(name, divisor=64)
    source = recognise(tensors)
    converted = source.plan(None).apply(tensors)
    layout = find_layout(source.layout.name, "lseg")
    back = type(source)(layout, "", converted).plan_back(layout).apply(converted)
    assert set(back) == {key for key in tensors if is_text(key)}
    for key, entry in back.items():
        np.testing.assert_array_equal(entry.numpy(), tensors[key].numpy(), err_msg=key)


def test_half_precision_becomes_single():
    tensors = read_manifest("clip_vitb32_openai", divisor=64)
    assert tensors["text_projection"].dtype == "float16"
    converted = recognise(tensors).plan(None).apply(tensors)
    assert {entry.dtype for entry in converted.values()} == {"float32"}
    assert {entry.numpy().dtype for entry in converted.values()} == {np.dtype(np.float32)}


def test_transformers_queries_keys_and_values_are_packed_in_this_order():
    tensors = read_manifest("clip_vitb32_hf", divisor=64)
    packed = recognise(tensors).plan(None).apply(tensors)["text.blocks.3.attn.qkv.weight"].numpy()
    parts = (tensors[f"text_model.encoder.layers.3.self_attn.{part}_proj.weight"].numpy() for part in "qkv")
    np.testing.assert_array_equal(packed, np.concatenate(list(parts)))


def test_transformers_projection_lies_the_other_way():
    tensors = read_manifest("clip_vitb32_hf", divisor=64)
    converted = recognise(tensors).plan(None).apply(tensors)
    np.testing.assert_array_equal(converted["text.proj"].numpy(), tensors["text_projection.weight"].numpy().T)


def test_the_rows_serve_a_clip_inside_another_checkpoint():
    alone, inside = clip_text(""), clip_text("net.clip_pretrained.")
    assert [row.ours for row in inside] == [row.ours for row in alone]
    for row, other in zip(alone, inside, strict=True):
        assert other.theirs == tuple(f"net.clip_pretrained.{name}" for name in row.theirs)

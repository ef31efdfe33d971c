"""SegFormer and its encoder MiT, in the layouts of transformers, mmsegmentation (EasyCV's too) and the original."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convert.layouts.row import (
    NATIVE,
    POINTWISE,
    Layout,
    Row,
    affine,
    batch_norm,
    blocks,
    count_cells,
    drop,
    layer_norm,
    same,
)

STAGE = "backbone.stages.{i}"
BLOCK = STAGE + ".blocks.{j}"

CLASSIFIER_DROPPED = "the ImageNet classifier: segmentation has its own decoder"

OWN_MIT = (
    *(same(f"{STAGE}.{part}.{{name}}") for part in ("patch_embed", "norm")),
    *(same(f"{BLOCK}.{part}.{{name}}") for part in ("norm1", "attn", "norm2", "mlp")),
)


def _transformers_encoder(encoder: str) -> tuple[Row, ...]:
    block, attention = f"{encoder}.block.{{i}}.{{j}}", f"{encoder}.block.{{i}}.{{j}}.attention"
    return (
        *affine(f"{encoder}.patch_embeddings.{{i}}.proj", f"{STAGE}.patch_embed.proj"),
        *layer_norm(f"{encoder}.patch_embeddings.{{i}}.layer_norm", f"{STAGE}.patch_embed.norm"),
        *layer_norm(f"{block}.layer_norm_1", f"{BLOCK}.norm1"),
        *affine(f"{attention}.self.query", f"{BLOCK}.attn.q"),
        *(
            Row(
                (f"{attention}.self.key.{leaf}", f"{attention}.self.value.{leaf}"),
                (f"{BLOCK}.attn.kv.{leaf}",),
                blocks(1, 1),
            )
            for leaf in ("weight", "bias")
        ),
        *affine(f"{attention}.self.sr", f"{BLOCK}.attn.sr"),
        *layer_norm(f"{attention}.self.layer_norm", f"{BLOCK}.attn.sr_norm"),
        *affine(f"{attention}.output.dense", f"{BLOCK}.attn.proj"),
        *layer_norm(f"{block}.layer_norm_2", f"{BLOCK}.norm2"),
        *affine(f"{block}.mlp.dense1", f"{BLOCK}.mlp.fc1", POINTWISE),
        *affine(f"{block}.mlp.dwconv.dwconv", f"{BLOCK}.mlp.dwconv"),
        *affine(f"{block}.mlp.dense2", f"{BLOCK}.mlp.fc2", POINTWISE),
        *layer_norm(f"{encoder}.layer_norm.{{i}}", f"{STAGE}.norm"),
    )


def _mmseg_encoder(prefix: str) -> tuple[Row, ...]:
    stage, block = f"{prefix}layers.{{i}}", f"{prefix}layers.{{i}}.1.{{j}}"
    attention = f"{block}.attn.attn"
    return (
        *affine(f"{stage}.0.projection", f"{STAGE}.patch_embed.proj"),
        *layer_norm(f"{stage}.0.norm", f"{STAGE}.patch_embed.norm"),
        *layer_norm(f"{block}.norm1", f"{BLOCK}.norm1"),
        *(
            Row(  # queries, keys and values of nn.MultiheadAttention, packed
                (f"{attention}.in_proj_{leaf}",),
                (f"{BLOCK}.attn.q.{leaf}", f"{BLOCK}.attn.kv.{leaf}"),
                blocks(1, 2).inverse,
            )
            for leaf in ("weight", "bias")
        ),
        *affine(f"{attention}.out_proj", f"{BLOCK}.attn.proj"),
        *affine(f"{block}.attn.sr", f"{BLOCK}.attn.sr"),
        *layer_norm(f"{block}.attn.norm", f"{BLOCK}.attn.sr_norm"),
        *layer_norm(f"{block}.norm2", f"{BLOCK}.norm2"),
        *affine(f"{block}.ffn.layers.0", f"{BLOCK}.mlp.fc1"),
        *affine(f"{block}.ffn.layers.1", f"{BLOCK}.mlp.dwconv"),
        *affine(f"{block}.ffn.layers.4", f"{BLOCK}.mlp.fc2"),
        *layer_norm(f"{stage}.2", f"{STAGE}.norm"),
    )


def _original_encoder(prefix: str) -> tuple[Row, ...]:
    """The original counts stages from 1 and has the number inside the word, so each stage has rows of its own."""
    rows: tuple[Row, ...] = ()
    for i in range(4):
        embed, block, ours = f"{prefix}patch_embed{i + 1}", f"{prefix}block{i + 1}.{{j}}", f"backbone.stages.{i}"
        our_block = f"{ours}.blocks.{{j}}"
        rows += (
            *affine(f"{embed}.proj", f"{ours}.patch_embed.proj"),
            *layer_norm(f"{embed}.norm", f"{ours}.patch_embed.norm"),
            *layer_norm(f"{block}.norm1", f"{our_block}.norm1"),
            *affine(f"{block}.attn.q", f"{our_block}.attn.q"),
            *affine(f"{block}.attn.kv", f"{our_block}.attn.kv"),
            *affine(f"{block}.attn.proj", f"{our_block}.attn.proj"),
            *affine(f"{block}.attn.sr", f"{our_block}.attn.sr"),
            *layer_norm(f"{block}.attn.norm", f"{our_block}.attn.sr_norm"),
            *layer_norm(f"{block}.norm2", f"{our_block}.norm2"),
            *affine(f"{block}.mlp.fc1", f"{our_block}.mlp.fc1", POINTWISE),
            *affine(f"{block}.mlp.dwconv.dwconv", f"{our_block}.mlp.dwconv"),
            *affine(f"{block}.mlp.fc2", f"{our_block}.mlp.fc2", POINTWISE),
            *layer_norm(f"{prefix}norm{i + 1}", f"{ours}.norm"),
        )
    return rows


_TRANSFORMERS_DECODER = (
    *affine("decode_head.linear_c.{i}.proj", "decoder.project.{i}", POINTWISE),
    Row(("decode_head.linear_fuse.weight",), ("decoder.fuse.conv.weight",)),
    *batch_norm("decode_head.batch_norm", "decoder.fuse.norm"),
    *affine("decode_head.classifier", "decoder.classify"),
)

_MMSEG_DECODER = (
    Row(("decode_head.convs.{i}.conv.weight",), ("decoder.project.{i}.conv.weight",)),
    *batch_norm("decode_head.convs.{i}.bn", "decoder.project.{i}.norm"),
    Row(("decode_head.fusion_conv.conv.weight",), ("decoder.fuse.conv.weight",)),
    *batch_norm("decode_head.fusion_conv.bn", "decoder.fuse.norm"),
    *affine("decode_head.conv_seg", "decoder.classify"),
)

_ORIGINAL_DECODER = (
    *(row for i in range(4) for row in affine(f"decode_head.linear_c{i + 1}.proj", f"decoder.project.{i}", POINTWISE)),
    Row(("decode_head.linear_fuse.conv.weight",), ("decoder.fuse.conv.weight",)),
    *batch_norm("decode_head.linear_fuse.bn", "decoder.fuse.norm"),
    *affine("decode_head.linear_pred", "decoder.classify"),
    drop("decode_head.conv_seg.{name}", "the base class's classifier, which the original head never calls"),
)

# LayerNorm epsilons travel with the weights: these two layouts have equal shapes but were trained with different ones.
_TRANSFORMERS_EPS = {"norm_eps": 1e-5, "conv_norm_eps": 1e-5}
_ORIGINAL_EPS = {"norm_eps": 1e-6, "conv_norm_eps": 1e-5}
_MMSEG_EPS = {"norm_eps": 1e-6, "conv_norm_eps": 1e-6}

LAYOUTS = (
    Layout(
        name="hf",
        system="segformer",
        title="transformers' SegformerForSemanticSegmentation",
        rows=(*_transformers_encoder("segformer.encoder"), *_TRANSFORMERS_DECODER),
        arithmetic=_TRANSFORMERS_EPS,
    ),
    Layout(
        name="mmseg",
        system="segformer",
        title="mmsegmentation's and EasyCV's SegFormer",
        rows=(*_mmseg_encoder("backbone."), *_MMSEG_DECODER),
        arithmetic=_MMSEG_EPS,
    ),
    Layout(
        name="original",
        system="segformer",
        title="the original SegFormer",
        rows=(*_original_encoder("backbone."), *_ORIGINAL_DECODER),
        arithmetic=_ORIGINAL_EPS,
    ),
    Layout(
        name="hf-backbone",
        system="segformer",
        title="transformers' MiT, trained on ImageNet",
        rows=(*_transformers_encoder("segformer.encoder"), drop("classifier.{name}", CLASSIFIER_DROPPED)),
        covers="backbone.",
        arithmetic=_TRANSFORMERS_EPS,
    ),
    Layout(
        name="mmseg-backbone",
        system="segformer",
        title="mmsegmentation's and EasyCV's MiT, trained on ImageNet",
        rows=(*_mmseg_encoder(""), drop("head.{name}", CLASSIFIER_DROPPED)),
        covers="backbone.",
        prefixes=("", "module.", "backbone."),
        arithmetic=_MMSEG_EPS,
    ),
    Layout(
        name="original-backbone",
        system="segformer",
        title="the original MiT, trained on ImageNet",
        rows=(*_original_encoder(""), drop("head.{name}", CLASSIFIER_DROPPED)),
        covers="backbone.",
        prefixes=("", "module.", "backbone."),
        arithmetic=_ORIGINAL_EPS,
    ),
    Layout(
        name=NATIVE,
        system="segformer",
        title="ms_seg's own SegFormer",
        rows=(*OWN_MIT, *(same(f"decoder.{part}.{{name}}") for part in ("project", "fuse", "classify"))),
    ),
    Layout(
        name="native-backbone",
        system="segformer",
        title="ms_seg's own MiT",
        rows=OWN_MIT,
        covers="backbone.",
    ),
)


def arguments_from_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Constructor arguments of SegFormer, as far as the shapes of its tensors, by our names, tell them."""
    channels, depths = mit_arguments(shapes)
    arguments: dict[str, Any] = {"embed_dims": channels, "depths": depths}
    if "decoder.classify.weight" in shapes:
        arguments["num_classes"], arguments["head_width"] = shapes["decoder.classify.weight"][:2]
        arguments["level_norm"] = "decoder.project.0.norm.gamma" in shapes
    return arguments


def mit_arguments(shapes: Mapping[str, tuple[int, ...]]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Channels and depths of a MiT's stages, as far as the shapes by our names tell them."""
    stages = [f"backbone.stages.{level}" for level in range(4)]
    channels = tuple(shapes.get(f"{stage}.patch_embed.proj.weight", (0,))[0] for stage in stages)
    return channels, tuple(count_cells(shapes, f"{stage}.blocks.") for stage in stages)

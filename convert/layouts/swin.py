"""Swin Transformer: rows for the names of the original, of mmdetection and of transformers, and the original's files
for ImageNet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from convert.layouts.row import Arrays, Layout, Operation, Row, affine, blocks, count_cells, drop, layer_norm, same

LEVELS = range(4)
STAGE = "backbone.stages.{i}"
BLOCK = STAGE + ".blocks.{j}"

INDEX_DROPPED = "rows of the table of relative positions: the window's width tells them"
MASK_DROPPED = "masks of the windows of one size of picture: they are made for each"
CLASSIFIER_DROPPED = "the ImageNet classifier and its norm: segmentation has its own decoder and norms"

OWN_SWIN = (
    same("backbone.patch_embed.{name}"),
    *(same(f"{BLOCK}.{part}.{{name}}") for part in ("norm1", "attn", "norm2", "mlp")),
    same(f"{STAGE}.downsample.{{name}}"),
    *(same(f"backbone.norm{level}.{{name}}") for level in LEVELS),
)


def _from_unfolded(arrays: Arrays) -> Arrays:
    """Columns of (channel, row, column) of 2x2 tokens, as nn.Unfold lays them, become (column, row, channel)."""
    (array,) = arrays
    *before, columns = array.shape
    return [np.moveaxis(array.reshape(*before, columns // 4, 2, 2), (-1, -2), (-3, -2)).reshape(array.shape)]


def _to_unfolded(arrays: Arrays) -> Arrays:
    (array,) = arrays
    *before, columns = array.shape
    return [np.moveaxis(array.reshape(*before, 2, 2, columns // 4), (-3, -2), (-1, -2)).reshape(array.shape)]


UNFOLDED = Operation("order of four merged patches", _from_unfolded, _to_unfolded)


def original_swin(prefix: str) -> tuple[Row, ...]:
    """detectron2's too; the norms of the levels are not among them."""
    stage, block = f"{prefix}layers.{{i}}", f"{prefix}layers.{{i}}.blocks.{{j}}"
    table = "attn.relative_position_bias_table"
    return (
        *affine(f"{prefix}patch_embed.proj", "backbone.patch_embed.proj"),
        *layer_norm(f"{prefix}patch_embed.norm", "backbone.patch_embed.norm"),
        *layer_norm(f"{block}.norm1", f"{BLOCK}.norm1"),
        Row((f"{block}.{table}",), (f"{BLOCK}.{table}",)),
        *affine(f"{block}.attn.qkv", f"{BLOCK}.attn.qkv"),
        *affine(f"{block}.attn.proj", f"{BLOCK}.attn.proj"),
        *layer_norm(f"{block}.norm2", f"{BLOCK}.norm2"),
        *affine(f"{block}.mlp.fc1", f"{BLOCK}.mlp.fc1"),
        *affine(f"{block}.mlp.fc2", f"{BLOCK}.mlp.fc2"),
        *layer_norm(f"{stage}.downsample.norm", f"{STAGE}.downsample.norm"),
        Row((f"{stage}.downsample.reduction.weight",), (f"{STAGE}.downsample.reduction.weight",)),
        drop(f"{block}.attn.relative_position_index", INDEX_DROPPED),
        drop(f"{block}.attn_mask", MASK_DROPPED),
    )


def level_norms(prefix: str) -> tuple[Row, ...]:
    return tuple(row for i in LEVELS for row in layer_norm(f"{prefix}norm{i}", f"backbone.norm{i}"))


def mmdet_swin(prefix: str) -> tuple[Row, ...]:
    stage, block = f"{prefix}stages.{{i}}", f"{prefix}stages.{{i}}.blocks.{{j}}"
    attention, table = f"{block}.attn.w_msa", "relative_position_bias_table"
    merging, ours = f"{stage}.downsample", f"{STAGE}.downsample"
    return (
        *affine(f"{prefix}patch_embed.projection", "backbone.patch_embed.proj"),
        *layer_norm(f"{prefix}patch_embed.norm", "backbone.patch_embed.norm"),
        *layer_norm(f"{block}.norm1", f"{BLOCK}.norm1"),
        Row((f"{attention}.{table}",), (f"{BLOCK}.attn.{table}",)),
        *affine(f"{attention}.qkv", f"{BLOCK}.attn.qkv"),
        *affine(f"{attention}.proj", f"{BLOCK}.attn.proj"),
        *layer_norm(f"{block}.norm2", f"{BLOCK}.norm2"),
        *affine(f"{block}.ffn.layers.0.0", f"{BLOCK}.mlp.fc1"),
        *affine(f"{block}.ffn.layers.1", f"{BLOCK}.mlp.fc2"),
        *(
            Row((f"{merging}.{theirs}",), (f"{ours}.{name}",), UNFOLDED)
            for theirs, name in (
                ("norm.weight", "norm.gamma"),
                ("norm.bias", "norm.beta"),
                ("reduction.weight", "reduction.weight"),
            )
        ),
        *level_norms(prefix),
        drop(f"{attention}.relative_position_index", INDEX_DROPPED),
    )


def transformers_swin(prefix: str) -> tuple[Row, ...]:
    embeddings, stage = f"{prefix}embeddings", f"{prefix}encoder.layers.{{i}}"
    block, norms = f"{stage}.blocks.{{j}}", f"{prefix}hidden_states_norms"
    attention, table = f"{block}.attention.self", "relative_position_bias_table"
    return (
        *affine(f"{embeddings}.patch_embeddings.projection", "backbone.patch_embed.proj"),
        *layer_norm(f"{embeddings}.norm", "backbone.patch_embed.norm"),
        *layer_norm(f"{block}.layernorm_before", f"{BLOCK}.norm1"),
        Row((f"{attention}.{table}",), (f"{BLOCK}.attn.{table}",)),
        *(
            Row(
                tuple(f"{attention}.{part}.{leaf}" for part in ("query", "key", "value")),
                (f"{BLOCK}.attn.qkv.{leaf}",),
                blocks(1, 1, 1),
            )
            for leaf in ("weight", "bias")
        ),
        *affine(f"{block}.attention.output.dense", f"{BLOCK}.attn.proj"),
        *layer_norm(f"{block}.layernorm_after", f"{BLOCK}.norm2"),
        *affine(f"{block}.intermediate.dense", f"{BLOCK}.mlp.fc1"),
        *affine(f"{block}.output.dense", f"{BLOCK}.mlp.fc2"),
        *layer_norm(f"{stage}.downsample.norm", f"{STAGE}.downsample.norm"),
        Row((f"{stage}.downsample.reduction.weight",), (f"{STAGE}.downsample.reduction.weight",)),
        *(row for i in LEVELS for row in layer_norm(f"{norms}.stage{i + 1}", f"backbone.norm{i}")),
        drop(f"{attention}.relative_position_index", INDEX_DROPPED),
    )


LAYOUTS = (
    Layout(
        name="original-swin",
        system="mask2former",
        title="the original Swin Transformer, trained on ImageNet",
        rows=(
            *original_swin(""),
            drop("norm.{name}", CLASSIFIER_DROPPED),
            drop("head.{name}", CLASSIFIER_DROPPED),
        ),
        covers="backbone.",
        lacks=tuple(f"backbone.norm{level}." for level in LEVELS),
    ),
    Layout(
        name="native-swin",
        system="mask2former",
        title="ms_seg's own Swin Transformer",
        rows=OWN_SWIN,
        covers="backbone.",
        lacks=tuple(f"backbone.norm{level}." for level in LEVELS),
    ),
)


def swin_arguments(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Constructor arguments of SwinTransformer, as far as the shapes by our names tell them."""
    stages = [f"backbone.stages.{level}" for level in LEVELS]
    tables = [shapes.get(f"{stage}.blocks.0.attn.relative_position_bias_table", (0, 0)) for stage in stages]
    return {
        "channels": shapes["backbone.patch_embed.proj.weight"][0],
        "depths": tuple(count_cells(shapes, f"{stage}.blocks.") for stage in stages),
        "heads": tuple(table[-1] for table in tables),
        "window": (math.isqrt(tables[0][0]) + 1) // 2,
    }

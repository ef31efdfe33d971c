"""Swin Transformer in the layouts of mmdetection, the original (detectron2's too), timm and transformers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from convert.layouts.names import count_cells
from convert.layouts.row import Layout, drop, renamed
from convert.layouts.table import read_table

# The norms of the four maps belong to segmentation: ImageNet's files lack them, detectron2's add them to the original.
TABLE = read_table("""
    kind       ours        mmdet                 original    detectron2  transformers

    under ours          backbone.

    norm       norm0       norm0                 -           norm0       hidden_states_norms.stage1
    norm       norm1       norm1                 -           norm1       hidden_states_norms.stage2
    norm       norm2       norm2                 -           norm2       hidden_states_norms.stage3
    norm       norm3       norm3                 -           norm3       hidden_states_norms.stage4

    under ours          backbone.patch_embed.
    under mmdet         patch_embed.
    under original      patch_embed.
    under transformers  embeddings.

    affine     proj        projection            proj        -           patch_embeddings.projection
    norm       norm        norm                  norm        -           norm

    under ours          backbone.stages.{i}.blocks.{j}.
    under mmdet         stages.{i}.blocks.{j}.
    under original      layers.{i}.blocks.{j}.
    under transformers  encoder.layers.{i}.blocks.{j}.

    norm       norm1       norm1                 norm1       -           layernorm_before
    packed     attn.qkv    attn.w_msa.qkv        attn.qkv    -           attention.self.{query,key,value}
    affine     attn.proj   attn.w_msa.proj       attn.proj   -           attention.output.dense
    norm       norm2       norm2                 norm2       -           layernorm_after
    affine     mlp.fc1     ffn.layers.0.0        mlp.fc1     -           intermediate.dense
    affine     mlp.fc2     ffn.layers.1          mlp.fc2     -           output.dense
    dropped    -           -                     attn_mask   -           -
    because masks of the windows of one size of picture: they are made for each

    under ours          backbone.stages.{i}.blocks.{j}.attn.relative_position_
    under mmdet         stages.{i}.blocks.{j}.attn.w_msa.relative_position_
    under original      layers.{i}.blocks.{j}.attn.relative_position_
    under transformers  encoder.layers.{i}.blocks.{j}.attention.self.relative_position_

    parameter  bias_table  bias_table            bias_table  -           bias_table
    dropped    -           index                 index       -           index
    because rows of the table of relative positions: the window's width tells them

    under ours          backbone.stages.{i}.downsample.
    under mmdet         stages.{i}.downsample.
    under original      layers.{i}.downsample.
    under transformers  encoder.layers.{i}.downsample.

    norm       norm        norm (unfolded)       norm        -           norm
    weight     reduction   reduction (unfolded)  reduction   -           reduction
""")

# See mit.ROWS_OF_TRANSFORMERS_5.
ROWS_OF_TRANSFORMERS_5 = renamed(
    TABLE.rows("transformers"),
    {
        r"^(embeddings|encoder)\.": r"swin.\1.",
        r"attention\.self\.([qkv])(uery|ey|alue)\b": r"attention.\1_proj",
        r"attention\.self\.relative": "attention.relative_position_bias.relative",
        r"attention\.output\.dense": "attention.o_proj",
        r"intermediate\.dense": "mlp.fc1",
        r"(?<!attention\.)output\.dense": "mlp.fc2",
    },
)

# timm merges patches where a stage begins, not where the one before ends.
_ROWS_OF_TIMM = renamed(TABLE.rows("original"), {r"layers\.\{i\}\.downsample": "layers.{i+1}.downsample"})

CLASSIFIER_DROPPED = "the ImageNet classifier and its norm: segmentation has its own decoder and norms"
MAP_NORMS = tuple(f"backbone.norm{level}." for level in range(4))

LAYOUTS = (
    *(
        Layout(
            name=name,
            system="",
            title=title,
            rows=(*rows, drop("norm.{name}", CLASSIFIER_DROPPED), drop("head.{name}", CLASSIFIER_DROPPED)),
            covers="backbone.",
            lacks=MAP_NORMS,
        )
        for name, title, rows in (
            # Before the original's, whose rows have names for all of its tensors too, and one stage too low for some.
            ("timm-swin", "timm's Swin, trained on ImageNet", _ROWS_OF_TIMM),
            ("original-swin", "the original Swin Transformer, trained on ImageNet", TABLE.rows("original")),
        )
    ),
    *(
        Layout(
            name=name,
            system="",
            title=title,
            rows=(
                *rows,
                drop("swin.layernorm.{name}", CLASSIFIER_DROPPED),
                drop("classifier.{name}", CLASSIFIER_DROPPED),
            ),
            covers="backbone.",
            lacks=MAP_NORMS,
        )
        for name, title, rows in (
            ("hf-swin", "transformers' Swin, trained on ImageNet", TABLE.rows("transformers", under="swin.")),
            ("hf5-swin", "transformers' Swin in the names of its version 5", ROWS_OF_TRANSFORMERS_5),
        )
    ),
    Layout(
        name="native-swin",
        system="",
        title="ms_seg's own Swin Transformer",
        rows=TABLE.own,
        covers="backbone.",
        lacks=MAP_NORMS,
    ),
)


def sizes_from_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any] | None:
    """The sizes of SwinTransformer that the shapes, by our names, tell; None if they are not a Swin's."""
    if "backbone.patch_embed.proj.weight" not in shapes:
        return None
    stages = [f"backbone.stages.{level}" for level in range(4)]
    hidden, channels = shapes.get(f"{stages[0]}.blocks.0.mlp.fc1.weight", (0, 1))[:2]
    tables = [shapes.get(f"{stage}.blocks.0.attn.relative_position_bias_table", (0, 0)) for stage in stages]
    return {
        "channels": shapes["backbone.patch_embed.proj.weight"][0],
        "depths": tuple(count_cells(shapes, f"{stage}.blocks.") for stage in stages),
        "heads": tuple(table[-1] for table in tables),
        "window": (math.isqrt(tables[0][0]) + 1) // 2,
        "mlp_ratio": hidden / channels if hidden % channels else hidden // channels,
    }

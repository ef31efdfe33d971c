"""The Vision Transformer in timm's layout, and in lang-seg's with what DPT adds to it: readout and reassemble."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from convert.layouts.names import count_cells
from convert.layouts.row import Layout
from convert.layouts.table import read_table

VIT = "backbone.vit."

# Members 1 and 2 of lang-seg's act_postprocess are a transposition and an unflattening, without parameters. Its
# readout is a linear layer of a token and the class token behind it; ours is two layers, whose results are added.
TABLE = read_table("""
    kind       ours                              timm              lang-seg

    under ours      backbone.vit.
    under lang-seg  net.pretrained.model.

    parameter  cls_token                         cls_token         cls_token
    parameter  pos_embed                         pos_embed         pos_embed
    affine     patch_embed.proj                  patch_embed.proj  patch_embed.proj
    dropped    -                                 norm.{name}       norm.{name}
    because the ViT's final norm: features are read before it
    dropped    -                                 head.{name}       head.{name}
    because the ImageNet classifier: segmentation has its own decoder

    under ours      backbone.vit.blocks.{i}.
    under timm      blocks.{i}.
    under lang-seg  net.pretrained.model.blocks.{i}.

    norm       norm1                             norm1             norm1
    affine     attn.qkv                          attn.qkv          attn.qkv
    affine     attn.proj                         attn.proj         attn.proj
    norm       norm2                             norm2             norm2
    affine     mlp.fc1                           mlp.fc1           mlp.fc1
    affine     mlp.fc2                           mlp.fc2           mlp.fc2

    under ours      backbone.
    under lang-seg  net.pretrained.act_postprocess{i+1}.

    columns    readout.{i}.{token,image}.weight  -                 0.project.0.weight
    parameter  readout.{i}.token.bias            -                 0.project.0.bias
    affine     reassemble.{i}.project            -                 3
    affine     reassemble.{i}.resample           -                 4
""")

LAYOUTS = (
    Layout(
        name="timm-vit",
        system="",
        title="timm's ViT, trained on ImageNet",
        rows=TABLE.rows("timm"),
        covers=VIT,
    ),
    Layout(
        name="native-vit",
        system="",
        title="ms_seg's own ViT",
        rows=tuple(row for row in TABLE.own if row.ours[0].startswith(VIT)),
        covers=VIT,
    ),
)


def sizes_from_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any] | None:
    """The sizes of ViTPyramid that the shapes, by our names, tell; None if they are not a ViT's.

    They do not tell its heads, and map_channels only where the transformer is not alone.
    """
    if "backbone.vit.cls_token" not in shapes:
        return None
    sizes: dict[str, Any] = {
        "channels": shapes["backbone.vit.cls_token"][-1],
        "depth": count_cells(shapes, "backbone.vit.blocks."),
        "patch": shapes.get("backbone.vit.patch_embed.proj.weight", (0,))[-1],
        "grid": math.isqrt(max(math.prod(shapes.get("backbone.vit.pos_embed", ())[1:2]) - 1, 0)),
    }
    if "backbone.reassemble.0.project.weight" in shapes:
        maps = (shapes.get(f"backbone.reassemble.{level}.project.weight", (0,)) for level in range(4))
        sizes["map_channels"] = tuple(shape[0] for shape in maps)
    return sizes

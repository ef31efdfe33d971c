"""LSeg in lang-seg's layout, which is ModelScope's too, and what its training starts from: timm's ViT, torchvision's
ResNet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from convert.layouts.clip import clip_text
from convert.layouts.resnet import OWN_RESNET, resnet, resnet_depths, torchvision_resnet
from convert.layouts.row import NATIVE, Layout, Row, affine, batch_norm, blocks, count_cells, drop, layer_norm, same
from convert.layouts.segformer import OWN_MIT, mit_arguments

LEVELS = range(4)

FINAL_NORM_DROPPED = "the ViT's final norm: features are read before it"
CLASSIFIER_DROPPED = "the ImageNet classifier: segmentation has its own decoder"
UNIT_DROPPED = "the coarsest level has no other to be added to, so that its first unit is never called"

READOUT = blocks(1, 1, axis=1).inverse  # a linear layer of (token, class token), in its two parts


def _timm_vit(prefix: str) -> tuple[Row, ...]:
    vit, theirs = "backbone.vit", f"{prefix}blocks.{{i}}"
    ours = f"{vit}.blocks.{{i}}"
    return (
        Row((f"{prefix}cls_token",), (f"{vit}.cls_token",)),
        Row((f"{prefix}pos_embed",), (f"{vit}.pos_embed",)),
        *affine(f"{prefix}patch_embed.proj", f"{vit}.patch_embed.proj"),
        *layer_norm(f"{theirs}.norm1", f"{ours}.norm1"),
        *affine(f"{theirs}.attn.qkv", f"{ours}.attn.qkv"),
        *affine(f"{theirs}.attn.proj", f"{ours}.attn.proj"),
        *layer_norm(f"{theirs}.norm2", f"{ours}.norm2"),
        *affine(f"{theirs}.mlp.fc1", f"{ours}.mlp.fc1"),
        *affine(f"{theirs}.mlp.fc2", f"{ours}.mlp.fc2"),
        drop(f"{prefix}norm.{{name}}", FINAL_NORM_DROPPED),
        drop(f"{prefix}head.{{name}}", CLASSIFIER_DROPPED),
    )


def _readout_and_reassemble(prefix: str) -> tuple[Row, ...]:
    """Indices 1 and 2 of their sequences are a transposition and an unflattening, without parameters."""
    rows: tuple[Row, ...] = ()
    for level in LEVELS:
        theirs, readout = f"{prefix}act_postprocess{level + 1}", f"backbone.readout.{level}"
        rows += (
            Row((f"{theirs}.0.project.0.weight",), (f"{readout}.token.weight", f"{readout}.image.weight"), READOUT),
            Row((f"{theirs}.0.project.0.bias",), (f"{readout}.token.bias",)),
            *affine(f"{theirs}.3", f"backbone.reassemble.{level}.project"),
            *affine(f"{theirs}.4", f"backbone.reassemble.{level}.resample"),
        )
    return rows


def _residual_unit(theirs: str, ours: str) -> tuple[Row, ...]:
    return tuple(
        row
        for number in (1, 2)
        for row in (
            Row((f"{theirs}.conv{number}.weight",), (f"{ours}.conv{number}.weight",)),
            *batch_norm(f"{theirs}.bn{number}", f"{ours}.norm{number}"),
        )
    )


def _decoder(prefix: str) -> tuple[Row, ...]:
    rows: tuple[Row, ...] = (drop(f"{prefix}refinenet4.resConfUnit1.{{name}}", UNIT_DROPPED),)
    for level in LEVELS:
        theirs, ours = f"{prefix}refinenet{level + 1}", f"decoder.fuse.{level}"
        rows += (
            Row((f"{prefix}layer{level + 1}_rn.weight",), (f"decoder.project.{level}.weight",)),
            *(_residual_unit(f"{theirs}.resConfUnit1", f"{ours}.skip_unit") if level < 3 else ()),
            *_residual_unit(f"{theirs}.resConfUnit2", f"{ours}.unit"),
            *affine(f"{theirs}.out_conv", f"{ours}.out_conv"),
        )
    return (
        *rows,
        *affine(f"{prefix}head1", "decoder.head"),
        *affine(f"{prefix}head_block.depthwise.depthwise", "word_pixel.block.conv"),
    )


_LANG_SEG_RESNET = resnet(
    ("net.pretrained.layer1.0", "net.pretrained.layer1.1"),
    ("net.pretrained.layer1.4", *(f"net.pretrained.layer{number}" for number in (2, 3, 4))),
)

_OWN_VIT = same("backbone.vit.{name}")
_OWN_TEXT = tuple(same(f"text.{part}") for part in ("token_embedding", "pos_embed", "blocks.{name}", "norm.{name}"))
_OWN_TEXT += (same("text.proj"),)

LAYOUTS = (
    # Going back, the parts that are dropped are missing from the file: lang-seg reads it with strict=False.
    Layout(
        name="lang-seg",
        system="lseg",
        title="lang-seg's and ModelScope's LSeg",
        rows=(
            *_timm_vit("net.pretrained.model."),
            *_readout_and_reassemble("net.pretrained."),
            *_LANG_SEG_RESNET,
            *_decoder("net.scratch."),
            *clip_text("net.clip_pretrained."),
        ),
    ),
    Layout(
        name="timm-vit",
        system="lseg",
        title="timm's ViT, trained on ImageNet",
        rows=_timm_vit(""),
        covers="backbone.vit.",
    ),
    Layout(
        name="torchvision-resnet",
        system="lseg",
        title="torchvision's ResNet, trained on ImageNet",
        rows=(*torchvision_resnet(""), drop("fc.{name}", CLASSIFIER_DROPPED)),
        covers="backbone.",
    ),
    Layout(
        name=NATIVE,
        system="lseg",
        title="ms_seg's own LSeg",
        rows=(
            _OWN_VIT,
            same("backbone.readout.{name}"),
            same("backbone.reassemble.{name}"),
            *OWN_RESNET,
            *OWN_MIT,
            *(same(f"decoder.{part}.{{name}}") for part in ("project", "fuse", "head")),
            same("word_pixel.block.{name}"),
            *_OWN_TEXT,
        ),
    ),
    Layout(name="native-vit", system="lseg", title="ms_seg's own ViT", rows=(_OWN_VIT,), covers="backbone.vit."),
    Layout(name="native-resnet", system="lseg", title="ms_seg's own ResNet", rows=OWN_RESNET, covers="backbone."),
    Layout(name="native-text", system="lseg", title="ms_seg's own text tower", rows=_OWN_TEXT, covers="text."),
)


def arguments_from_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Constructor arguments of LSeg, or of the part that there is, as far as the shapes by our names tell them.

    Which spatial block an LSeg has its shapes cannot tell, only that it has none.
    """
    arguments: dict[str, Any] = {}
    if "backbone.vit.cls_token" in shapes:
        arguments["channels"] = shapes["backbone.vit.cls_token"][-1]
        arguments["depth"] = count_cells(shapes, "backbone.vit.blocks.")
        arguments["patch"] = shapes.get("backbone.vit.patch_embed.proj.weight", (0,))[-1]
        arguments["grid"] = math.isqrt(max(math.prod(shapes.get("backbone.vit.pos_embed", ())[1:2]) - 1, 0))
    if "backbone.stem.conv.weight" in shapes:
        arguments["resnet_depths"] = resnet_depths(shapes)
    if "backbone.stages.0.patch_embed.proj.weight" in shapes:
        arguments["mit_channels"], arguments["mit_depths"] = mit_arguments(shapes)
    if "backbone.reassemble.0.project.weight" in shapes:
        maps = (shapes.get(f"backbone.reassemble.{level}.project.weight", (0,)) for level in LEVELS)
        arguments["map_channels"] = tuple(shape[0] for shape in maps)
    if "text.proj" in shapes:
        arguments["text_width"], arguments["embed_dim"] = shapes["text.proj"][:2]
        arguments["text_layers"] = count_cells(shapes, "text.blocks.")
        arguments["vocabulary"] = shapes.get("text.token_embedding", (0,))[0]
    if "decoder.head.weight" in shapes:
        arguments["embed_dim"], arguments["features"] = shapes["decoder.head.weight"][:2]
        if "word_pixel.block.conv.weight" not in shapes:
            arguments["head_block"] = "none"
    return arguments

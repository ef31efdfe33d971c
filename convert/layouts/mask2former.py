"""Mask2Former in the layouts of mmdetection (ModelScope's Swin-L), detectron2, EasyCV (ModelScope's R50) and
transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convert.layouts.resnet import (
    OWN_RESNET,
    detectron2_resnet,
    resnet_depths,
    torchvision_resnet,
    transformers_resnet,
)
from convert.layouts.row import NATIVE, Layout, Row, affine, blocks, count_cells, drop, layer_norm, same
from convert.layouts.segformer import OWN_MIT, mit_arguments
from convert.layouts.swin import (
    OWN_SWIN,
    level_norms,
    mmdet_swin,
    original_swin,
    swin_arguments,
    transformers_swin,
)

PIXEL, QUERY = "pixel_decoder", "query_decoder"
PIXEL_LAYER, QUERY_LAYER = f"{PIXEL}.layers.{{i}}", f"{QUERY}.layers.{{i}}"
DEFORMABLE = ("sampling_offsets", "attention_weights", "value_proj", "output_proj")

LOSS_DROPPED = "weights of the classes in the loss, which training sets itself"


def _packed(theirs: str, ours: str, *parts: str) -> tuple[Row, ...]:
    """nn.MultiheadAttention, which packs queries, keys and values into one matrix, for one of ours or three."""
    rows = tuple(
        Row(
            (f"{theirs}.in_proj_{leaf}",),
            tuple(f"{ours}.{part}.{leaf}" for part in parts),
            blocks(1, 1, 1).inverse if len(parts) > 1 else None,
        )
        for leaf in ("weight", "bias")
    )
    return (*rows, *affine(f"{theirs}.out_proj", f"{ours}.proj"))


def _conv_norm(conv: str, norm: str, ours: str) -> tuple[Row, ...]:
    """A convolution and group norm."""
    return (*affine(conv, f"{ours}.conv"), *layer_norm(norm, f"{ours}.norm"))


def _mmdet_head(prefix: str) -> tuple[Row, ...]:
    pixel, layer = f"{prefix}pixel_decoder", f"{prefix}pixel_decoder.encoder.layers.{{i}}"
    query = f"{prefix}transformer_decoder.layers.{{i}}"
    return (
        *_conv_norm(f"{pixel}.input_convs.{{i}}.conv", f"{pixel}.input_convs.{{i}}.gn", f"{PIXEL}.input_proj.{{i}}"),
        Row((f"{pixel}.level_encoding.weight",), (f"{PIXEL}.level_embed",)),
        *(
            row
            for part in DEFORMABLE
            for row in affine(f"{layer}.attentions.0.{part}", f"{PIXEL_LAYER}.self_attn.{part}")
        ),
        *layer_norm(f"{layer}.norms.0", f"{PIXEL_LAYER}.norm1"),
        *affine(f"{layer}.ffns.0.layers.0.0", f"{PIXEL_LAYER}.mlp.fc1"),
        *affine(f"{layer}.ffns.0.layers.1", f"{PIXEL_LAYER}.mlp.fc2"),
        *layer_norm(f"{layer}.norms.1", f"{PIXEL_LAYER}.norm2"),
        *_conv_norm(f"{pixel}.lateral_convs.0.conv", f"{pixel}.lateral_convs.0.gn", f"{PIXEL}.lateral"),
        *_conv_norm(f"{pixel}.output_convs.0.conv", f"{pixel}.output_convs.0.gn", f"{PIXEL}.output"),
        *affine(f"{pixel}.mask_feature", f"{PIXEL}.mask_features"),
        *(
            Row((f"{prefix}{name}.weight",), (f"{QUERY}.{name}",))
            for name in ("query_feat", "query_embed", "level_embed")
        ),
        *_packed(f"{query}.attentions.0.attn", f"{QUERY_LAYER}.cross_attn", "q", "k", "v"),
        *_packed(f"{query}.attentions.1.attn", f"{QUERY_LAYER}.self_attn", "qkv"),
        *affine(f"{query}.ffns.0.layers.0.0", f"{QUERY_LAYER}.mlp.fc1"),
        *affine(f"{query}.ffns.0.layers.1", f"{QUERY_LAYER}.mlp.fc2"),
        *(row for i in range(3) for row in layer_norm(f"{query}.norms.{i}", f"{QUERY_LAYER}.norm{i + 1}")),
        *layer_norm(f"{prefix}transformer_decoder.post_norm", f"{QUERY}.norm"),
        *affine(f"{prefix}cls_embed", f"{QUERY}.class_embed"),
        # Between the three linear layers are activations.
        *(row for i in range(3) for row in affine(f"{prefix}mask_embed.{2 * i}", f"{QUERY}.mask_embed.{i}")),
    )


def _original_head(prefix: str) -> tuple[Row, ...]:
    """detectron2's original and EasyCV's copy of it."""
    pixel, layer = f"{prefix}pixel_decoder", f"{prefix}pixel_decoder.transformer.encoder.layers.{{i}}"
    query = f"{prefix}predictor"
    cross, own, mlp = (
        f"{query}.transformer_{kind}_layers.{{i}}" for kind in ("cross_attention", "self_attention", "ffn")
    )
    return (
        *_conv_norm(f"{pixel}.input_proj.{{i}}.0", f"{pixel}.input_proj.{{i}}.1", f"{PIXEL}.input_proj.{{i}}"),
        Row((f"{pixel}.transformer.level_embed",), (f"{PIXEL}.level_embed",)),
        *(row for part in DEFORMABLE for row in affine(f"{layer}.self_attn.{part}", f"{PIXEL_LAYER}.self_attn.{part}")),
        *layer_norm(f"{layer}.norm1", f"{PIXEL_LAYER}.norm1"),
        *affine(f"{layer}.linear1", f"{PIXEL_LAYER}.mlp.fc1"),
        *affine(f"{layer}.linear2", f"{PIXEL_LAYER}.mlp.fc2"),
        *layer_norm(f"{layer}.norm2", f"{PIXEL_LAYER}.norm2"),
        *_conv_norm(f"{pixel}.adapter_1", f"{pixel}.adapter_1.norm", f"{PIXEL}.lateral"),
        *_conv_norm(f"{pixel}.layer_1", f"{pixel}.layer_1.norm", f"{PIXEL}.output"),
        *affine(f"{pixel}.mask_features", f"{PIXEL}.mask_features"),
        # The published files' first name for it comes second, so that the way back gives the code's own.
        *(Row((f"{query}.{name}.weight",), (f"{QUERY}.query_feat",)) for name in ("query_feat", "static_query")),
        *(Row((f"{query}.{name}.weight",), (f"{QUERY}.{name}",)) for name in ("query_embed", "level_embed")),
        *_packed(f"{cross}.multihead_attn", f"{QUERY_LAYER}.cross_attn", "q", "k", "v"),
        *_packed(f"{own}.self_attn", f"{QUERY_LAYER}.self_attn", "qkv"),
        *affine(f"{mlp}.linear1", f"{QUERY_LAYER}.mlp.fc1"),
        *affine(f"{mlp}.linear2", f"{QUERY_LAYER}.mlp.fc2"),
        *(
            row
            for i, kind in enumerate((cross, own, mlp), 1)
            for row in layer_norm(f"{kind}.norm", f"{QUERY_LAYER}.norm{i}")
        ),
        *layer_norm(f"{query}.decoder_norm", f"{QUERY}.norm"),
        *affine(f"{query}.class_embed", f"{QUERY}.class_embed"),
        *affine(f"{query}.mask_embed.layers.{{i}}", f"{QUERY}.mask_embed.{{i}}"),
        drop("criterion.{name}", LOSS_DROPPED),
    )


def _transformers_head() -> tuple[Row, ...]:
    pixel, transformer = "model.pixel_level_module.decoder", "model.transformer_module"
    layer, query = f"{pixel}.encoder.layers.{{i}}", f"{transformer}.decoder.layers.{{i}}"
    norms = ("cross_attn_layer_norm", "self_attn_layer_norm", "final_layer_norm")
    return (
        *_conv_norm(
            f"{pixel}.input_projections.{{i}}.0", f"{pixel}.input_projections.{{i}}.1", f"{PIXEL}.input_proj.{{i}}"
        ),
        Row((f"{pixel}.level_embed",), (f"{PIXEL}.level_embed",)),
        *(row for part in DEFORMABLE for row in affine(f"{layer}.self_attn.{part}", f"{PIXEL_LAYER}.self_attn.{part}")),
        *layer_norm(f"{layer}.self_attn_layer_norm", f"{PIXEL_LAYER}.norm1"),
        *affine(f"{layer}.fc1", f"{PIXEL_LAYER}.mlp.fc1"),
        *affine(f"{layer}.fc2", f"{PIXEL_LAYER}.mlp.fc2"),
        *layer_norm(f"{layer}.final_layer_norm", f"{PIXEL_LAYER}.norm2"),
        *_conv_norm(f"{pixel}.adapter_1.0", f"{pixel}.adapter_1.1", f"{PIXEL}.lateral"),
        *_conv_norm(f"{pixel}.layer_1.0", f"{pixel}.layer_1.1", f"{PIXEL}.output"),
        *affine(f"{pixel}.mask_projection", f"{PIXEL}.mask_features"),
        Row((f"{transformer}.queries_features.weight",), (f"{QUERY}.query_feat",)),
        Row((f"{transformer}.queries_embedder.weight",), (f"{QUERY}.query_embed",)),
        Row((f"{transformer}.level_embed.weight",), (f"{QUERY}.level_embed",)),
        *_packed(f"{query}.cross_attn", f"{QUERY_LAYER}.cross_attn", "q", "k", "v"),
        *(
            Row(
                tuple(f"{query}.self_attn.{part}_proj.{leaf}" for part in "qkv"),
                (f"{QUERY_LAYER}.self_attn.qkv.{leaf}",),
                blocks(1, 1, 1),
            )
            for leaf in ("weight", "bias")
        ),
        *affine(f"{query}.self_attn.out_proj", f"{QUERY_LAYER}.self_attn.proj"),
        *affine(f"{query}.fc1", f"{QUERY_LAYER}.mlp.fc1"),
        *affine(f"{query}.fc2", f"{QUERY_LAYER}.mlp.fc2"),
        *(row for i, norm in enumerate(norms, 1) for row in layer_norm(f"{query}.{norm}", f"{QUERY_LAYER}.norm{i}")),
        *layer_norm(f"{transformer}.decoder.layernorm", f"{QUERY}.norm"),
        *affine("class_predictor", f"{QUERY}.class_embed"),
        *affine(f"{transformer}.decoder.mask_predictor.mask_embedder.{{i}}.0", f"{QUERY}.mask_embed.{{i}}"),
        drop("criterion.{name}", LOSS_DROPPED),
    )


_TRANSFORMERS_BACKBONE = "model.pixel_level_module.encoder."

# Going back, indices and masks of Swin's windows and the loss's weights are missing: all four read files with
# strict=False, and make them themselves.
LAYOUTS = (
    Layout(
        name="mmdet",
        system="mask2former",
        title="mmdetection's and ModelScope's Mask2Former",
        rows=(*mmdet_swin("backbone."), *torchvision_resnet("backbone."), *_mmdet_head("panoptic_head.")),
    ),
    Layout(
        name="detectron2",
        system="mask2former",
        title="the original Mask2Former, on detectron2",
        rows=(
            *original_swin("backbone."),
            *level_norms("backbone."),
            *detectron2_resnet("backbone."),
            *_original_head("sem_seg_head."),
        ),
    ),
    Layout(
        name="easycv",
        system="mask2former",
        title="EasyCV's and ModelScope's Mask2Former",
        rows=(*torchvision_resnet("backbone."), *_original_head("head.")),
    ),
    Layout(
        name="hf",
        system="mask2former",
        title="transformers' Mask2FormerForUniversalSegmentation",
        rows=(
            *transformers_swin(_TRANSFORMERS_BACKBONE),
            *transformers_resnet(_TRANSFORMERS_BACKBONE),
            *_transformers_head(),
        ),
    ),
    Layout(
        name=NATIVE,
        system="mask2former",
        title="ms_seg's own Mask2Former",
        rows=(
            *OWN_SWIN,
            *OWN_RESNET,
            *OWN_MIT,
            *(
                same(f"{PIXEL}.{part}.{{name}}")
                for part in ("input_proj", "layers", "lateral", "output", "mask_features")
            ),
            same(f"{PIXEL}.level_embed"),
            *(same(f"{QUERY}.{part}.{{name}}") for part in ("layers", "norm", "class_embed", "mask_embed")),
            *(same(f"{QUERY}.{name}") for name in ("query_feat", "query_embed", "level_embed")),
        ),
    ),
)


def arguments_from_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Constructor arguments of Mask2Former, or of the backbone that there is, as far as the shapes tell them.

    Heads and points of the decoders they cannot tell.
    """
    arguments: dict[str, Any] = {}
    if "backbone.patch_embed.proj.weight" in shapes:
        arguments = swin_arguments(shapes)
    elif "backbone.stem.conv.weight" in shapes:
        arguments["resnet_depths"] = resnet_depths(shapes)
    elif "backbone.stages.0.patch_embed.proj.weight" in shapes:
        arguments["mit_channels"], arguments["mit_depths"] = mit_arguments(shapes)
    if f"{QUERY}.class_embed.weight" in shapes:
        outputs, arguments["width"] = shapes[f"{QUERY}.class_embed.weight"][:2]
        arguments["num_classes"] = outputs - 1  # the last is no object
        arguments["queries"] = shapes.get(f"{QUERY}.query_feat", (0,))[0]
        for name, part in (("pixel", PIXEL), ("query", QUERY)):
            arguments[f"{name}_layers"] = count_cells(shapes, f"{part}.layers.")
            arguments[f"{name}_hidden"] = shapes.get(f"{part}.layers.0.mlp.fc1.weight", (0,))[0]
    return arguments

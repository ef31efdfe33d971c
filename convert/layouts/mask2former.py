"""Mask2Former in the layouts of mmdetection (ModelScope's Swin-L), detectron2, EasyCV (ModelScope's R50) and
transformers. `swin` and `resnet` have its backbones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from convert.layouts import resnet, swin, vit_adapter
from convert.layouts.backbones import OWN_BACKBONES
from convert.layouts.names import count_cells
from convert.layouts.row import NATIVE, Layout, drop, renamed, under
from convert.layouts.table import COUNT_DROPPED, read_table

# `original` is detectron2's, of which EasyCV has a copy. Its published files call query_feat static_query, its code
# query_feat, which the way back gives because that line is the first. mmdetection's mask_embed counts activations too.
TABLE = read_table("""
    kind       ours                       mmdet                       original                 transformers

    affine     query_decoder.class_embed  cls_embed                   predictor.class_embed    class_predictor

    under ours          pixel_decoder.
    under mmdet         pixel_decoder.
    under original      pixel_decoder.
    under transformers  model.pixel_level_module.decoder.

    affine     input_proj.{i}.conv        input_convs.{i}.conv        input_proj.{i}.0         input_projections.{i}.0
    norm       input_proj.{i}.norm        input_convs.{i}.gn          input_proj.{i}.1         input_projections.{i}.1
    parameter  level_embed                level_encoding.weight       transformer.level_embed  level_embed
    affine     lateral.conv               lateral_convs.0.conv        adapter_1                adapter_1.0
    norm       lateral.norm               lateral_convs.0.gn          adapter_1.norm           adapter_1.1
    affine     output.conv                output_convs.0.conv         layer_1                  layer_1.0
    norm       output.norm                output_convs.0.gn           layer_1.norm             layer_1.1
    affine     mask_features              mask_feature                mask_features            mask_projection

    under ours          pixel_decoder.layers.{i}.self_attn.
    under mmdet         pixel_decoder.encoder.layers.{i}.attentions.0.
    under original      pixel_decoder.transformer.encoder.layers.{i}.self_attn.
    under transformers  model.pixel_level_module.decoder.encoder.layers.{i}.self_attn.

    affine     sampling_offsets           sampling_offsets            sampling_offsets         sampling_offsets
    affine     attention_weights          attention_weights           attention_weights        attention_weights
    affine     value_proj                 value_proj                  value_proj               value_proj
    affine     output_proj                output_proj                 output_proj              output_proj

    under ours          pixel_decoder.layers.{i}.
    under mmdet         pixel_decoder.encoder.layers.{i}.
    under original      pixel_decoder.transformer.encoder.layers.{i}.
    under transformers  model.pixel_level_module.decoder.encoder.layers.{i}.

    norm       norm1                      norms.0                     norm1                    self_attn_layer_norm
    affine     mlp.fc1                    ffns.0.layers.0.0           linear1                  fc1
    affine     mlp.fc2                    ffns.0.layers.1             linear2                  fc2
    norm       norm2                      norms.1                     norm2                    final_layer_norm

    under ours          query_decoder.
    under original      predictor.
    under transformers  model.transformer_module.

    parameter  query_feat                 query_feat.weight           query_feat.weight        queries_features.weight
    parameter  query_feat                 -                           static_query.weight      -
    parameter  query_embed                query_embed.weight          query_embed.weight       queries_embedder.weight
    parameter  level_embed                level_embed.weight          level_embed.weight       level_embed.weight

    under ours          query_decoder.layers.{i}.
    under mmdet         transformer_decoder.layers.{i}.
    under original      predictor.transformer_cross_attention_layers.{i}.
    under transformers  model.transformer_module.decoder.layers.{i}.

    packed     cross_attn.{q,k,v}         attentions.0.attn.in_proj_  multihead_attn.in_proj_  cross_attn.in_proj_
    affine     cross_attn.proj            attentions.0.attn.out_proj  multihead_attn.out_proj  cross_attn.out_proj
    norm       norm1                      norms.0                     norm                     cross_attn_layer_norm

    under ours          query_decoder.layers.{i}.
    under mmdet         transformer_decoder.layers.{i}.
    under original      predictor.transformer_self_attention_layers.{i}.
    under transformers  model.transformer_module.decoder.layers.{i}.

    packed     self_attn.qkv              attentions.1.attn.in_proj_  self_attn.in_proj_       self_attn.{q,k,v}_proj
    affine     self_attn.proj             attentions.1.attn.out_proj  self_attn.out_proj       self_attn.out_proj
    norm       norm2                      norms.1                     norm                     self_attn_layer_norm

    under ours          query_decoder.layers.{i}.
    under mmdet         transformer_decoder.layers.{i}.
    under original      predictor.transformer_ffn_layers.{i}.
    under transformers  model.transformer_module.decoder.layers.{i}.

    affine     mlp.fc1                    ffns.0.layers.0.0           linear1                  fc1
    affine     mlp.fc2                    ffns.0.layers.1             linear2                  fc2
    norm       norm3                      norms.2                     norm                     final_layer_norm

    under ours          query_decoder.
    under mmdet         transformer_decoder.
    under original      predictor.
    under transformers  model.transformer_module.decoder.

    norm       norm                       post_norm                   decoder_norm             layernorm

    under ours          query_decoder.mask_embed.
    under mmdet         mask_embed.
    under original      predictor.mask_embed.
    under transformers  model.transformer_module.decoder.mask_predictor.mask_embedder.

    affine     {i}                        {2*i}                       layers.{i}               {i}.0
""")

# mmdetection 3 and mmsegmentation 1 call attentions and feed-forward networks by what they do.
_ROWS_OF_MMDET_3 = renamed(
    TABLE.rows("mmdet"),
    {
        r"(?<=transformer_decoder\.layers\.\{i\}\.)attentions\.0": "cross_attn",
        r"attentions\.[01]": "self_attn",
        r"ffns\.0": "ffn",
    },
)
_WHOLE = "model."  # before the names of all but the classifier
_ENCODER = f"{_WHOLE}pixel_level_module.encoder."
_LAST_NORM = drop(
    f"{_ENCODER}swin.layernorm.{{name}}", "the norm of Swin's last map that transformers 5 adds: each map has its own"
)
_LOSS = drop("criterion.{name}", "weights of the classes in the loss, which training sets itself")

_OF_TRANSFORMERS = (
    Layout(
        name="hf",
        system="mask2former",
        title="transformers' Mask2FormerForUniversalSegmentation",
        rows=(
            *swin.TABLE.rows("transformers", under=_ENCODER),
            *resnet.TABLE.rows("transformers", under=_ENCODER),
            *TABLE.rows("transformers"),
            _LAST_NORM,
            _LOSS,
        ),
        found_at=("huggingface/",),
    ),
    Layout(
        name="hf-timm",
        system="mask2former",
        title="transformers' Mask2FormerForUniversalSegmentation on timm's ResNet",
        rows=(
            *resnet.TABLE.rows("torchvision", under=f"{_ENCODER}_backbone."),
            *TABLE.rows("transformers"),
            _LOSS,
        ),
        found_at=("huggingface/",),
    ),
    Layout(
        name="hf5",
        system="mask2former",
        title="transformers' Mask2FormerForUniversalSegmentation in the names of its version 5",
        rows=(*under(_ENCODER, swin.ROWS_OF_TRANSFORMERS_5), *TABLE.rows("transformers"), _LAST_NORM, _LOSS),
        found_at=("huggingface/",),
    ),
)


def _without_classifier(layout: Layout) -> Layout:
    """The same of the bare Mask2FormerModel, whose names lack what stands before them in the whole."""
    rows = (row for row in layout.rows if all(name.startswith(_WHOLE) for name in row.theirs))
    return replace(
        layout,
        name=f"{layout.name}-bare",
        title="transformers' Mask2FormerModel, which has no classifier",
        rows=tuple(replace(row, theirs=tuple(name.removeprefix(_WHOLE) for name in row.theirs)) for row in rows),
        lacks=("query_decoder.class_embed.",),
    )


# Going back, indices and masks of Swin's windows and the loss's weights are missing: all four read files with
# strict=False, and make them themselves.
LAYOUTS = (
    Layout(
        name="mmdet",
        system="mask2former",
        title="mmdetection's and ModelScope's Mask2Former",
        rows=(
            *swin.TABLE.rows("mmdet", under="backbone."),
            *resnet.TABLE.rows("torchvision", under="backbone."),
            *TABLE.rows("mmdet", under="panoptic_head."),
        ),
        found_at=("openmmlab/mmdetection/", "modelscope/"),
    ),
    *(
        Layout(
            name=name,
            system="mask2former",
            title=title,
            rows=(
                *swin.TABLE.rows("mmdet", under="backbone."),
                *resnet.TABLE.rows("torchvision", under="backbone."),
                *under(head, _ROWS_OF_MMDET_3),
            ),
            found_at=(f"openmmlab/{package}/",),
        )
        for name, package, title, head in (
            ("mmdet3", "mmdetection", "mmdetection 3's Mask2Former", "panoptic_head."),
            ("mmseg1", "mmsegmentation", "mmsegmentation 1's Mask2Former", "decode_head."),
        )
    ),
    Layout(
        name="vit-adapter",
        system="mask2former",
        title="the original's and ModelScope's ViT-Adapter with Mask2Former",
        rows=(
            *vit_adapter.TABLE.rows("vit-adapter", under="backbone."),
            *TABLE.rows("mmdet", under="decode_head."),
        ),
        found_at=("github/", "modelscope/"),
    ),
    Layout(
        name="detectron2",
        system="mask2former",
        title="the original Mask2Former, on detectron2",
        rows=(
            *swin.TABLE.rows("original", under="backbone."),
            *swin.TABLE.rows("detectron2", under="backbone."),
            *resnet.TABLE.rows("detectron2", under="backbone."),
            *TABLE.rows("original", under="sem_seg_head."),
            drop("backbone.{name}.num_batches_tracked", COUNT_DROPPED),  # where norms learn, as on Cityscapes
            _LOSS,
        ),
        found_at=("detectron2/",),
    ),
    Layout(
        name="easycv",
        system="mask2former",
        title="EasyCV's and ModelScope's Mask2Former",
        rows=(
            *resnet.TABLE.rows("torchvision", under="backbone."),
            *TABLE.rows("original", under="head."),
            _LOSS,
        ),
        found_at=("easycv/", "modelscope/"),
    ),
    *_OF_TRANSFORMERS,
    *map(_without_classifier, _OF_TRANSFORMERS),
    Layout(name=NATIVE, system="mask2former", title="ms_seg's own Mask2Former", rows=(*OWN_BACKBONES, *TABLE.own)),
)


def arguments_from_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Mask2Former's own arguments, as far as the shapes by our names tell them: not the decoders' heads and points."""
    if "query_decoder.query_feat" not in shapes:
        return {}
    queries, width = shapes["query_decoder.query_feat"][:2]
    arguments: dict[str, Any] = {"queries": queries, "width": width}
    if "query_decoder.class_embed.weight" in shapes:
        arguments["num_classes"] = shapes["query_decoder.class_embed.weight"][0] - 1  # the last is no object
    for part in ("pixel", "query"):
        arguments[f"{part}_layers"] = count_cells(shapes, f"{part}_decoder.layers.")
        arguments[f"{part}_hidden"] = shapes.get(f"{part}_decoder.layers.0.mlp.fc1.weight", (0,))[0]
    return arguments

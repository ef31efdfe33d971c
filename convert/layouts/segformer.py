"""SegFormer in the layouts of transformers, mmsegmentation (EasyCV's too), the original and segmentation_models.pytorch
(smp). `mit` has its backbone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convert.layouts import mit
from convert.layouts.backbones import OWN_BACKBONES
from convert.layouts.row import NATIVE, Layout
from convert.layouts.table import read_table

TABLE = read_table("""
    kind       ours              transformers                mmseg             original                    smp

    under ours          decoder.
    under transformers  decode_head.
    under mmseg         decode_head.
    under original      decode_head.

    affine     project.{i}       linear_c.{i}.proj (linear)  -                 linear_c{i+1}.proj (linear)  -
    affine     project.0         -                           -                 -  decoder.mlp_stage.3.linear (linear)
    affine     project.1         -                           -                 -  decoder.mlp_stage.2.linear (linear)
    affine     project.2         -                           -                 -  decoder.mlp_stage.1.linear (linear)
    affine     project.3         -                           -                 -  decoder.mlp_stage.0.linear (linear)
    weight     project.{i}.conv  -                           convs.{i}.conv    -                            -
    batchnorm  project.{i}.norm  -                           convs.{i}.bn      -                            -
    weight     fuse.conv         linear_fuse                 fusion_conv.conv  linear_fuse.conv  decoder.fuse_stage.0
    batchnorm  fuse.norm         batch_norm                  fusion_conv.bn    linear_fuse.bn    decoder.fuse_stage.1
    affine     classify          classifier                  conv_seg          linear_pred       segmentation_head.0
    dropped    -                 -                           -                 conv_seg.{name}              -
    because the base class's classifier, which the original head never calls
    dropped    -                 -                           -                 -            classification_head.{name}
    because the classifier of whole pictures (aux_params)
""")

LAYOUTS = (
    Layout(
        name="hf",
        system="segformer",
        title="transformers' SegformerForSemanticSegmentation",
        rows=(*mit.TABLE.rows("transformers"), *TABLE.rows("transformers")),
        arithmetic=mit.TRANSFORMERS_EPS,
        found_at=("huggingface/nvidia/",),
    ),
    Layout(
        name="hf5",
        system="segformer",
        title="transformers' SegformerForSemanticSegmentation in the names of its version 5",
        rows=(*mit.ROWS_OF_TRANSFORMERS_5, *TABLE.rows("transformers")),
        arithmetic=mit.TRANSFORMERS_EPS,
        found_at=("huggingface/nvidia/",),
    ),
    Layout(
        name="mmseg",
        system="segformer",
        title="mmsegmentation's and EasyCV's SegFormer",
        rows=(*mit.TABLE.rows("mmseg", under="backbone."), *TABLE.rows("mmseg")),
        threshold=0.3,  # the default of mmsegmentation's decode heads
        arithmetic=mit.MMSEG_EPS,
        found_at=("openmmlab/", "easycv/", "modelscope/"),
    ),
    Layout(
        name="original",
        system="segformer",
        title="the original SegFormer",
        rows=(*mit.TABLE.rows("original", under="backbone."), *TABLE.rows("original")),
        arithmetic=mit.ORIGINAL_EPS,
        found_at=("huggingface/nvidia/",),
    ),
    Layout(
        name="smp",
        system="segformer",
        title="segmentation_models.pytorch's Segformer",
        rows=(*mit.TABLE.rows("original", under="encoder."), *TABLE.rows("smp")),
        arithmetic=mit.ORIGINAL_EPS,
        found_at=("huggingface/smp-hub/",),
    ),
    Layout(name=NATIVE, system="segformer", title="ms_seg's own SegFormer", rows=(*OWN_BACKBONES, *TABLE.own)),
)


def arguments_from_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """SegFormer's own arguments, as far as the shapes of its tensors, by our names, tell them."""
    if "decoder.classify.weight" not in shapes:
        return {}
    num_classes, head_width = shapes["decoder.classify.weight"][:2]
    level_norm = "decoder.project.0.norm.gamma" in shapes
    return {"num_classes": num_classes, "head_width": head_width, "level_norm": level_norm}

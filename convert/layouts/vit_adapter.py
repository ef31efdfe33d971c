"""ViT-Adapter on BEiT in the layout of the original (ModelScope's too), and BEiT alone in its authors'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convert.layouts.names import count_cells
from convert.layouts.operations import relative_grid
from convert.layouts.row import Layout
from convert.layouts.table import read_table

BEIT = "backbone.beit."

TABLE = read_table("""
    kind       ours                               vit-adapter                        beit

    under ours         backbone.beit.

    parameter  cls_token                          cls_token                          cls_token
    affine     patch_embed.proj                   patch_embed.proj                   patch_embed.proj
    dropped    -                                  -                                  fc_norm.{name}
    dropped    -                                  -                                  norm.{name}
    because the final norm, which feeds the classifier: features are read before it
    dropped    -                                  -                                  head.{name}
    because the ImageNet classifier: segmentation has its own decoder

    under ours         backbone.beit.blocks.{i}.
    under vit-adapter  blocks.{i}.
    under beit         blocks.{i}.

    norm       norm1                              norm1                              norm1
    weight     attn.qkv                           attn.qkv                           attn.qkv
    parameter  attn.q_bias                        attn.q_bias                        attn.q_bias
    parameter  attn.v_bias                        attn.v_bias                        attn.v_bias
    affine     attn.proj                          attn.proj                          attn.proj
    parameter  scale1.gamma                       gamma_1                            gamma_1
    norm       norm2                              norm2                              norm2
    affine     mlp.fc1                            mlp.fc1                            mlp.fc1
    affine     mlp.fc2                            mlp.fc2                            mlp.fc2
    parameter  scale2.gamma                       gamma_2                            gamma_2

    under ours         backbone.beit.blocks.{i}.attn.relative_position_
    under vit-adapter  blocks.{i}.attn.relative_position_
    under beit         blocks.{i}.attn.relative_position_

    parameter  bias_table                         bias_table                         bias_table (resized)
    dropped    -                                  index                              index
    because rows of the table of relative positions: the grid tells them

    under ours         backbone.

    parameter  level_embed                        level_embed                        -
    weight     prior.stem.0.conv                  spm.stem.0                         -
    batchnorm  prior.stem.0.norm                  spm.stem.1                         -
    weight     prior.stem.1.conv                  spm.stem.3                         -
    batchnorm  prior.stem.1.norm                  spm.stem.4                         -
    weight     prior.stem.2.conv                  spm.stem.6                         -
    batchnorm  prior.stem.2.norm                  spm.stem.7                         -
    weight     prior.down.{i}.conv                spm.conv{i+2}.0                    -
    batchnorm  prior.down.{i}.norm                spm.conv{i+2}.1                    -
    affine     prior.project.{i}                  spm.fc{i+1}                        -
    affine     up                                 up                                 -
    batchnorm  norm1                              norm1                              -
    batchnorm  norm2                              norm2                              -
    batchnorm  norm3                              norm3                              -
    batchnorm  norm4                              norm4                              -

    under ours         backbone.injectors.{i}.
    under vit-adapter  interactions.{i}.injector.

    parameter  scale.gamma                        gamma                              -

    under ours  backbone.injectors.{i}.attend.  backbone.extractors.{i}.attend.  backbone.extra_extractors.{i}.attend.
    under vit-adapter  interactions.{i}.injector.  interactions.{i}.extractor.  interactions.3.extra_extractors.{i}.

    norm       query_norm                         query_norm                         -
    norm       feature_norm                       feat_norm                          -
    affine     attn.sampling_offsets              attn.sampling_offsets              -
    affine     attn.attention_weights             attn.attention_weights             -
    affine     attn.value_proj                    attn.value_proj                    -
    affine     attn.output_proj                   attn.output_proj                   -

    under ours         backbone.extractors.{i}.  backbone.extra_extractors.{i}.
    under vit-adapter  interactions.{i}.extractor.  interactions.3.extra_extractors.{i}.

    norm       ffn_norm                           ffn_norm                           -
    affine     ffn.fc1                            ffn.fc1                            -
    affine     ffn.dwconv                         ffn.dwconv.dwconv                  -
    affine     ffn.fc2                            ffn.fc2                            -
""")

LAYOUTS = (
    Layout(
        name="original-beit",
        system="",
        title="the original BEiT, trained on ImageNet",
        rows=TABLE.rows("beit"),
        covers=BEIT,
    ),
    Layout(
        name="native-beit",
        system="",
        title="ms_seg's own BEiT",
        rows=tuple(row for row in TABLE.own if row.ours[0].startswith(BEIT)),
        covers=BEIT,
    ),
)


def sizes_from_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any] | None:
    """The sizes of ViTAdapter that the shapes, by our names, tell; None if they are not a ViT-Adapter's.

    They do not tell the heads of its deformable attention, nor which arithmetic its weights are for; and of BEiT alone
    nothing of the adapter.
    """
    if "backbone.beit.cls_token" not in shapes:
        return None
    table = shapes.get("backbone.beit.blocks.0.attn.relative_position_bias_table", (0, 0))
    sizes: dict[str, Any] = {
        "channels": shapes["backbone.beit.cls_token"][-1],
        "depth": count_cells(shapes, "backbone.beit.blocks."),
        "heads": table[-1],
    }
    if "backbone.level_embed" in shapes:
        sizes["grid"] = relative_grid(table)
        sizes["prior_width"] = shapes.get("backbone.prior.stem.0.conv.weight", (0,))[0]
    return sizes

"""MiT, the Mix Transformer of SegFormer, in the layouts of transformers, mmsegmentation (EasyCV's too) and the
original."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convert.layouts.names import count_cells
from convert.layouts.row import Layout, drop, renamed
from convert.layouts.table import read_table

TABLE = read_table("""
    kind        ours              transformers                     mmseg               original

    under ours          backbone.stages.{i}.
    under transformers  segformer.encoder.
    under mmseg         layers.{i}.

    affine      patch_embed.proj  patch_embeddings.{i}.proj        0.projection        patch_embed{i+1}.proj
    norm        patch_embed.norm  patch_embeddings.{i}.layer_norm  0.norm              patch_embed{i+1}.norm
    norm        norm              layer_norm.{i}                   2                   norm{i+1}

    under ours          backbone.stages.{i}.blocks.{j}.
    under transformers  segformer.encoder.block.{i}.{j}.
    under mmseg         layers.{i}.1.{j}.
    under original      block{i+1}.{j}.

    norm        norm1             layer_norm_1                     norm1               norm1
    affine      attn.q            attention.self.query             -                   attn.q
    packed      attn.kv           attention.self.{key,value}       -                   attn.kv
    packed 1:2  attn.{q,kv}       -                                attn.attn.in_proj_  -
    affine      attn.proj         attention.output.dense           attn.attn.out_proj  attn.proj
    affine      attn.sr           attention.self.sr                attn.sr             attn.sr
    norm        attn.sr_norm      attention.self.layer_norm        attn.norm           attn.norm
    norm        norm2             layer_norm_2                     norm2               norm2
    affine      mlp.fc1           mlp.dense1 (linear)              ffn.layers.0        mlp.fc1 (linear)
    affine      mlp.dwconv        mlp.dwconv.dwconv                ffn.layers.1        mlp.dwconv.dwconv
    affine      mlp.fc2           mlp.dense2 (linear)              ffn.layers.4        mlp.fc2 (linear)
""")

# transformers 5 renamed what its networks have in common; save_pretrained still writes the former names.
ROWS_OF_TRANSFORMERS_5 = renamed(
    TABLE.rows("transformers"),
    {
        r"encoder\.(patch_embeddings|layer_norm)\.(\{i\})": r"stages.\2.\1",
        r"encoder\.block\.(\{i\})\.(\{j\})": r"stages.\1.blocks.\2",
        r"layer_norm_1": "layernorm_before",
        r"layer_norm_2": "layernorm_after",
        r"attention\.self\.([qkv])(uery|ey|alue)\b": r"attention.\1_proj",
        r"attention\.output\.dense": "attention.o_proj",
        r"attention\.self\.sr": "attention.sequence_reduction.sequence_reduction",
        r"attention\.self\.layer_norm": "attention.sequence_reduction.layer_norm",
        r"mlp\.dense": "mlp.fc",
    },
)

CLASSIFIER_DROPPED = "the ImageNet classifier: segmentation has its own decoder"

# The epsilons of LayerNorm belong to the weights: layouts of equal shapes were trained with different ones.
TRANSFORMERS_EPS = {"norm_eps": 1e-5, "conv_norm_eps": 1e-5}
ORIGINAL_EPS = {"norm_eps": 1e-6, "conv_norm_eps": 1e-5}
MMSEG_EPS = {"norm_eps": 1e-6, "conv_norm_eps": 1e-6}

LAYOUTS = (
    Layout(
        name="hf-backbone",
        system="",
        title="transformers' MiT, trained on ImageNet",
        rows=(*TABLE.rows("transformers"), drop("classifier.{name}", CLASSIFIER_DROPPED)),
        covers="backbone.",
        arithmetic=TRANSFORMERS_EPS,
    ),
    Layout(
        name="hf5-backbone",
        system="",
        title="transformers' MiT in the names of its version 5, trained on ImageNet",
        rows=(*ROWS_OF_TRANSFORMERS_5, drop("classifier.{name}", CLASSIFIER_DROPPED)),
        covers="backbone.",
        arithmetic=TRANSFORMERS_EPS,
    ),
    Layout(
        name="mmseg-backbone",
        system="",
        title="mmsegmentation's and EasyCV's MiT, trained on ImageNet",
        rows=(*TABLE.rows("mmseg"), drop("head.{name}", CLASSIFIER_DROPPED)),
        covers="backbone.",
        arithmetic=MMSEG_EPS,
    ),
    Layout(
        name="original-backbone",
        system="",
        title="the original MiT, trained on ImageNet",
        rows=(*TABLE.rows("original"), drop("head.{name}", CLASSIFIER_DROPPED)),
        covers="backbone.",
        arithmetic=ORIGINAL_EPS,
    ),
    Layout(name="native-backbone", system="", title="ms_seg's own MiT", rows=TABLE.own, covers="backbone."),
)


def sizes_from_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any] | None:
    """The sizes of MixTransformer that the shapes, by our names, tell; None if they are not a MiT's.

    They do not tell its heads and strides.
    """
    if "backbone.stages.0.patch_embed.proj.weight" not in shapes:
        return None
    stages = [f"backbone.stages.{level}" for level in range(4)]
    patches = [shapes.get(f"{stage}.patch_embed.proj.weight", (0, 0, 0)) for stage in stages]
    insides = [shapes.get(f"{stage}.blocks.0.mlp.fc1.weight", (0,))[0] for stage in stages]
    return {
        "embed_dims": tuple(patch[0] for patch in patches),
        "depths": tuple(count_cells(shapes, f"{stage}.blocks.") for stage in stages),
        "sr_ratios": tuple(shapes.get(f"{stage}.blocks.0.attn.sr.weight", (1,))[-1] for stage in stages),
        "mlp_ratios": tuple(inside // max(patch[0], 1) for inside, patch in zip(insides, patches, strict=True)),
        "patch_sizes": tuple(patch[-1] for patch in patches),
    }

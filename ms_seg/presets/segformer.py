"""SegFormer's published models (arXiv:2105.15203)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ms_seg.presets.preset import Preprocessing, Preset, Published
from ms_seg.presets.recipe import Recipe

# Table 6 of the paper: embedding dimensions and depths of MiT; the head is 256 wide for B0 and B1, 768 above.
_SIZES = {
    "b0": ((32, 64, 160, 256), (2, 2, 2, 2), 256),
    "b1": ((64, 128, 320, 512), (2, 2, 2, 2), 256),
    "b2": ((64, 128, 320, 512), (3, 4, 6, 3), 768),
    "b3": ((64, 128, 320, 512), (3, 4, 18, 3), 768),
    "b4": ((64, 128, 320, 512), (3, 8, 27, 3), 768),
    "b5": ((64, 128, 320, 512), (3, 6, 40, 3), 768),
}

# Three arithmetics of one network. Heads: a 1x1 convolution with batch norm and ReLU for each level, or a plain linear
# layer. `concat_order` is that of the levels in the fusing convolution's weight. `conv_norm_eps` belongs to the
# LayerNorms that follow a convolution (patch embedding, spatial reduction), `norm_eps` to all others.
_MMSEG_EPS = {"norm_eps": 1e-6, "conv_norm_eps": 1e-6}
_TRANSFORMERS_EPS = {"norm_eps": 1e-5, "conv_norm_eps": 1e-5}
_MMSEG_HEAD = {"level_norm": True, "concat_order": "fine_to_coarse"}
_TRANSFORMERS_HEAD = {"level_norm": False, "concat_order": "coarse_to_fine"}
_ARITHMETIC = ("norm_eps", "conv_norm_eps", "heads", "concat_order")

_NVIDIA = "NVIDIA Source Code License for SegFormer (non-commercial)"

# mmsegmentation's rule exempts parameters that have "norm" in their name, which its stage-final norms (`layers.0.2`)
# and batch norms (`bn`) have not; in the original's names the stage-final norms have it too.
_MMSEG_RECIPE = Recipe(no_weight_decay=r"patch_embed\.norm|norm1|norm2|sr_norm")
_ORIGINAL_RECIPE = replace(_MMSEG_RECIPE, no_weight_decay=_MMSEG_RECIPE.no_weight_decay + r"|stages\.\d\.norm\.")
# EasyCV's configuration nests the multipliers where its optimiser reads them as a parameter's name: none has effect.
_EASYCV_RECIPE = replace(_MMSEG_RECIPE, no_weight_decay="", head_multiplier=1.0)
# From nothing to mIoU 0.85 in ten minutes on two cores of a CPU: see docs/performance.md.
SHAPES_RECIPE = Recipe(
    steps=4500, batch_size=8, crop_size=128, short_side=160, long_side=640, scale_min=1.0, scale_max=1.0,
    photometric=False, learning_rate=3e-3, warmup_steps=100, head_multiplier=1.0, no_weight_decay="norm",
    validate_every=1500, keep_every=300,
)  # fmt: skip

TINY_MIT = {"embed_dims": (24, 48, 96, 128), "depths": (1, 2, 2, 1), "heads": (1, 2, 4, 8)}

# Of mmsegmentation's files: their names end in a stamp and the first digits of their SHA-256. Two generations have one
# name; the scores are those of the first, which is listed first.
_OPENMMLAB = {
    "b0": ("20210726_101530-8ffa8fda", "20220617_162207-c00b9603"),
    "b1": ("20210726_112106-d70e859d", "20220620_112037-c3f39e00"),
    "b2": ("20210726_112103-cbd414ac", "20220620_114047-64e4feca"),
    "b3": ("20210726_081410-962b98d2", "20220617_162254-3a4b7363"),
    "b4": ("20210728_183055-7f509d7d", "20220620_112216-4fa4f58f"),
    "b5": ("20210801_121243-41d2845b", "20220617_203542-940a6bd8"),
}
_COCO_SCORES = {"b0": "35.91", "b1": "40.53", "b2": "44.53", "b3": "45.49", "b4": "46.27", "b5": "46.75"}
_ADE_SCORES = {"b0": "37.41", "b1": "40.97", "b2": "45.58", "b3": "47.82", "b4": "48.46", "b5": "49.62"}


def _mit(size: str, epsilons: Mapping[str, float]) -> tuple[str, Mapping[str, Any]]:
    embed_dims, depths, _ = _SIZES[size]
    sizes = {"embed_dims": embed_dims, "depths": depths, "heads": (1, 2, 5, 8), "drop_path_rate": 0.1}
    return "mit", {**sizes, **epsilons}


def _openmmlab(size: str, side: int) -> tuple[Published, ...]:
    name = f"segformer_mit-{size}_{side}x{side}_160k_ade20k"
    return tuple(
        Published("openmmlab", name, f"{name}_{stamp}.pth", f"sha256:{stamp.split('-')[1]}")
        for stamp in _OPENMMLAB[size]
    )


def rows() -> list[Preset]:
    rows = []
    for size, (_, _, width) in _SIZES.items():
        side = 640 if size == "b5" else 512  # B5 was trained and is tested at 640
        keep_ratio = Preprocessing("keep_ratio", short_side=side)
        rows += [
            Preset(
                name=f"segformer_{size}_cocostuff164k",
                backbone=_mit(size, _MMSEG_EPS),
                # EasyCV trains 172 outputs on 171 classes: a pixel predicted 171 belongs to none.
                arguments={"num_classes": 172, "head_width": width, **_MMSEG_HEAD, "dropout_rate": 0.1},
                preprocessing=keep_ratio,
                label_set="cocostuff164k",
                recipe=replace(_EASYCV_RECIPE, crop_size=side, short_side=side),
                licence="Apache-2.0",
                published=(
                    Published(
                        "modelscope",
                        f"damo/cv_segformer-{size}_image_semantic-segmentation_coco-stuff164k",
                        "pytorch_model.pt",
                    ),
                ),
                score=f"mIoU {_COCO_SCORES[size]} (COCO-Stuff-164k)",
                system="segformer",
                output="logits",
                arithmetic=_ARITHMETIC,
            ),
            Preset(
                name=f"segformer_{size}_ade20k",
                backbone=_mit(size, _TRANSFORMERS_EPS),
                arguments={"num_classes": 150, "head_width": width, **_TRANSFORMERS_HEAD, "dropout_rate": 0.1},
                preprocessing=Preprocessing("squash", short_side=side, logits_via_input=False),
                label_set="ade20k",
                recipe=replace(_ORIGINAL_RECIPE, crop_size=side, short_side=side),
                licence=_NVIDIA,
                published=(Published("huggingface", f"nvidia/segformer-{size}-finetuned-ade-{side}-{side}"),),
                system="segformer",
                output="logits",
                arithmetic=_ARITHMETIC,
            ),
            Preset(
                name=f"segformer_{size}_ade20k_mmseg",
                backbone=_mit(size, _MMSEG_EPS),
                arguments={"num_classes": 150, "head_width": 256, **_MMSEG_HEAD, "dropout_rate": 0.1},
                preprocessing=keep_ratio,
                label_set="ade20k",
                recipe=replace(_MMSEG_RECIPE, crop_size=side, short_side=side),
                licence="Apache-2.0",
                published=_openmmlab(size, side),
                score=f"mIoU {_ADE_SCORES[size]} (ADE20K)",
                system="segformer",
                output="logits",
                arithmetic=_ARITHMETIC,
            ),
        ]
    rows.append(
        Preset(
            name="segformer_tiny_shapes",
            system="segformer",
            # Too small, and trained for too short a time, to drop anything.
            backbone=("mit", {**TINY_MIT, "drop_path_rate": 0.0, **_TRANSFORMERS_EPS}),
            arguments={"num_classes": 9, "head_width": 96, **_TRANSFORMERS_HEAD, "dropout_rate": 0.0},
            output="logits",
            preprocessing=Preprocessing("shrink", logits_via_input=False),
            label_set="shapes",
            recipe=SHAPES_RECIPE,
            licence="as this project",
            published=(Published("package", "segformer_tiny_shapes", "segformer_tiny_shapes.pth"),),
            arithmetic=_ARITHMETIC,
        )
    )
    return rows

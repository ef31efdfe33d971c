"""SegFormer's published models (arXiv:2105.15203)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ms_seg.presets.preset import EMBEDDED, Preprocessing, Preset

# Table 6 of the paper (arXiv:2105.15203): embedding widths and depths; the head is 256 wide for B0 and B1, 768 above.
_MIT = {
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
_MMSEG = {"level_norm": True, "concat_order": "fine_to_coarse", "norm_eps": 1e-6, "conv_norm_eps": 1e-6}
_TRANSFORMERS = {"level_norm": False, "concat_order": "coarse_to_fine", "norm_eps": 1e-5, "conv_norm_eps": 1e-5}

_KEEP_RATIO = Preprocessing("keep_ratio")
_SQUASH = Preprocessing("squash", logits_via_input=False)
_NVIDIA = "NVIDIA Source Code License for SegFormer (non-commercial)"


def _segformer(size: str, num_classes: int, arithmetic: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    embed_dims, depths, head_width = _MIT[size]
    arguments = {"embed_dims": embed_dims, "depths": depths, "head_width": head_width, "num_classes": num_classes}
    return {**arguments, "heads": (1, 2, 5, 8), **arithmetic, "drop_path_rate": 0.1, "dropout_rate": 0.1, **changes}


def rows() -> list[Preset]:
    coco = {"b0": "35.91", "b1": "40.53", "b2": "44.53", "b3": "45.49", "b4": "46.27", "b5": "46.75"}
    mmseg = {"b0": "37.41", "b1": "40.97", "b2": "45.58", "b3": "47.82", "b4": "48.46", "b5": "49.13"}
    rows = []
    for size in _MIT:
        side = 640 if size == "b5" else 512  # B5 was trained and is tested at 640
        keep_ratio, squash = replace(_KEEP_RATIO, short_side=side), replace(_SQUASH, short_side=side)
        rows += [
            Preset(
                name=f"segformer_{size}_cocostuff164k",
                system="segformer",
                # EasyCV trains 172 outputs on 171 classes: a pixel predicted 171 belongs to none.
                arguments=_segformer(size, 172, _MMSEG),
                preprocessing=keep_ratio,
                label_set="cocostuff164k",
                licence="Apache-2.0",
                upstream=(f"damo/cv_segformer-{size}_image_semantic-segmentation_coco-stuff164k",),
                score=f"mIoU {coco[size]} (COCO-Stuff-164k)",
            ),
            Preset(
                name=f"segformer_{size}_ade20k",
                system="segformer",
                arguments=_segformer(size, 150, _TRANSFORMERS),
                preprocessing=squash,
                label_set="ade20k",
                licence=_NVIDIA,
                upstream=(f"nvidia/segformer-{size}-finetuned-ade-{side}-{side}",),
            ),
            Preset(
                name=f"segformer_{size}_ade20k_mmseg",
                system="segformer",
                arguments=_segformer(size, 150, _MMSEG, head_width=256),
                preprocessing=keep_ratio,
                label_set="ade20k",
                licence="Apache-2.0",
                upstream=(f"segformer_mit-{size}_{'640x640' if side == 640 else '512x512'}_160k_ade20k",),
                score=f"mIoU {mmseg[size]} (ADE20K)",
            ),
        ]
    rows.append(
        Preset(
            name="segformer_tiny_shapes",
            system="segformer",
            arguments={
                # Too small, and trained for too short a time, to drop anything.
                **_segformer("b0", 9, _TRANSFORMERS, head_width=96, drop_path_rate=0.0, dropout_rate=0.0),
                "embed_dims": (24, 48, 96, 128),
                "depths": (1, 2, 2, 1),
                "heads": (1, 2, 4, 8),
            },
            preprocessing=Preprocessing("shrink", logits_via_input=False),
            label_set="shapes",
            licence="as this project",
            upstream=(f"{EMBEDDED}segformer_tiny_shapes.pth",),
        )
    )
    return rows

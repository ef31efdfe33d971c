"""LSeg's published models (arXiv:2201.03546)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ms_seg.presets.preset import EMBEDDED, IMAGENET_MEAN, IMAGENET_STD, TINY_VOCABULARY, Preprocessing, Preset

# timm's vit_large_patch16_384 and vit_base_patch32_384, and the channels that DPT makes of their tokens.
_VIT_L16 = {"channels": 1024, "depth": 24, "heads": 16, "patch": 16, "grid": 24}
_VIT_L16 |= {"map_channels": (256, 512, 1024, 1024)}
_VIT_B32 = {"channels": 768, "depth": 12, "heads": 12, "patch": 32, "grid": 12, "map_channels": (96, 192, 384, 768)}
_RESNET101 = {"resnet_depths": (3, 4, 23, 3)}

# CLIP's text towers beside its ViT-B/32 and its RN50x16; words and pixels meet in the same number of dimensions.
_CLIP_B32 = {"embed_dim": 512, "text_width": 512, "text_layers": 12, "text_heads": 8, "vocabulary": 49_408}
_CLIP_RN50X16 = {"embed_dim": 768, "text_width": 768, "text_layers": 12, "text_heads": 12, "vocabulary": 49_408}

_LANG_SEG = Preprocessing("round_up", short_side=480, long_side=480, mean=(127.5,) * 3, std=(127.5,) * 3)
_ZERO_SHOT = replace(_LANG_SEG, resize="squash")
_CLIP_MEAN = (0.48145466 * 255, 0.4578275 * 255, 0.40821073 * 255)
_CLIP_STD = (0.26862954 * 255, 0.26130258 * 255, 0.27577711 * 255)


def _lseg(
    name: str,
    backbone: Mapping[str, Any],
    text: Mapping[str, Any],
    preprocessing: Preprocessing,
    upstream: str,
    score: str = "",
    licence: str = "MIT",
) -> Preset:
    # block_depth and activation are those of a head_block, which no published file has.
    head = {"features": 256, "head_block": "none", "block_depth": 1, "activation": "lrelu"}
    return Preset(name, "lseg", {**backbone, **text, **head}, preprocessing, None, licence, (upstream,), score)


def rows() -> list[Preset]:
    return [
        _lseg(
            "lseg_vitl16_ade20k",
            _VIT_L16,
            _CLIP_B32,
            _LANG_SEG,
            "lang-seg: demo_e200.ckpt (clip_vitl16_384)",
            "pixAcc 80.78, mIoU 32.07 (ADE20K)",
        ),
        _lseg("lseg_vitb32_ade20k", _VIT_B32, _CLIP_B32, _LANG_SEG, "lang-seg: clip_vitb32_384"),
        _lseg("lseg_rn50x16_vitl16_ade20k", _VIT_L16, _CLIP_RN50X16, _LANG_SEG, "lang-seg: clipRN50x16_vitl16_384"),
        _lseg("lseg_zs_vitl16", _VIT_L16, _CLIP_B32, _ZERO_SHOT, "lang-seg: fss_l16.ckpt", "IoU 87.8 (FSS-1000)"),
        _lseg(
            "lseg_zs_resnet101",
            _RESNET101,
            _CLIP_B32,
            replace(_ZERO_SHOT, mean=IMAGENET_MEAN, std=IMAGENET_STD),
            "lang-seg: fss_rn101.ckpt, pascal_fold0.ckpt to 3, coco_fold0.ckpt to 3",
            "IoU 84.7 (FSS-1000), 52.8/53.8/44.4/38.5 (PASCAL-5i), 22.1/25.1/24.9/21.5 (COCO-20i)",
        ),
        _lseg(
            "lseg_vitl16_text_driven",
            _VIT_L16,
            _CLIP_B32,
            Preprocessing("fit", 640, 640, pad_multiple=640, mean=_CLIP_MEAN, std=_CLIP_STD, resize_mask=True),
            "damo/cv_vitl16_segmentation_text-driven-seg",
            "IoU 85.14 (FSS-1000)",
            licence="Apache-2.0",
        ),
        Preset(
            name="lseg_tiny_shapes",
            system="lseg",
            arguments={
                **{"mit_channels": (24, 48, 96, 128), "mit_depths": (1, 2, 2, 1), "mit_heads": (1, 2, 4, 8)},
                **{"features": 32, "head_block": "none", "block_depth": 1, "activation": "lrelu", "embed_dim": 64},
                **{"text_width": 64, "text_layers": 2, "text_heads": 2, "vocabulary": TINY_VOCABULARY},
            },
            preprocessing=Preprocessing("shrink", pad_multiple=32),
            label_set=None,
            licence="as this project",
            upstream=(f"{EMBEDDED}lseg_tiny_shapes.ckpt",),
        ),
    ]

"""LSeg's published models (arXiv:2201.03546)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ms_seg.presets.preset import IMAGENET_MEAN, IMAGENET_STD, TINY_VOCABULARY, Preprocessing, Preset, Published
from ms_seg.presets.recipe import Recipe
from ms_seg.presets.segformer import SHAPES_RECIPE, TINY_MIT

# timm's vit_large_patch16_384 and vit_base_patch32_384, and the channels that DPT makes of their tokens.
_VIT_L16 = (
    "vit",
    {"channels": 1024, "depth": 24, "heads": 16, "patch": 16, "grid": 24, "map_channels": (256, 512, 1024, 1024)},
)
_VIT_B32 = (
    "vit",
    {"channels": 768, "depth": 12, "heads": 12, "patch": 32, "grid": 12, "map_channels": (96, 192, 384, 768)},
)
_RESNET101 = ("resnet", {"depths": (3, 4, 23, 3), "stem_channels": 64})

# CLIP's text towers beside its ViT-B/32 and its RN50x16; words and pixels meet in the same number of dimensions.
_CLIP_B32 = {"embed_dim": 512, "text_width": 512, "text_layers": 12, "text_heads": 8, "vocabulary": 49_408}
_CLIP_RN50X16 = {"embed_dim": 768, "text_width": 768, "text_layers": 12, "text_heads": 12, "vocabulary": 49_408}

# block_depth and activation are those of a head_block, which no published file has.
_HEAD = {"head_block": "none", "block_depth": 1, "activation": "lrelu"}
_ARITHMETIC = ("heads", "text_heads", *_HEAD)

_LANG_SEG = Preprocessing("round_up", short_side=480, long_side=480, mean=(127.5,) * 3, std=(127.5,) * 3)
_ZERO_SHOT = replace(_LANG_SEG, resize="squash")
_ZERO_SHOT_RESNET = replace(_ZERO_SHOT, mean=IMAGENET_MEAN, std=IMAGENET_STD)
_CLIP_MEAN = (0.48145466 * 255, 0.4578275 * 255, 0.40821073 * 255)
_CLIP_STD = (0.26862954 * 255, 0.26130258 * 255, 0.27577711 * 255)
_TEXT_DRIVEN = Preprocessing("fit", 640, 640, pad_multiple=640, mean=_CLIP_MEAN, std=_CLIP_STD, resize_mask=True)

# lang-seg's train.sh on one device. Its base rate is that of 16 pictures at a time, and here it is one, twice for a
# step; the rate changes after each of 240 epochs of ADE20K.
_EPOCH = 20_210 // 2
_RECIPE = Recipe(
    steps=240 * _EPOCH, batch_size=2, accumulate=2, augmentation="lang_seg", crop_size=480, long_side=520,
    cat_max_ratio=1.0, photometric=False, optimizer="sgd", learning_rate=0.004 / 16, weight_decay=1e-4,
    warmup_steps=0, power=0.9, decay_every=_EPOCH, validate_every=_EPOCH,
)  # fmt: skip

_RESNET_FOLDS = {  # Google Drive's ids of the ResNet-101's files
    "fss_rn101.ckpt": "1UIj49Wp1mAopPub5M6O4WW-Z79VB1bhw",
    "pascal_fold0.ckpt": "1y4z4_yNGlZtn6osaeN4ZjMs6c0vr0F3m",
    "pascal_fold1.ckpt": "1UZzN8kWkH-G8v6P8xcBXEHRZlQKPRxrX",
    "pascal_fold2.ckpt": "1KCq1JphSMvj8X78bkWbdNIFm5zYzLTMX",
    "pascal_fold3.ckpt": "1A_fllOJqyBg0ZTJcm85Cn0NAcwQbXnhl",
    "coco_fold0.ckpt": "1nSYO3XtAv4mzWi4x-MFUfk04cpBKJT38",
    "coco_fold1.ckpt": "1w0vz3yjEi_ZLgECRrgtoLxEHugyJkrs5",
    "coco_fold2.ckpt": "1wmHtmJLdta18XuWQv6oX9llidCll_HrD",
    "coco_fold3.ckpt": "1dliBUSOog7taJxMmb9cdefKH4XOKChVJ",
}


def _lseg(
    name: str,
    backbone: tuple[str, Mapping[str, Any]],
    text: Mapping[str, Any],
    preprocessing: Preprocessing,
    *published: Published,
    score: str = "",
    licence: str = "MIT",
) -> Preset:
    return Preset(
        name=name,
        system="lseg",
        backbone=backbone,
        arguments={"features": 256, **text, **_HEAD},
        output="words",
        preprocessing=preprocessing,
        label_set=None,
        recipe=_RECIPE,
        licence=licence,
        published=published,
        arithmetic=_ARITHMETIC,
        score=score,
    )


def _drive(file: str, drive_id: str) -> Published:
    return Published("google-drive", drive_id, file)


def rows() -> list[Preset]:
    return [
        _lseg(
            "lseg_vitl16_ade20k",
            _VIT_L16,
            _CLIP_B32,
            _LANG_SEG,
            _drive("demo_e200.ckpt", "1FTuHY1xPUkM-5gaDtMfgCl3D0gR89WV7"),
            score="pixAcc 80.78, mIoU 32.07 (ADE20K)",
        ),
        _lseg("lseg_vitb32_ade20k", _VIT_B32, _CLIP_B32, _LANG_SEG),
        _lseg("lseg_rn50x16_vitl16_ade20k", _VIT_L16, _CLIP_RN50X16, _LANG_SEG),
        _lseg(
            "lseg_zs_vitl16",
            _VIT_L16,
            _CLIP_B32,
            _ZERO_SHOT,
            _drive("fss_l16.ckpt", "1Nplkc_JsHIS55d--K2vonOOC3HrppzYy"),
            score="IoU 87.8 (FSS-1000)",
        ),
        _lseg(
            "lseg_zs_resnet101",
            _RESNET101,
            _CLIP_B32,
            _ZERO_SHOT_RESNET,
            *(_drive(*entry) for entry in _RESNET_FOLDS.items()),
            score="IoU 84.7 (FSS-1000), 52.8/53.8/44.4/38.5 (PASCAL-5i), 22.1/25.1/24.9/21.5 (COCO-20i)",
        ),
        _lseg(
            "lseg_vitl16_text_driven",
            _VIT_L16,
            _CLIP_B32,
            _TEXT_DRIVEN,
            Published("modelscope", "damo/cv_vitl16_segmentation_text-driven-seg", "pytorch_model.bin"),
            score="IoU 85.14 (FSS-1000)",
            licence="Apache-2.0",
        ),
        Preset(
            name="lseg_tiny_shapes",
            system="lseg",
            backbone=("mit", TINY_MIT),
            arguments={
                **{"features": 32, "embed_dim": 64, "text_width": 64, "text_layers": 2, "text_heads": 2},
                **{"vocabulary": TINY_VOCABULARY, **_HEAD},
            },
            output="words",
            preprocessing=Preprocessing("shrink", pad_multiple=32),
            label_set=None,
            recipe=replace(
                SHAPES_RECIPE,
                steps=4000,
                text_multiplier=0.1,
                no_weight_decay="norm|pos_embed|token_embedding",
                validate_every=1000,
            ),
            licence="as this project",
            published=(Published("package", "lseg_tiny_shapes", "lseg_tiny_shapes.ckpt"),),
            arithmetic=_ARITHMETIC,
        ),
    ]

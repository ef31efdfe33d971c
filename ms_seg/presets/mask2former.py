"""Mask2Former's published models (arXiv:2112.01527)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ms_seg.presets.preset import TASKS, Preprocessing, Preset, Published
from ms_seg.presets.recipe import Recipe
from ms_seg.presets.segformer import TINY_MIT

# mmdetection's configurations on COCO panoptic, whose figures are the paper's. Steps of 50 epochs. Norms and embeddings
# do not decay, but the levels' embeddings in the pixel decoder do, as in the original, where they are no Embedding.
_STEPS = 368_750
_RECIPE = Recipe(
    steps=_STEPS, augmentation="lsj", crop_size=1024, short_side=1024, long_side=1024, scale_min=0.1, scale_max=2.0,
    cat_max_ratio=1.0, photometric=False, learning_rate=1e-4, weight_decay=0.05, warmup_steps=0, schedule="step",
    milestones=(327_778 / _STEPS, 355_092 / _STEPS), backbone_multiplier=0.1, head_multiplier=1.0,
    no_weight_decay=r"norm|relative_position_bias_table|query_embed|query_feat|query_decoder\.level_embed",
    clip_norm=0.01, validate_every=5000,
)  # fmt: skip
# From the backbone of a SegFormer of the same world: four of five things have their class after 250 steps. What was
# tried before, a Swin from nothing, had found their masks after 1250 steps, and of their classes one in four.
_SHAPES_RECIPE = replace(
    _RECIPE, steps=2500, batch_size=8, crop_size=128, short_side=160, long_side=160, scale_min=1.0, scale_max=1.0,
    learning_rate=1e-3, warmup_steps=200, schedule="poly", milestones=(), backbone_multiplier=0.3, clip_norm=1.0,
    points=1024, max_targets=16, validate_every=500, keep_every=250,
)  # fmt: skip

_DECODERS = {"width": 256, "decoder_heads": 8, "points": 4, "pixel_layers": 6, "pixel_hidden": 1024}
_DECODERS |= {"query_layers": 9, "query_hidden": 2048}
_ARITHMETIC = ("heads", "decoder_heads", "points")


def _swin(channels: int, depths: tuple[int, ...], heads: tuple[int, ...], window: int) -> tuple[str, dict[str, Any]]:
    sizes = {"channels": channels, "depths": depths, "heads": heads, "window": window, "drop_path_rate": 0.3}
    return "swin", sizes


# Appendix of arXiv:2103.14030. Batch norms of a detector's ResNet keep their statistics.
_SWIN_T = _swin(96, (2, 2, 6, 2), (3, 6, 12, 24), 7)
_SWIN_S = _swin(96, (2, 2, 18, 2), (3, 6, 12, 24), 7)
_SWIN_B = _swin(128, (2, 2, 18, 2), (4, 8, 16, 32), 12)
_SWIN_L = _swin(192, (2, 2, 18, 2), (6, 12, 24, 48), 12)
_R50 = ("resnet", {"depths": (3, 4, 6, 3), "frozen_norms": True})


def _detectron2(config: str, md5: str) -> Published:
    """The original's file; its model zoo gives the first digits of its MD5."""
    return Published("detectron2", f"coco/panoptic/{config}", f"model_final_{md5}.pkl", f"md5:{md5}")


def _openmmlab(name: str, stamp: str, sha256: str) -> Published:
    return Published("openmmlab", name, f"{name}_{stamp}-{sha256}.pth", f"sha256:{sha256}")


def _mask2former(
    size: str, backbone: tuple[str, Mapping[str, Any]], score: str, *published: Published, queries: int = 100
) -> Preset:
    return Preset(
        name=f"mask2former_{size}_coco_panoptic",
        system="mask2former",
        backbone=backbone,
        arguments={"num_classes": 133, "queries": queries, **_DECODERS},
        output="queries",
        preprocessing=Preprocessing("keep_ratio", short_side=800, long_side=1333, pad_multiple=32),
        label_set="coco_panoptic",
        recipe=_RECIPE,
        licence="CC-BY-NC-4.0",
        published=published,
        tasks=TASKS,
        arithmetic=_ARITHMETIC,
        score=f"PQ {score} (COCO panoptic)",
    )


def rows() -> list[Preset]:
    swin_l = _mask2former(
        "swin_l",
        _SWIN_L,
        "57.6, box mAP 52.2, mask mAP 48.5",
        Published("modelscope", "damo/cv_swinL_panoptic-segmentation_cocopan", "pytorch_model.pt"),
        Published("huggingface", "facebook/mask2former-swin-large-coco-panoptic"),
        _openmmlab("mask2former_swin-l-p4-w12-384-in21k_lsj_16x1_100e_coco-panoptic", "20220407_104949", "d4919c44"),
        _detectron2("maskformer2_swin_large_IN21k_384_bs16_100ep", "f07440"),
        queries=200,
    )
    return [
        _mask2former(
            "swin_t",
            _SWIN_T,
            "53.4",
            Published("huggingface", "facebook/mask2former-swin-tiny-coco-panoptic"),
            _openmmlab("mask2former_swin-t-p4-w7-224_lsj_8x2_50e_coco-panoptic", "20220326_224553", "fc567107"),
            _detectron2("maskformer2_swin_tiny_bs16_50ep", "9fd0ae"),
        ),
        _mask2former(
            "swin_s",
            _SWIN_S,
            "54.5",
            Published("huggingface", "facebook/mask2former-swin-small-coco-panoptic"),
            _openmmlab("mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco-panoptic", "20220329_225200", "c7b94355"),
            _detectron2("maskformer2_swin_small_bs16_50ep", "a407fd"),
        ),
        _mask2former(
            "swin_b",
            _SWIN_B,
            "55.1",
            Published("huggingface", "facebook/mask2former-swin-base-coco-panoptic"),
            _openmmlab("mask2former_swin-b-p4-w12-384_lsj_8x2_50e_coco-panoptic", "20220331_002244", "c149a9e9"),
            _detectron2("maskformer2_swin_base_384_bs16_50ep", "9d7f02"),
        ),
        replace(swin_l, recipe=replace(_RECIPE, steps=2 * _STEPS)),  # 100 epochs
        _mask2former(
            "r50",
            _R50,
            "51.9",
            Published("modelscope", "damo/cv_r50_panoptic-segmentation_cocopan", "pytorch_model.pt"),
            _openmmlab("mask2former_r50_lsj_8x2_50e_coco-panoptic", "20220326_224516", "11a44721"),
            _detectron2("maskformer2_R50_bs16_50ep", "94dc52"),
        ),
        Preset(
            name="mask2former_tiny_shapes",
            system="mask2former",
            backbone=("mit", TINY_MIT),  # that of segformer_tiny_shapes, which its training begins with
            arguments={
                **{"num_classes": 9, "queries": 24, "width": 64, "decoder_heads": 4, "points": 4, "pixel_layers": 2},
                **{"pixel_hidden": 128, "query_layers": 3, "query_hidden": 256},
            },
            output="queries",
            preprocessing=Preprocessing("shrink", pad_multiple=32),
            label_set="shapes",
            recipe=_SHAPES_RECIPE,
            licence="as this project",
            published=(Published("package", "mask2former_tiny_shapes", "mask2former_tiny_shapes.ckpt"),),
            tasks=TASKS,
            arithmetic=_ARITHMETIC,
        ),
    ]

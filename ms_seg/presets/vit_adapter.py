"""ViT-Adapter's published models (arXiv:2205.08534): BEiT in its adapter, under a Mask2Former as wide as it can be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ms_seg.presets.preset import Preprocessing, Preset, Published, Window
from ms_seg.presets.recipe import Recipe

_PATCH = 16  # pixels on a side
_SHORT_SIDE_896 = Preprocessing("round_up", short_side=896, long_side=3584)
_ARITHMETIC = ("heads", "deform_heads", "decoder_heads", "points", "add_query")

# The original's configuration of COCO-Stuff. Vectors do not decay, nor biases. The class token and the tables of
# positions do, since the original looks for their names without the `backbone.` before them.
_RECIPE = Recipe(
    steps=80_000, crop_size=896, short_side=896, long_side=3584, learning_rate=2e-5, weight_decay=0.05,
    head_multiplier=1.0, layer_decay=0.9, no_weight_decay=r"(bias|gamma|beta)$", validate_every=8000,
)  # fmt: skip


@dataclass(frozen=True)
class _Size:
    backbone: Mapping[str, Any]
    decoders: Mapping[str, Any]
    learning_rate: float
    layer_decay: float


_DECODERS = {"points": 4, "pixel_layers": 6, "query_layers": 9}
_SIZES = {
    "l": _Size(
        {"channels": 1024, "depth": 24, "heads": 16, "deform_heads": 16, "prior_width": 64, "drop_path_rate": 0.3},
        {"width": 1024, "decoder_heads": 32, "pixel_hidden": 4096, "query_hidden": 4096, **_DECODERS},
        learning_rate=2e-5,
        layer_decay=0.9,
    ),
    "b": _Size(
        {"channels": 768, "depth": 12, "heads": 12, "deform_heads": 12, "prior_width": 64, "drop_path_rate": 0.2},
        {"width": 256, "decoder_heads": 8, "pixel_hidden": 1024, "query_hidden": 2048, **_DECODERS},
        learning_rate=3e-5,
        layer_decay=0.95,
    ),
}


def _original(tag: str, name: str, ending: str = "zip") -> Published:
    return Published("github", f"czczup/ViT-Adapter/{tag}", f"{name}.{ending}")


def _beit(
    size: str,
    name: str,
    label_set: str,
    score: str,
    *published: Published,
    classes: int,
    queries: int = 200,
    grid: int = 56,
    stride: int = 512,
    preprocessing: Preprocessing = _SHORT_SIDE_896,
    steps: int = _RECIPE.steps,
    add_query: bool = False,
    train_side: int = 4096,
) -> Preset:
    crop = _PATCH * grid
    short_side, long_side = preprocessing.short_side, preprocessing.long_side
    of = _SIZES[size]
    recipe = replace(_RECIPE, steps=steps, learning_rate=of.learning_rate, layer_decay=of.layer_decay)
    return Preset(
        name=f"vit_adapter_beit_{size}_{name}",
        system="mask2former",
        backbone=("vit_adapter", {**of.backbone, "grid": grid, "add_query": add_query}),
        arguments={"num_classes": classes, "queries": queries, **of.decoders},
        output="queries",
        preprocessing=preprocessing,
        label_set=label_set,
        recipe=replace(recipe, crop_size=crop, short_side=short_side, long_side=min(long_side, train_side)),
        licence="Apache-2.0",
        published=published,
        arithmetic=_ARITHMETIC,
        window=Window(crop, stride, exact=True),
        score=score,
    )


_COCOSTUFF_10K: dict[str, Any] = {
    "classes": 171, "queries": 100, "grid": 32, "stride": 341, "steps": 40_000,
    "preprocessing": Preprocessing("round_up", short_side=512),
}  # fmt: skip
# Trained on pictures of 520 pixels at most.
_PASCAL_CONTEXT: dict[str, Any] = {
    "classes": 59, "queries": 100, "grid": 30, "stride": 320, "steps": 40_000, "train_side": 520,
    "preprocessing": Preprocessing("round_up", short_side=520, long_side=4096),
}  # fmt: skip


def rows() -> list[Preset]:
    return [
        _beit(
            "l",
            "cocostuff164k",
            "cocostuff164k",
            "mIoU 47.21 (COCO-Stuff 164k)",
            Published("modelscope", "damo/cv_vitadapter_semantic-segmentation_cocostuff164k", "pytorch_model.pt"),
            classes=171,
            add_query=True,
        ),
        _beit(
            "l",
            "cocostuff164k_czczup",
            "cocostuff164k",
            "mIoU 51.7, from BEiT v2 52.3 (COCO-Stuff 164k)",
            _original("v0.2.6", "mask2former_beit_adapter_large_896_80k_cocostuff164k"),
            _original("v0.3.1", "mask2former_beitv2_adapter_large_896_80k_cocostuff164k"),
            classes=171,
        ),
        _beit(
            "l",
            "ade20k_czczup",
            "ade20k",
            "mIoU 59.4, from BEiT v2 and with mirror images 61.2 (ADE20K)",
            _original("v0.2.0", "mask2former_beit_adapter_large_896_80k_ade20k"),
            _original("v0.3.1", "mask2former_beitv2_adapter_large_896_80k_ade20k"),
            classes=150,
        ),
        _beit(
            "l",
            "ade20k_640_czczup",
            "ade20k",
            "mIoU 58.3 (ADE20K)",
            _original("v0.2.2", "mask2former_beit_adapter_large_640_160k_ade20k"),
            classes=150,
            queries=100,
            grid=40,
            stride=426,
            preprocessing=Preprocessing("round_up", short_side=640),
            steps=160_000,
        ),
        _beit(
            "l",
            "cityscapes_czczup",
            "cityscapes",
            "mIoU 84.9 (Cityscapes)",
            _original("v0.2.3", "mask2former_beit_adapter_large_896_80k_cityscapes"),
            # what its training began with: Mapillary's pictures, in Cityscapes' classes
            _original("v0.2.3", "mask2former_beit_adapter_large_896_80k_mapillary"),
            classes=19,
            queries=100,
            preprocessing=Preprocessing("keep_ratio", short_side=1024),
        ),
        _beit(
            "l",
            "cocostuff10k_czczup",
            "cocostuff164k",
            "mIoU 53.2 (COCO-Stuff 10k)",
            _original("v0.2.5", "mask2former_beit_adapter_large_512_40k_cocostuff10k"),
            **_COCOSTUFF_10K,
        ),
        _beit(
            "b",
            "cocostuff10k_czczup",
            "cocostuff164k",
            "mIoU 50.0 (COCO-Stuff 10k)",
            _original("v0.2.9", "mask2former_beit_adapter_base_512_40k_cocostuff10k", "pth.tar"),
            **_COCOSTUFF_10K,
        ),
        _beit(
            "l",
            "pascal_context_59_czczup",
            "pascal_context_59",
            "mIoU 67.8 (Pascal Context)",
            _original("v0.2.7", "mask2former_beit_adapter_large_480_40k_pascal_context_59"),
            **_PASCAL_CONTEXT,
        ),
        _beit(
            "b",
            "pascal_context_59_czczup",
            "pascal_context_59",
            "mIoU 64.0 (Pascal Context)",
            _original("v0.2.8", "mask2former_beit_adapter_base_480_40k_pascal_context_59", "pth.tar"),
            **_PASCAL_CONTEXT,
        ),
    ]

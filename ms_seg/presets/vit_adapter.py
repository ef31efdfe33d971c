"""ViT-Adapter's published models (arXiv:2205.08534): BEiT-L in its adapter, under a wide Mask2Former."""

from __future__ import annotations

from dataclasses import replace

from ms_seg.presets.preset import Preprocessing, Preset, Published, Window
from ms_seg.presets.recipe import Recipe

_PATCH = 16  # pixels on a side
_BEIT_L = {
    "channels": 1024, "depth": 24, "heads": 16, "deform_heads": 16, "prior_width": 64, "drop_path_rate": 0.3,
}  # fmt: skip
_DECODERS = {"width": 1024, "decoder_heads": 32, "points": 4, "pixel_layers": 6, "pixel_hidden": 4096}
_DECODERS |= {"query_layers": 9, "query_hidden": 4096}
_SHORT_SIDE_896 = Preprocessing("round_up", short_side=896, long_side=3584)
_ARITHMETIC = ("heads", "deform_heads", "decoder_heads", "points", "add_query")

# The original's configuration of COCO-Stuff. Vectors do not decay, nor biases. The class token and the tables of
# positions do, since the original looks for their names without the `backbone.` before them.
_RECIPE = Recipe(
    steps=80_000, crop_size=896, short_side=896, long_side=3584, learning_rate=2e-5, weight_decay=0.05,
    head_multiplier=1.0, layer_decay=0.9, no_weight_decay=r"(bias|gamma|beta)$", validate_every=8000,
)  # fmt: skip


def _original(tag: str, name: str) -> Published:
    return Published("github", f"czczup/ViT-Adapter/{tag}", f"{name}.zip")


def _beit_l(
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
) -> Preset:
    crop = _PATCH * grid
    short_side, long_side = preprocessing.short_side, preprocessing.long_side
    return Preset(
        name=f"vit_adapter_beit_l_{name}",
        system="mask2former",
        backbone=("vit_adapter", {**_BEIT_L, "grid": grid, "add_query": add_query}),
        arguments={"num_classes": classes, "queries": queries, **_DECODERS},
        output="queries",
        preprocessing=preprocessing,
        label_set=label_set,
        recipe=replace(_RECIPE, steps=steps, crop_size=crop, short_side=short_side, long_side=long_side),
        licence="Apache-2.0",
        published=published,
        arithmetic=_ARITHMETIC,
        window=Window(crop, stride, exact=True),
        score=score,
    )


def rows() -> list[Preset]:
    return [
        _beit_l(
            "cocostuff164k",
            "cocostuff164k",
            "mIoU 47.21 (COCO-Stuff 164k)",
            Published("modelscope", "damo/cv_vitadapter_semantic-segmentation_cocostuff164k", "pytorch_model.pt"),
            classes=171,
            add_query=True,
        ),
        _beit_l(
            "cocostuff164k_czczup",
            "cocostuff164k",
            "mIoU 51.7, from BEiT v2 52.3 (COCO-Stuff 164k)",
            _original("v0.2.6", "mask2former_beit_adapter_large_896_80k_cocostuff164k"),
            _original("v0.3.1", "mask2former_beitv2_adapter_large_896_80k_cocostuff164k"),
            classes=171,
        ),
        _beit_l(
            "ade20k_czczup",
            "ade20k",
            "mIoU 59.4, from BEiT v2 and with mirror images 61.2 (ADE20K)",
            _original("v0.2.0", "mask2former_beit_adapter_large_896_80k_ade20k"),
            _original("v0.3.1", "mask2former_beitv2_adapter_large_896_80k_ade20k"),
            classes=150,
        ),
        _beit_l(
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
        _beit_l(
            "cityscapes_czczup",
            "cityscapes",
            "mIoU 84.9 (Cityscapes)",
            _original("v0.2.3", "mask2former_beit_adapter_large_896_80k_cityscapes"),
            classes=19,
            queries=100,
            preprocessing=Preprocessing("keep_ratio", short_side=1024),
        ),
        _beit_l(
            "cocostuff10k_czczup",
            "cocostuff164k",
            "mIoU 53.2 (COCO-Stuff 10k)",
            _original("v0.2.5", "mask2former_beit_adapter_large_512_40k_cocostuff10k"),
            classes=171,
            queries=100,
            grid=32,
            stride=341,
            preprocessing=Preprocessing("round_up", short_side=512),
            steps=40_000,
        ),
    ]

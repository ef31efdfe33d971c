"""ViT-Adapter's published models (arXiv:2205.08534): BEiT-L in its adapter, under a wide Mask2Former."""

from __future__ import annotations

from ms_seg.presets.preset import Preprocessing, Preset, Published, Window
from ms_seg.presets.recipe import Recipe

_BEIT_L = {
    "channels": 1024, "depth": 24, "heads": 16, "grid": 56, "deform_heads": 16, "prior_width": 64,
    "drop_path_rate": 0.3,
}  # fmt: skip
_DECODERS = {"width": 1024, "decoder_heads": 32, "points": 4, "pixel_layers": 6, "pixel_hidden": 4096}
_DECODERS |= {"query_layers": 9, "query_hidden": 4096}
_ARITHMETIC = ("heads", "deform_heads", "decoder_heads", "points", "add_query")

# The original's configuration of COCO-Stuff. Vectors do not decay, nor biases; the tables of positions do.
_RECIPE = Recipe(
    steps=80_000, crop_size=896, short_side=896, long_side=3584, learning_rate=2e-5, weight_decay=0.05,
    head_multiplier=1.0, validate_every=8000,
)  # fmt: skip


def _original(tag: str, name: str) -> Published:
    return Published("github", f"czczup/ViT-Adapter/{tag}", f"{name}.zip")


def _beit_l(name: str, classes: int, label_set: str, score: str, *published: Published, add_query: bool) -> Preset:
    return Preset(
        name=f"vit_adapter_beit_l_{name}",
        system="mask2former",
        backbone=("vit_adapter", {**_BEIT_L, "add_query": add_query}),
        arguments={"num_classes": classes, "queries": 200, **_DECODERS},
        output="queries",
        preprocessing=Preprocessing("round_up", short_side=896, long_side=3584),
        label_set=label_set,
        recipe=_RECIPE,
        licence="Apache-2.0",
        published=published,
        arithmetic=_ARITHMETIC,
        window=Window(crop=896, stride=512, exact=True),
        score=score,
    )


def rows() -> list[Preset]:
    return [
        _beit_l(
            "cocostuff164k",
            171,
            "cocostuff164k",
            "mIoU 47.21 (COCO-Stuff 164k)",
            Published("modelscope", "damo/cv_vitadapter_semantic-segmentation_cocostuff164k", "pytorch_model.pt"),
            add_query=True,
        ),
        _beit_l(
            "cocostuff164k_czczup",
            171,
            "cocostuff164k",
            "mIoU 51.7 (COCO-Stuff 164k)",
            _original("v0.2.6", "mask2former_beit_adapter_large_896_80k_cocostuff164k"),
            add_query=False,
        ),
        _beit_l(
            "ade20k_czczup",
            150,
            "ade20k",
            "mIoU 59.4 (ADE20K)",
            _original("v0.2.0", "mask2former_beit_adapter_large_896_80k_ade20k"),
            add_query=False,
        ),
    ]

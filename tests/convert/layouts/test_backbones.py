"""Backbones: their sizes are told by shapes, and any of them may be under any system."""

from __future__ import annotations

from typing import Any

import pytest

from convert.layouts import LAYOUTS
from convert.layouts.row import NATIVE
from convert.recognition import recognise
from tests.convert.layouts.published import Declared, manifests, read_manifest

MANIFESTS = manifests("segformer_b0_hf", "mask2former_", "lseg_", "mit_b0", "timm_vit_base", "resnet", "swin_")
VIT_B32 = {"channels": 768, "depth": 12, "patch": 32, "grid": 12}
RESNET50 = ("resnet", {"depths": (3, 4, 6, 3), "stem_channels": 64})
RESNET101 = ("resnet", {"depths": (3, 4, 23, 3), "stem_channels": 64})
SWIN_L = ("swin", {"channels": 192, "depths": (2, 2, 18, 2), "heads": (6, 12, 24, 48), "window": 12, "mlp_ratio": 4})
SWIN_T = ("swin", {"channels": 96, "depths": (2, 2, 6, 2), "heads": (3, 6, 12, 24), "window": 7, "mlp_ratio": 4})
MIT_B0 = (
    "mit",
    {
        "embed_dims": (32, 64, 160, 256), "depths": (2, 2, 2, 2), "sr_ratios": (8, 4, 2, 1), "mlp_ratios": (4, 4, 4, 4),
        "patch_sizes": (7, 3, 3, 3),
    },
)  # fmt: skip
ALONE = {
    "mit_b0_mmseg_imagenet": MIT_B0,
    "mit_b0_nvlabs_imagenet": MIT_B0,
    "timm_vit_base_patch32_384": ("vit", VIT_B32),
    "resnet50_torchvision": RESNET50,
    "resnet101_torchvision": RESNET101,
    "swin_large_patch4_window12_384_22k_official": SWIN_L,
    "swin_tiny_patch4_window7_224_timm": SWIN_T,
}
WHOLE = {  # manifest -> its system, and its backbone
    "segformer_b0_hf_ade150": ("segformer", MIT_B0),
    "lseg_lang-seg_clip_vitb32_384": ("lseg", ("vit", {**VIT_B32, "map_channels": (96, 192, 384, 768)})),
    "lseg_lang-seg_zs_clip_resnet101": ("lseg", RESNET101),
    "mask2former_swinl_coco_panoptic_modelscope": ("mask2former", SWIN_L),
    "mask2former_r50_coco_panoptic_modelscope": ("mask2former", RESNET50),
}
ARGUMENTS = {  # of a whole model, by its manifest
    "segformer_b0_hf_ade150": {"num_classes": 150, "head_width": 256, "level_norm": False},
    "lseg_lang-seg_zs_clip_resnet101": {
        "embed_dim": 512, "features": 256, "text_width": 512, "text_layers": 12, "vocabulary": 49408,
        "head_block": "none",
    },
    "mask2former_r50_coco_panoptic_modelscope": {
        "num_classes": 133, "queries": 100, "width": 256, "pixel_layers": 6, "pixel_hidden": 1024,
        "query_layers": 9, "query_hidden": 2048,
    },
}  # fmt: skip


def ours(manifest: str) -> dict[str, Declared]:
    """The tensors of a manifest by our names."""
    shapes = recognise(read_manifest(MANIFESTS[manifest])).plan(None).shapes
    return {name: Declared(name, shape, "float32") for name, shape in shapes.items()}


@pytest.mark.parametrize("manifest", ALONE)
def test_a_file_of_a_backbone_belongs_to_no_system(manifest: str):
    source = recognise(read_manifest(MANIFESTS[manifest]))
    assert source.layout.system == "" and source.layout.covers.startswith("backbone.")
    assert (source.backbone, source.arguments) == (ALONE[manifest], {})
    again = recognise(ours(manifest))
    assert (again.layout.system, again.layout.covers) == ("", source.layout.covers)
    assert (again.backbone, again.arguments) == (ALONE[manifest], {})


@pytest.mark.parametrize("manifest", ARGUMENTS)
def test_a_whole_models_arguments_are_apart_from_its_backbones_sizes(manifest: str):
    source = recognise(read_manifest(MANIFESTS[manifest]))
    assert (source.layout.system, source.backbone) == WHOLE[manifest]
    assert source.arguments == ARGUMENTS[manifest]


def test_a_text_tower_has_no_backbone():
    text = {name: entry for name, entry in ours("lseg_lang-seg_clip_vitb32_384").items() if name.startswith("text.")}
    source = recognise(text)
    assert (source.layout.system, source.layout.covers, source.backbone) == ("lseg", "text.", None)


@pytest.mark.parametrize("backbone", WHOLE)
@pytest.mark.parametrize("system", ARGUMENTS)
def test_any_backbone_under_any_system_is_recognised_and_fills_the_model(system: str, backbone: str):
    tensors = {name: entry for name, entry in ours(system).items() if not name.startswith("backbone.")}
    tensors |= {name: entry for name, entry in ours(backbone).items() if name.startswith("backbone.")}
    source = recognise(tensors)
    assert (source.layout.name, source.layout.system) == (NATIVE, WHOLE[system][0])
    assert (source.arguments, source.backbone) == (ARGUMENTS[system], WHOLE[backbone][1])
    plan = source.plan({name: entry.shape for name, entry in tensors.items()})
    assert plan.complete and len(plan.steps) == len(tensors), plan.explain()


@pytest.mark.parametrize("manifest", [name for name in ALONE if not name.startswith(("timm", "swin"))])
@pytest.mark.parametrize("system", ARGUMENTS)
def test_a_file_of_a_backbone_fills_that_of_any_system(system: str, manifest: str):
    backbone = {name: entry.shape for name, entry in ours(manifest).items()}
    others = {name: entry.shape for name, entry in ours(system).items() if not name.startswith("backbone.")}
    plan = recognise(read_manifest(MANIFESTS[manifest])).plan({**backbone, **others})
    assert plan.complete and set(plan.shapes) == set(backbone), plan.explain()


def test_a_name_of_a_layout_is_given_once_for_each_system():
    def repeated(names: list[Any]) -> list[Any]:
        return [name for name in names if names.count(name) > 1]

    assert repeated([(layout.system, layout.name) for layout in LAYOUTS]) == []

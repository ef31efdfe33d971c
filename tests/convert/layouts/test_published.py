"""The manifests of published files: all are there, and each can be read."""

from __future__ import annotations

import pytest

from tests.convert.layouts.published import manifests, read_manifest

SIZES = range(6)
SEGFORMER = ("easycv_cocostuff172", "hf_172", "hf_ade150", "mmseg_ade150", "mmseg_cocostuff171", "nvlabs_171")
SEGFORMER += ("nvlabs_ade150",)
EXPECTED = {
    *(f"segformer_b{size}_{origin}" for size in SIZES for origin in SEGFORMER),
    *(f"mit_b{size}_{origin}_imagenet" for size in SIZES for origin in ("mmseg", "nvlabs")),
    "clip_rn50x16_openai",
    "clip_vitb32_hf",
    "clip_vitb32_openai",
    "lseg_lang-seg_clipRN50x16_vitl16_384",
    "lseg_lang-seg_clip_vitb32_384",
    "lseg_lang-seg_clip_vitl16_384",
    "lseg_lang-seg_clip_vitl16_384_arch1",
    "lseg_lang-seg_clip_vitl16_384_arch2",
    "lseg_lang-seg_zs_clip_resnet101",
    "lseg_lang-seg_zs_clip_vitl16_384",
    "lseg_modelscope_vitl16",
    "timm_vit_base_patch32_384",
    "timm_vit_large_patch16_384",
    "resnet101_torchvision",
    "resnet50_torchvision",
    "mask2former_r50_coco_panoptic_detectron2",
    "mask2former_r50_coco_panoptic_detectron2_code",
    "mask2former_r50_coco_panoptic_hf",
    "mask2former_r50_coco_panoptic_mmdet",
    "mask2former_r50_coco_panoptic_modelscope",
    "mask2former_swinl_coco_panoptic_detectron2",
    "mask2former_swinl_coco_panoptic_detectron2_code",
    "mask2former_swinl_coco_panoptic_hf",
    "mask2former_swinl_coco_panoptic_modelscope",
    "mask2former_r50_coco_panoptic_mmdet3",
    "mask2former_swint_coco_instance_mmdet3",
    "mask2former_r101_cityscapes_semantic_mmseg1",
    "mask2former_swint_ade20k_semantic_mmseg1",
    "swin_tiny_patch4_window7_224_timm",
    "beit_base_patch16_224_timm",
    "swin_large_patch4_window12_384_22k_official",
    "swin_large_patch4_window12_384_22kto1k_official",
    "vitadapter_beitl_mask2former_cocostuff_czczup",
    "vitadapter_beitl_mask2former_cocostuff_modelscope",
    "beit_large_patch16_224_pt22k_ft22k_official",
}


def test_all_manifests_are_there_and_no_other():
    assert len(EXPECTED) == 89
    assert set(manifests("")) == EXPECTED


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_line_is_a_key_of_its_own_with_a_shape_and_a_dtype(name: str):
    text = manifests(name)[name]
    tensors = read_manifest(text)
    assert len(tensors) == len(text.splitlines()) > 100
    assert {entry.dtype for entry in tensors.values()} <= {"float32", "float16", "int64"}
    assert all(size > 0 for entry in tensors.values() for size in entry.shape)


def test_a_manifest_that_is_missing_is_an_error_and_not_one_test_less():
    with pytest.raises(LookupError, match="no manifest whose name begins with 'segformer_b6'"):
        manifests("segformer_", "segformer_b6")

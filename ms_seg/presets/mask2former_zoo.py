"""Where Mask2Former's weights are published: the tables of the original's zoo, mmdetection's and mmsegmentation's."""

from __future__ import annotations

from ms_seg.presets.preset import Published

# The original's, by dataset and task, then backbone: the name of its configuration, the first digits of the file's MD5,
# which its name ends in, the score, and what transformers calls the size where it has the same weights.
ORIGINAL: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {
    ("coco", "panoptic"): {
        "r50": ("maskformer2_R50_bs16_50ep", "94dc52", "PQ 51.9"),
        "r101": ("maskformer2_R101_bs16_50ep", "b807bd", "PQ 52.6"),
        "swin_t": ("maskformer2_swin_tiny_bs16_50ep", "9fd0ae", "PQ 53.2", "tiny"),
        "swin_s": ("maskformer2_swin_small_bs16_50ep", "a407fd", "PQ 54.6", "small"),
        "swin_b": ("maskformer2_swin_base_384_bs16_50ep", "9d7f02", "PQ 55.1", "base"),
        "swin_b_in21k": ("maskformer2_swin_base_IN21k_384_bs16_50ep", "54b88a", "PQ 56.4", "base-IN21k"),
        "swin_l": ("maskformer2_swin_large_IN21k_384_bs16_100ep", "f07440", "PQ 57.8", "large"),
    },
    ("coco", "instance"): {
        "r50": ("maskformer2_R50_bs16_50ep", "3c8ec9", "mask mAP 43.7"),
        "r101": ("maskformer2_R101_bs16_50ep", "eba159", "mask mAP 44.2"),
        "swin_t": ("maskformer2_swin_tiny_bs16_50ep", "86143f", "mask mAP 45.0", "tiny"),
        "swin_s": ("maskformer2_swin_small_bs16_50ep", "1e7f22", "mask mAP 46.3", "small"),
        "swin_b": ("maskformer2_swin_base_384_bs16_50ep", "f6e0f6", "mask mAP 46.7", "base"),
        "swin_b_in21k": ("maskformer2_swin_base_IN21k_384_bs16_50ep", "83d103", "mask mAP 48.1", "base-IN21k"),
        "swin_l": ("maskformer2_swin_large_IN21k_384_bs16_100ep", "e5f453", "mask mAP 50.1", "large"),
    },
    ("cityscapes", "panoptic"): {
        "r50": ("maskformer2_R50_bs16_90k", "4ab90c", "PQ 62.1"),
        "r101": ("maskformer2_R101_bs16_90k", "04d286", "PQ 62.4"),
        "swin_t": ("maskformer2_swin_tiny_bs16_90k", "ceba0f", "PQ 63.9", "tiny"),
        "swin_s": ("maskformer2_swin_small_bs16_90k", "23efb7", "PQ 64.8", "small"),
        "swin_b_in21k": ("maskformer2_swin_base_IN21k_384_bs16_90k", "fa840f", "PQ 66.1", "base-IN21k"),
        "swin_l": ("maskformer2_swin_large_IN21k_384_bs16_90k", "064788", "PQ 66.6", "large"),
    },
    ("cityscapes", "instance"): {
        "r50": ("maskformer2_R50_bs16_90k", "01a8ed", "mask mAP 37.4"),
        "r101": ("maskformer2_R101_bs16_90k", "c2b8c8", "mask mAP 38.5"),
        "swin_t": ("maskformer2_swin_tiny_bs16_90k", "6a63f8", "mask mAP 39.7", "tiny"),
        "swin_s": ("maskformer2_swin_small_bs16_90k", "974824", "mask mAP 41.8", "small"),
        "swin_b_in21k": ("maskformer2_swin_base_IN21k_384_bs16_90k", "7a3b6d", "mask mAP 42.0"),
        "swin_l": ("maskformer2_swin_large_IN21k_384_bs16_90k", "dfa862", "mask mAP 43.7", "large"),
    },
    ("cityscapes", "semantic"): {
        "r50": ("maskformer2_R50_bs16_90k", "cc1b1f", "mIoU 79.4"),
        "r101": ("maskformer2_R101_bs16_90k", "257ce8", "mIoU 80.1"),
        "swin_t": ("maskformer2_swin_tiny_bs16_90k", "2d58d4", "mIoU 82.1", "tiny"),
        "swin_s": ("maskformer2_swin_small_bs16_90k", "fa26ae", "mIoU 82.6", "small"),
        "swin_b_in21k": ("maskformer2_swin_base_IN21k_384_bs16_90k", "1c6b65", "mIoU 83.3", "base-IN21k"),
        "swin_l": ("maskformer2_swin_large_IN21k_384_bs16_90k", "17c1ee", "mIoU 83.3", "large"),
    },
    ("ade20k", "panoptic"): {
        "r50": ("maskformer2_R50_bs16_160k", "5c90d4", "PQ 39.7"),
        "swin_l": ("maskformer2_swin_large_IN21k_384_bs16_160k", "e0c58e", "PQ 48.1", "large"),
    },
    ("ade20k", "instance"): {
        "r50": ("maskformer2_R50_bs16_160k", "67e945", "mask mAP 26.4"),
        "swin_l": ("maskformer2_swin_large_IN21k_384_bs16_160k", "92dae9", "mask mAP 34.9"),
    },
    ("ade20k", "semantic"): {
        "r50": ("maskformer2_R50_bs16_160k", "500878", "mIoU 47.2"),
        "r101": ("maskformer2_R101_bs16_90k", "0d68be", "mIoU 47.8"),  # of 160 000 steps, whatever its name says
        "swin_t": ("maskformer2_swin_tiny_bs16_160k", "5274a6", "mIoU 47.7", "tiny"),
        "swin_s": ("maskformer2_swin_small_bs16_160k", "011c6d", "mIoU 51.3", "small"),
        "swin_b": ("maskformer2_swin_base_384_bs16_160k_res640", "503e96", "mIoU 52.4", "base"),
        "swin_b_in21k": ("maskformer2_swin_base_IN21k_384_bs16_160k_res640", "7e47bf", "mIoU 53.9", "base-IN21k"),
        "swin_l": ("maskformer2_swin_large_IN21k_384_bs16_160k_res640", "6b4a3a", "mIoU 56.1", "large"),
    },
    ("mapillary", "panoptic"): {
        "r50": ("maskformer_R50_bs16_300k", "4e9874", "PQ 36.3"),
        "swin_l": ("maskformer2_swin_large_IN21k_384_bs16_300k", "132c71", "PQ 45.5", "large"),
    },
    ("mapillary", "semantic"): {
        "r50": ("maskformer_R50_bs16_300k", "6c66d0", "mIoU 57.4"),
        "swin_l": ("maskformer2_swin_large_IN21k_384_bs16_300k", "90ee2d", "mIoU 63.2", "large"),
    },
}

_DATASETS = {  # ours -> the original's, transformers'
    "coco": ("coco", "coco"),
    "cityscapes": ("cityscapes", "cityscapes"),
    "ade20k": ("ade20k", "ade"),
    "mapillary": ("mapillary_vistas", "mapillary-vistas"),
}

# mmdetection's: the name in 2.x, whose parts in 3.x are others; how the names of the two files end, in a stamp and the
# first digits of their SHA-256; and the score. The files of 3.x have the weights of 2.x, but R50's panoptic ones.
MMDET = {
    ("coco", "panoptic"): {
        "r50": (
            "mask2former_r50_lsj_8x2_50e_coco-panoptic",
            ("20220326_224516-11a44721", "20230118_125535-54df384a"),
            "PQ 51.9, box mAP 44.8, mask mAP 41.9",
        ),
        "r101": (
            "mask2former_r101_lsj_8x2_50e_coco-panoptic",
            ("20220329_225104-c54e64c9", "20220329_225104-c74d4d71"),
            "PQ 52.4, box mAP 45.3, mask mAP 42.4",
        ),
        "swin_t": (
            "mask2former_swin-t-p4-w7-224_lsj_8x2_50e_coco-panoptic",
            ("20220326_224553-fc567107", "20220326_224553-3ec9e0ae"),
            "PQ 53.4, box mAP 46.3, mask mAP 43.4",
        ),
        "swin_s": (
            "mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco-panoptic",
            ("20220329_225200-c7b94355", "20220329_225200-4a16ded7"),
            "PQ 54.5, box mAP 47.8, mask mAP 44.5",
        ),
        "swin_b": (
            "mask2former_swin-b-p4-w12-384_lsj_8x2_50e_coco-panoptic",
            ("20220331_002244-c149a9e9", "20220331_002244-8a651d82"),
            "PQ 55.1, box mAP 48.2, mask mAP 44.9",
        ),
        "swin_b_in21k": (
            "mask2former_swin-b-p4-w12-384-in21k_lsj_8x2_50e_coco-panoptic",
            ("20220329_230021-3bb8b482", "20220329_230021-05ec7315"),
            "PQ 56.3, box mAP 50.0, mask mAP 46.3",
        ),
        "swin_l": (
            "mask2former_swin-l-p4-w12-384-in21k_lsj_16x1_100e_coco-panoptic",
            ("20220407_104949-d4919c44", "20220407_104949-82f8d28d"),
            "PQ 57.6, box mAP 52.2, mask mAP 48.5",
        ),
    },
    ("coco", "instance"): {
        "r50": (
            "mask2former_r50_lsj_8x2_50e_coco",
            ("20220506_191028-8e96e88b", "20220506_191028-41b088b6"),
            "box mAP 45.7, mask mAP 42.9",
        ),
        "r101": (
            "mask2former_r101_lsj_8x2_50e_coco",
            ("20220426_100250-c50b6fa6", "20220426_100250-ecf181e2"),
            "box mAP 46.7, mask mAP 44.0",
        ),
        "swin_t": (
            "mask2former_swin-t-p4-w7-224_lsj_8x2_50e_coco",
            ("20220508_091649-4a943037", "20220508_091649-01b0f990"),
            "box mAP 47.7, mask mAP 44.7",
        ),
        "swin_s": (
            "mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco",
            ("20220504_001756-743b7d99", "20220504_001756-c9d0c4f2"),
            "box mAP 49.3, mask mAP 46.1",
        ),
    },
}
_MMDET_3 = {"lsj_8x2_50e": "8xb2-lsj-50e", "lsj_16x1_100e": "16xb1-lsj-100e"}

# mmsegmentation's: the name after "mask2former_", the stamp and digits, and the mIoU. The digits are those of a file
# from which its optimiser was not removed yet, and say nothing of the published one.
MMSEG = {
    ("ade20k", "semantic"): {
        "r50": ("r50_8xb2-160k_ade20k-512x512", "20221204_000055-2d1f55f1", "47.87"),
        "r101": ("r101_8xb2-160k_ade20k-512x512", "20221203_233905-b7135890", "48.60"),
        "swin_t": ("swin-t_8xb2-160k_ade20k-512x512", "20221203_234230-7d64e5dd", "48.66"),
        "swin_s": ("swin-s_8xb2-160k_ade20k-512x512", "20221204_143905-e715144e", "51.24"),
        "swin_b": ("swin-b-in1k-384x384-pre_8xb2-160k_ade20k-640x640", "20221129_125118-a4a086d2", "52.44"),
        "swin_b_in21k": ("swin-b-in22k-384x384-pre_8xb2-160k_ade20k-640x640", "20221203_235230-7ec0f569", "53.90"),
        "swin_l": ("swin-l-in22k-384x384-pre_8xb2-160k_ade20k-640x640", "20221203_235933-7120c214", "56.01"),
    },
    ("cityscapes", "semantic"): {
        "r50": ("r50_8xb2-90k_cityscapes-512x1024", "20221202_140802-ffd9d750", "80.44"),
        "r101": ("r101_8xb2-90k_cityscapes-512x1024", "20221130_031628-43e68666", "80.80"),
        "swin_t": ("swin-t_8xb2-90k_cityscapes-512x1024", "20221127_144501-36c59341", "81.71"),
        "swin_s": ("swin-s_8xb2-90k_cityscapes-512x1024", "20221127_143802-9ab177f6", "82.57"),
        "swin_b_in21k": ("swin-b-in22k-384x384-pre_8xb2-90k_cityscapes-512x1024", "20221203_045030-9a86a225", "83.52"),
        "swin_l": ("swin-l-in22k-384x384-pre_8xb2-90k_cityscapes-512x1024", "20221202_141901-28ad20f1", "83.65"),
    },
}

_MODELSCOPE = {
    ("coco", "panoptic", "swin_l"): (
        Published("modelscope", "damo/cv_swinL_panoptic-segmentation_cocopan", "pytorch_model.pt"),
        # the same network, of which the card asks for the class of each pixel
        Published("modelscope", "damo/cv_swinL_semantic-segmentation_cocopanmerge", "pytorch_model.pt"),
    ),
    ("coco", "panoptic", "r50"): (
        Published("modelscope", "damo/cv_r50_panoptic-segmentation_cocopan", "pytorch_model.pt"),
    ),
}
_EASYCV = {
    ("coco", "panoptic", "r50"): (
        Published("easycv", "modelzoo/segmentation/mask2former_r50_panoptic", "epoch_50.pth"),
    ),
    ("coco", "instance", "r50"): (
        Published("easycv", "modelzoo/segmentation/mask2former_r50_instance", "epoch_50.pth"),
    ),
}


def places(dataset: str, task: str, size: str) -> tuple[Published, ...]:
    """Where a model is published whose weights the original, mmdetection, ModelScope, EasyCV or transformers has."""
    config, md5, _, *transformers = ORIGINAL[dataset, task][size]
    original, hugging_face = _DATASETS[dataset]
    return (
        *_MODELSCOPE.get((dataset, task, size), ()),
        *(Published("huggingface", f"facebook/mask2former-swin-{word}-{hugging_face}-{task}") for word in transformers),
        *_mmdet(dataset, task, size),
        Published("detectron2", f"{original}/{task}/{config}", f"model_final_{md5}.pkl", f"md5:{md5}"),
        *_EASYCV.get((dataset, task, size), ()),
    )


def place_mmseg(dataset: str, task: str, size: str) -> Published:
    """Where mmsegmentation publishes a model of its own."""
    rest, stamp, _ = MMSEG[dataset, task][size]
    name = f"mask2former_{rest}"
    return Published("openmmlab", f"mmsegmentation/v0.5/mask2former/{name}", f"{name}_{stamp}.pth")


def _mmdet(dataset: str, task: str, size: str) -> list[Published]:
    if size not in MMDET.get((dataset, task), {}):
        return []
    older, stamps, _ = MMDET[dataset, task][size]
    newer = older
    for theirs, today in _MMDET_3.items():
        newer = newer.replace(theirs, today)
    return [
        Published(
            "openmmlab",
            f"mmdetection/{version}/mask2former/{name}",
            f"{name}_{stamp}.pth",
            f"sha256:{stamp.partition('-')[2]}",
        )
        for version, name, stamp in zip(("v2.0", "v3.0"), (older, newer), stamps, strict=True)
    ]

"""SegFormer's published models (arXiv:2105.15203)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ms_seg.presets.preset import Preprocessing, Preset, Published, Window
from ms_seg.presets.recipe import Recipe

# Table 6 of the paper: embedding dimensions and depths of MiT; the head is 256 wide for B0 and B1, 768 above.
_SIZES = {
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
_MMSEG_EPS = {"norm_eps": 1e-6, "conv_norm_eps": 1e-6}
_TRANSFORMERS_EPS = {"norm_eps": 1e-5, "conv_norm_eps": 1e-5}
_MMSEG_HEAD = {"level_norm": True, "concat_order": "fine_to_coarse"}
_TRANSFORMERS_HEAD = {"level_norm": False, "concat_order": "coarse_to_fine"}
_ARITHMETIC = ("norm_eps", "conv_norm_eps", "heads", "strides", "concat_order")

# mmsegmentation's rule exempts parameters that have "norm" in their name, which its stage-final norms (`layers.0.2`)
# and batch norms (`bn`) have not; in the original's names the stage-final norms have it too.
_MMSEG_RECIPE = Recipe(no_weight_decay=r"patch_embed\.norm|norm1|norm2|sr_norm")
_ORIGINAL_RECIPE = replace(_MMSEG_RECIPE, no_weight_decay=_MMSEG_RECIPE.no_weight_decay + r"|stages\.\d\.norm\.")
# EasyCV's configuration nests the multipliers where its optimiser reads them as a parameter's name: none has effect.
_EASYCV_RECIPE = replace(_MMSEG_RECIPE, no_weight_decay="", head_multiplier=1.0)
# From nothing to mIoU 0.862 in 9 min 13 s on two idle cores of a CPU (AMD EPYC), validations and drawing included.
SHAPES_RECIPE = Recipe(
    steps=4500, batch_size=8, crop_size=128, short_side=160, long_side=640, scale_min=1.0, scale_max=1.0,
    photometric=False, learning_rate=3e-3, warmup_steps=100, head_multiplier=1.0, no_weight_decay="norm",
    validate_every=1500, keep_every=300,
)  # fmt: skip

# What all published models have: the spatial reduction of each stage, how much wider its Mix-FFN is inside, the sides
# of its overlapping patches and how far they lie apart.
_MIT = {"sr_ratios": (8, 4, 2, 1), "mlp_ratios": (4, 4, 4, 4), "patch_sizes": (7, 3, 3, 3), "strides": (4, 2, 2, 2)}
TINY_MIT = {"embed_dims": (24, 48, 96, 128), "depths": (1, 2, 2, 1), "heads": (1, 2, 4, 8), **_MIT}


@dataclass(frozen=True)
class _Family:
    """What the models of one publisher share."""

    epsilons: Mapping[str, float]
    head: Mapping[str, Any]
    recipe: Recipe
    licence: str


_EASYCV = _Family(_MMSEG_EPS, _MMSEG_HEAD, _EASYCV_RECIPE, "Apache-2.0")
_MMSEG = _Family(_MMSEG_EPS, _MMSEG_HEAD, _MMSEG_RECIPE, "Apache-2.0")
_ORIGINAL = _Family(
    _TRANSFORMERS_EPS, _TRANSFORMERS_HEAD, _ORIGINAL_RECIPE,
    "NVIDIA Source Code License for SegFormer (non-commercial)",
)  # fmt: skip

_COCO_STUFF = {"b0": "35.91", "b1": "40.53", "b2": "44.53", "b3": "45.49", "b4": "46.27", "b5": "46.75"}  # mIoU

# Of mmsegmentation's files: mIoU, and how their names end, in a stamp and the first digits of their SHA-256. Of ADE20K
# two generations have one name. The mIoU is the first one's, which mmsegmentation 1.x lists.
_ADE20K_MMSEG = {
    "b0": ("37.41", "20210726_101530-8ffa8fda", "20220617_162207-c00b9603"),
    "b1": ("40.97", "20210726_112106-d70e859d", "20220620_112037-c3f39e00"),
    "b2": ("45.58", "20210726_112103-cbd414ac", "20220620_114047-64e4feca"),
    "b3": ("47.82", "20210726_081410-962b98d2", "20220617_162254-3a4b7363"),
    "b4": ("48.46", "20210728_183055-7f509d7d", "20220620_112216-4fa4f58f"),
    "b5": ("49.62", "20210801_121243-41d2845b", "20220617_203542-940a6bd8"),
}
_B5_512 = "20210726_145235-94cedf59"  # of pictures of 512 pixels, as the smaller ones, with which it has mIoU 49.13
_CITYSCAPES_MMSEG = {
    "b0": ("76.54", "20211208_101857-e7f88502"),
    "b1": ("78.56", "20211208_064213-655c7b3f"),
    "b2": ("81.08", "20211207_134205-6096669a"),
    "b3": ("81.94", "20211206_224823-a8f8a177"),
    "b4": ("81.89", "20211207_080709-07f6c333"),
    "b5": ("82.25", "20211206_072934-87a052ec"),
}
# NVIDIA's, by the crops in a name. Of B0's smaller ones only the network and its classes are described by a row: what
# pictures they want is said by their folders.
_CITYSCAPES_CROPS = {"b0": ("1024-1024", "768-768", "640-1280", "512-1024")}

# Cityscapes is tested in windows, on pictures of the size that they all have.
_CITYSCAPES_CROP, _CITYSCAPES_SIDES = 1024, (1024, 2048)
_CITYSCAPES_WINDOW = Window(_CITYSCAPES_CROP, 768)


def _segformer(
    name: str,
    size: str,
    family: _Family,
    label_set: str,
    preprocessing: Preprocessing,
    published: tuple[Published, ...],
    classes: int,
    crop: int,
    score: str = "",
    width: int | None = None,
    window: Window | None = None,
    batch_size: int = 16,
) -> Preset:
    embed_dims, depths, head_width = _SIZES[size]
    mit = {"embed_dims": embed_dims, "depths": depths, "heads": (1, 2, 5, 8), **_MIT, "drop_path_rate": 0.1}
    short_side, long_side = preprocessing.short_side, preprocessing.long_side
    recipe = replace(
        family.recipe, crop_size=crop, short_side=short_side, long_side=long_side, batch_size=batch_size
    )  # fmt: skip
    return Preset(
        name=f"segformer_{name}",
        system="segformer",
        backbone=("mit", {**mit, **family.epsilons}),
        arguments={
            "num_classes": classes,
            "head_width": width or head_width,
            **family.head,
            "dropout_rate": 0.1,
        },  # fmt: skip
        output="logits",
        preprocessing=preprocessing,
        label_set=label_set,
        recipe=recipe,
        licence=family.licence,
        published=published,
        arithmetic=_ARITHMETIC,
        window=window,
        score=score,
    )


def _openmmlab(name: str, *stamps: str) -> tuple[Published, ...]:
    folder = f"mmsegmentation/v0.5/segformer/{name}"
    return tuple(
        Published("openmmlab", folder, f"{name}_{stamp}.pth", f"sha256:{stamp.split('-')[1]}") for stamp in stamps
    )


def _cocostuff164k(size: str) -> Preset:
    side = 640 if size == "b5" else 512
    zoo = f"damo/modelzoo/segmentation/segformer/segformer_{size}"
    return _segformer(
        f"{size}_cocostuff164k",
        size,
        _EASYCV,
        "cocostuff164k",
        Preprocessing("keep_ratio", short_side=side),
        (
            Published(
                "modelscope",
                f"damo/cv_segformer-{size}_image_semantic-segmentation_coco-stuff164k",
                "pytorch_model.pt",
            ),
            Published("easycv", zoo, "SegmentationEvaluator_mIoU_best.pth"),
        ),
        classes=172,  # EasyCV trains 172 outputs on 171 classes: a pixel predicted 171 belongs to none
        crop=side,
        score=f"mIoU {_COCO_STUFF[size]} (COCO-Stuff-164k)",
    )


def _ade20k(size: str) -> Preset:
    side = 640 if size == "b5" else 512
    return _segformer(
        f"{size}_ade20k",
        size,
        _ORIGINAL,
        "ade20k",
        Preprocessing("squash", short_side=side, logits_via_input=False),
        (Published("huggingface", f"nvidia/segformer-{size}-finetuned-ade-{side}-{side}"),),
        classes=150,
        crop=side,
    )


def _ade20k_mmseg(size: str) -> Preset:
    side = 640 if size == "b5" else 512
    miou, *stamps = _ADE20K_MMSEG[size]
    files = _openmmlab(f"segformer_mit-{size}_{side}x{side}_160k_ade20k", *stamps)
    if size == "b5":
        files += _openmmlab("segformer_mit-b5_512x512_160k_ade20k", _B5_512)
    return _segformer(
        f"{size}_ade20k_mmseg",
        size,
        _MMSEG,
        "ade20k",
        Preprocessing("keep_ratio", short_side=side),
        files,
        classes=150,
        crop=side,
        score=f"mIoU {miou} (ADE20K)",
        width=256,
    )


def _cityscapes(size: str) -> Preset:
    return _segformer(
        f"{size}_cityscapes",
        size,
        _ORIGINAL,
        "cityscapes",
        Preprocessing("round_up", *_CITYSCAPES_SIDES),
        tuple(
            Published("huggingface", f"nvidia/segformer-{size}-finetuned-cityscapes-{crops}")
            for crops in _CITYSCAPES_CROPS.get(size, ("1024-1024",))
        ),
        classes=19,
        crop=_CITYSCAPES_CROP,
        window=_CITYSCAPES_WINDOW,
        batch_size=8,
    )


def _cityscapes_mmseg(size: str) -> Preset:
    miou, stamp = _CITYSCAPES_MMSEG[size]
    return _segformer(
        f"{size}_cityscapes_mmseg",
        size,
        _MMSEG,
        "cityscapes",
        Preprocessing("keep_ratio", *_CITYSCAPES_SIDES),
        _openmmlab(f"segformer_mit-{size}_8x1_1024x1024_160k_cityscapes", stamp),
        classes=19,
        crop=_CITYSCAPES_CROP,
        score=f"mIoU {miou} (Cityscapes)",
        width=256,
        window=_CITYSCAPES_WINDOW,
        batch_size=8,
    )


def _smp(size: str, data: str, label_set: str, classes: int, crops: tuple[str, ...]) -> Preset:
    """The original's weights, as segmentation_models.pytorch has them: OpenCV squashes pictures, and logits go to the
    input's size with corners on corners."""
    side = int(crops[0].split("-")[0])
    return _segformer(
        f"{size}_{label_set}_smp",
        size,
        _ORIGINAL,
        label_set,
        Preprocessing("stretch_cv2", short_side=side, long_side=side, align_corners=True),
        tuple(
            Published("huggingface", f"smp-hub/segformer-{size}-{crop.replace('-', 'x')}-{data}-160k") for crop in crops
        ),
        classes=classes,
        crop=side,
    )


def _ade20k_smp(size: str) -> Preset:
    return _smp(size, "ade", "ade20k", 150, ("640-640" if size == "b5" else "512-512",))


def _cityscapes_smp(size: str) -> Preset:
    return _smp(size, "city", "cityscapes", 19, _CITYSCAPES_CROPS.get(size, ("1024-1024",)))


def rows() -> list[Preset]:
    families = (
        _cocostuff164k, _ade20k, _ade20k_mmseg, _cityscapes, _cityscapes_mmseg, _ade20k_smp, _cityscapes_smp,
    )  # fmt: skip
    return [
        *(row(size) for size in _SIZES for row in families),
        Preset(
            name="segformer_tiny_shapes",
            system="segformer",
            # Too small, and trained for too short a time, to drop anything.
            backbone=("mit", {**TINY_MIT, "drop_path_rate": 0.0, **_TRANSFORMERS_EPS}),
            arguments={"num_classes": 9, "head_width": 96, **_TRANSFORMERS_HEAD, "dropout_rate": 0.0},
            output="logits",
            preprocessing=Preprocessing("shrink", logits_via_input=False),
            label_set="shapes",
            recipe=SHAPES_RECIPE,
            licence="as this project",
            published=(Published("package", "segformer_tiny_shapes", "segformer_tiny_shapes.pth"),),
            arithmetic=_ARITHMETIC,
        ),
    ]

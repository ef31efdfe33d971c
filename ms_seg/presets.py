"""The published models, one row each: sizes, arithmetic, preprocessing, labels, where the weights come from.

Nothing else in the package knows a size. A row says which of the published arithmetics it follows;
`Preset.override` changes single fields of a row, as `create_model("segformer_b0_ade20k", num_classes=21)` does.
"""

from __future__ import annotations

import difflib
import fnmatch
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mindspore import nn

    from ms_seg.data.labels import LabelSet

ASSETS = Path(__file__).parent / "assets"  # the drawn world's models and pictures
EMBEDDED = "ms_seg/assets/"
TINY_VOCABULARY = 594  # symbols of ms_seg/assets/merges.txt

IMAGENET_MEAN = (123.675, 116.28, 103.53)  # RGB, of values 0..255
IMAGENET_STD = (58.395, 57.12, 57.375)

RESIZES = ("keep_ratio", "round_up", "squash", "shrink", "fit")
QUERY_RULES = ("mmdet", "detectron2", "transformers")
TASKS = ("panoptic", "instance", "semantic")
LONGEST_SIDE = 16384  # pixels: an input with two such sides takes 3 GB before the network has seen it


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the network's input, and how logits come back to the picture's size.

    resize: "keep_ratio" scales the picture until its short side is `short_side` or its long side `long_side`, whichever
        comes first (cv2 bilinear, mmsegmentation's test configuration); "round_up" does the same and then stretches
        each side up to the next multiple of 32 (the original's AlignedResize); "squash" makes a square of `short_side`
        regardless of the ratio (PIL bilinear, transformers' image processor); "shrink" is "keep_ratio" for pictures
        that are larger, and leaves the others as they are; "fit" makes the long side `long_side` and cuts the other one
        down to a whole number (PIL bilinear, ModelScope's text-driven pipeline).
    short_side, long_side: 1..LONGEST_SIDE.
    pad_multiple: zeros, after normalisation, are added right and bottom up to a multiple of this, 1..LONGEST_SIDE.
    mean, std: per RGB channel, of values 0..255; std is above 0.
    logits_via_input: resize logits to the network's input first and to the picture then (mmsegmentation, EasyCV, the
        original), instead of to the picture at once (transformers). Both bilinear, align_corners=False.
    resize_mask: resize no logits at all but the mask that they give, in two classes, as a picture of 0 and 255 that is
        cut at half (ModelScope's text-driven pipeline).
    query_rule: of a model that gives classes and masks of queries, whose rule makes segments of them: "mmdet"
        (ModelScope and EasyCV too), "detectron2" or "transformers", see `inference.rules`.

    Raises ValueError for anything else.
    """

    resize: str
    short_side: int = 512
    long_side: int = 2048
    pad_multiple: int = 1
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    logits_via_input: bool = True
    resize_mask: bool = False
    query_rule: str = "mmdet"

    def __post_init__(self) -> None:
        if self.resize not in RESIZES:
            raise ValueError(f"unknown resize rule {self.resize!r}: one of {', '.join(RESIZES)}")
        if self.query_rule not in QUERY_RULES:
            raise ValueError(f"unknown query_rule {self.query_rule!r}: one of {', '.join(QUERY_RULES)}")
        for key in ("short_side", "long_side", "pad_multiple"):
            if not 1 <= getattr(self, key) <= LONGEST_SIDE:
                raise ValueError(f"{key} is {getattr(self, key)}: it can be 1 to {LONGEST_SIDE}")
        for key in ("mean", "std"):
            if len(getattr(self, key)) != 3 or not all(map(math.isfinite, getattr(self, key))):
                raise ValueError(f"{key} is {getattr(self, key)}: it is three numbers, of red, green and blue")
        if min(self.std) <= 0:
            raise ValueError(f"std is {self.std}: pixels are divided by it, so that it is above 0")


@dataclass(frozen=True)
class Preset:
    """One published model.

    arguments are the system's own constructor arguments; label_set names a file of `data/label_sets`, is a person's own
    LabelSet of one class for each output, or None when the classes have no names; upstream lists the ids under which
    the weights are published.
    """

    name: str
    system: str
    arguments: Mapping[str, Any]
    preprocessing: Preprocessing
    label_set: str | LabelSet | None
    licence: str
    upstream: tuple[str, ...] = ()
    score: str = ""

    def override(self, **changes: Any) -> Preset:
        """The same preset with fields changed, by their own names: constructor arguments, preprocessing, label_set.

        Raises ValueError for a field that the preset does not have, and for a value that it cannot have. Changing
        `num_classes` alone leaves the classes without names, since the former ones no longer fit.
        """
        own = {"label_set"}
        steps = {f.name for f in fields(Preprocessing)}
        for key in changes:
            if key not in self.arguments and key not in steps and key not in own:
                known = sorted({*self.arguments, *steps, *own})
                raise ValueError(f"{self.name} has no field {key!r}{_nearest(key, known)}")
        if changes.get("num_classes") not in (None, self.arguments.get("num_classes")):
            changes.setdefault("label_set", None)
        changed = replace(
            self,
            arguments={k: changes.get(k, v) for k, v in self.arguments.items()},
            preprocessing=replace(self.preprocessing, **{k: v for k, v in changes.items() if k in steps}),
            label_set=changes.get("label_set", self.label_set),
        )
        outputs, labels = changed.arguments.get("num_classes"), changed.label_set
        if labels is not None and not isinstance(labels, str) and len(labels) != outputs:
            raise ValueError(f"label_set has {len(labels)} classes, and the model {outputs}")
        return changed

    @property
    def takes_words(self) -> bool:
        """Whether the classes are words that come with a picture, and not the model's own."""
        return self.system == "lseg"

    @property
    def tasks(self) -> tuple[str, ...]:
        """What the model can answer, of TASKS; the first is what it is asked unless a person says otherwise."""
        return TASKS if self.system == "mask2former" else ("semantic",)

    @property
    def embedded(self) -> Path | None:
        """The checkpoint that comes with this package, for the models of the drawn world; None for all others."""
        (first, *_) = self.upstream
        return ASSETS / first.removeprefix(EMBEDDED) if first.startswith(EMBEDDED) else None

    def build(self) -> nn.Cell:
        """The network, freshly initialised, in inference mode.

        Its attribute `preset` is this row, and `checkpoint` the file that its weights come from: None here.
        """
        from ms_seg.systems import SYSTEMS  # imported late: reading the table needs no MindSpore

        model = SYSTEMS[self.system](**self.arguments)
        model.preset, model.checkpoint = self, None
        return model.set_train(False)


# --------------------------------------------------------------------------------------------------------- SegFormer

# Table 6 of the paper (arXiv:2105.15203): embedding widths and depths; the head is 256 wide for B0 and B1, 768 above.
_MIT = {
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
_MMSEG = {"level_norm": True, "concat_order": "fine_to_coarse", "norm_eps": 1e-6, "conv_norm_eps": 1e-6}
_TRANSFORMERS = {"level_norm": False, "concat_order": "coarse_to_fine", "norm_eps": 1e-5, "conv_norm_eps": 1e-5}

_KEEP_RATIO = Preprocessing("keep_ratio")
_SQUASH = Preprocessing("squash", logits_via_input=False)
_NVIDIA = "NVIDIA Source Code License for SegFormer (non-commercial)"


def _segformer(size: str, num_classes: int, arithmetic: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    embed_dims, depths, head_width = _MIT[size]
    arguments = {"embed_dims": embed_dims, "depths": depths, "head_width": head_width, "num_classes": num_classes}
    return {**arguments, "heads": (1, 2, 5, 8), **arithmetic, "drop_path_rate": 0.1, "dropout_rate": 0.1, **changes}


def _segformer_rows() -> list[Preset]:
    coco = {"b0": "35.91", "b1": "40.53", "b2": "44.53", "b3": "45.49", "b4": "46.27", "b5": "46.75"}
    mmseg = {"b0": "37.41", "b1": "40.97", "b2": "45.58", "b3": "47.82", "b4": "48.46", "b5": "49.13"}
    rows = []
    for size in _MIT:
        side = 640 if size == "b5" else 512  # B5 was trained and is tested at 640
        keep_ratio, squash = replace(_KEEP_RATIO, short_side=side), replace(_SQUASH, short_side=side)
        rows += [
            Preset(
                name=f"segformer_{size}_cocostuff164k",
                system="segformer",
                # EasyCV trains 172 outputs on 171 classes: a pixel predicted 171 belongs to none.
                arguments=_segformer(size, 172, _MMSEG),
                preprocessing=keep_ratio,
                label_set="cocostuff164k",
                licence="Apache-2.0",
                upstream=(f"damo/cv_segformer-{size}_image_semantic-segmentation_coco-stuff164k",),
                score=f"mIoU {coco[size]} (COCO-Stuff-164k)",
            ),
            Preset(
                name=f"segformer_{size}_ade20k",
                system="segformer",
                arguments=_segformer(size, 150, _TRANSFORMERS),
                preprocessing=squash,
                label_set="ade20k",
                licence=_NVIDIA,
                upstream=(f"nvidia/segformer-{size}-finetuned-ade-{side}-{side}",),
            ),
            Preset(
                name=f"segformer_{size}_ade20k_mmseg",
                system="segformer",
                arguments=_segformer(size, 150, _MMSEG, head_width=256),
                preprocessing=keep_ratio,
                label_set="ade20k",
                licence="Apache-2.0",
                upstream=(f"segformer_mit-{size}_{'640x640' if side == 640 else '512x512'}_160k_ade20k",),
                score=f"mIoU {mmseg[size]} (ADE20K)",
            ),
        ]
    rows.append(
        Preset(
            name="segformer_tiny_shapes",
            system="segformer",
            arguments={
                # Too small, and trained for too short a time, to drop anything.
                **_segformer("b0", 9, _TRANSFORMERS, head_width=96, drop_path_rate=0.0, dropout_rate=0.0),
                "embed_dims": (24, 48, 96, 128),
                "depths": (1, 2, 2, 1),
                "heads": (1, 2, 4, 8),
            },
            preprocessing=Preprocessing("shrink", logits_via_input=False),
            label_set="shapes",
            licence="as this project",
            upstream=(f"{EMBEDDED}segformer_tiny_shapes.pth",),
        )
    )
    return rows


# -------------------------------------------------------------------------------------------------------------- LSeg

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


def _lseg_rows() -> list[Preset]:
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


# -------------------------------------------------------------------------------------------------------- Mask2Former

_SWIN_L = ("damo/cv_swinL_panoptic-segmentation_cocopan", "facebook/mask2former-swin-large-coco-panoptic")
# Stages of Swin (the paper's appendix; mmdetection's scores), queries, PQ, what the weights' publishers call it.
_SWIN = {
    "t": (96, (2, 2, 6, 2), (3, 6, 12, 24), 7, 100, "53.4", ("facebook/mask2former-swin-tiny-coco-panoptic",)),
    "s": (96, (2, 2, 18, 2), (3, 6, 12, 24), 7, 100, "54.5", ("facebook/mask2former-swin-small-coco-panoptic",)),
    "b": (128, (2, 2, 18, 2), (4, 8, 16, 32), 12, 100, "55.1", ("facebook/mask2former-swin-base-coco-panoptic",)),
    "l": (192, (2, 2, 18, 2), (6, 12, 24, 48), 12, 200, "57.6, box mAP 52.2, mask mAP 48.5", _SWIN_L),
}


def _mask2former(size: str, backbone: Mapping[str, Any], queries: int, score: str, upstream: tuple[str, ...]) -> Preset:
    decoders = {"width": 256, "decoder_heads": 8, "points": 4, "pixel_layers": 6, "pixel_hidden": 1024}
    decoders |= {"query_layers": 9, "query_hidden": 2048}
    return Preset(
        name=f"mask2former_{size}_coco_panoptic",
        system="mask2former",
        arguments={"num_classes": 133, "queries": queries, **decoders, **backbone},
        preprocessing=Preprocessing("keep_ratio", short_side=800, long_side=1333, pad_multiple=32),
        label_set="coco_panoptic",
        licence="CC-BY-NC-4.0",
        upstream=upstream,
        score=f"PQ {score} (COCO panoptic)",
    )


def _mask2former_rows() -> list[Preset]:
    rows = []
    for size, (channels, depths, heads, window, queries, score, upstream) in _SWIN.items():
        backbone = {"channels": channels, "depths": depths, "heads": heads, "window": window, "drop_path_rate": 0.3}
        rows.append(_mask2former(f"swin_{size}", backbone, queries, score, upstream))
    r50 = ("damo/cv_r50_panoptic-segmentation_cocopan", "maskformer2_R50_bs16_50ep")
    rows.append(_mask2former("r50", {"resnet_depths": (3, 4, 6, 3)}, 100, "51.9", r50))
    rows.append(
        Preset(
            name="mask2former_tiny_shapes",
            system="mask2former",
            arguments={
                **{"channels": 32, "depths": (2, 2, 2, 1), "heads": (1, 2, 4, 8), "window": 8, "drop_path_rate": 0.0},
                **{"num_classes": 9, "queries": 24, "width": 64, "decoder_heads": 4, "points": 4, "pixel_layers": 2},
                **{"pixel_hidden": 128, "query_layers": 3, "query_hidden": 256},
            },
            preprocessing=Preprocessing("shrink", pad_multiple=32),
            label_set="shapes",
            licence="as this project",
            upstream=(f"{EMBEDDED}mask2former_tiny_shapes.ckpt",),
        )
    )
    return rows


PRESETS: dict[str, Preset] = {row.name: row for row in (*_segformer_rows(), *_lseg_rows(), *_mask2former_rows())}


def list_models(pattern: str = "*") -> list[str]:
    """Names of the published models that match a shell-style pattern, such as "segformer*"."""
    return fnmatch.filter(PRESETS, pattern)


def find_preset(name: str) -> Preset:
    """The preset of that name; ValueError with the nearest names if there is none."""
    if name not in PRESETS:
        raise ValueError(f"there is no model {name!r}{_nearest(name, list(PRESETS))}")
    return PRESETS[name]


# What a number of outputs says of an unnamed checkpoint's classes.
_LABEL_SETS = {150: "ade20k", 171: "cocostuff164k", 172: "cocostuff164k"}


def preset_for(system: str | None, arguments: Mapping[str, Any], name: str | None = None) -> Preset:
    """The published model of this structure, `num_classes` aside, which is taken from the arguments.

    Without a system it may be of any: systems share backbones, and what their arguments are called. Of several (they
    differ in what they were trained on) it is the one of that name, else the one whose number of classes is nearest,
    else the first of the table: of LSeg's, lang-seg's own. Raises ValueError when none has this structure.
    """
    structure = {key: value for key, value in arguments.items() if key != "num_classes"}
    rows = [
        row for row in PRESETS.values() if system in (None, row.system) and structure.items() <= row.arguments.items()
    ]
    if not rows:
        has = ", ".join(f"{key}={value}" for key, value in arguments.items())
        raise ValueError(f"no published {system or 'model'} has {has}")
    classes = arguments.get("num_classes", 0)
    nearest = min(rows, key=lambda row: (row.name != name, abs(row.arguments.get("num_classes", 0) - classes)))
    if classes in (0, nearest.arguments.get("num_classes")):
        return nearest
    return nearest.override(num_classes=classes, label_set=_LABEL_SETS.get(classes))


def _nearest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.5) or known[:3]
    return f"; the nearest are {', '.join(near)}"

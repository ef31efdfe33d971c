"""Mask2Former's published models (arXiv:2112.01527)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ms_seg.presets.mask2former_zoo import MMDET, MMSEG, ORIGINAL, place_mmseg, places
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
# The original's on the other datasets, for all tasks, and mmsegmentation's: a picture's short side is one of sixteen,
# and colours are jittered.
_CROPS_RECIPE = replace(
    _RECIPE, steps=160_000, augmentation="mmseg", scale_min=0.5, scales=tuple(tenths / 10 for tenths in range(5, 21)),
    photometric=True, schedule="poly", power=0.9, milestones=(),
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
    sizes = {"channels": channels, "depths": depths, "heads": heads, "window": window, "mlp_ratio": 4}
    return "swin", {**sizes, "drop_path_rate": 0.3}


# Appendix of arXiv:2103.14030. Those of Swin-B differ in what they began with, ImageNet's 1000 classes or its 21841.
# Batch norms of a detector's ResNet keep their statistics.
_SWIN_B = _swin(128, (2, 2, 18, 2), (4, 8, 16, 32), 12)
_BACKBONES: dict[str, tuple[str, dict[str, Any]]] = {
    "r50": ("resnet", {"depths": (3, 4, 6, 3), "stem_channels": 64, "frozen_norms": True}),
    "r101": ("resnet", {"depths": (3, 4, 23, 3), "stem_channels": 64, "frozen_norms": True}),
    "swin_t": _swin(96, (2, 2, 6, 2), (3, 6, 12, 24), 7),
    "swin_s": _swin(96, (2, 2, 18, 2), (3, 6, 12, 24), 7),
    "swin_b": _SWIN_B,
    "swin_b_in21k": _SWIN_B,
    "swin_l": _swin(192, (2, 2, 18, 2), (6, 12, 24, 48), 12),
}
_LEARNING_NORMS = {("cityscapes", "r50"), ("cityscapes", "r101"), ("ade20k", "r101")}  # but not there, in the original


@dataclass(frozen=True)
class _Benchmark:
    """What the original's models of a dataset and a task share.

    sides: the short side of a picture in tests, and the longest that the long one becomes. crop: of the recipe, its
    height and width.
    """

    classes: int
    label_set: str
    tasks: tuple[str, ...]
    sides: tuple[int, int]
    query_rule: str
    recipe: Recipe
    title: str
    crop: tuple[int, int] = (1024, 1024)
    steps: int = _STEPS


_WIDE = (512, 1024)  # crops of Cityscapes
_BENCHMARKS = {
    ("coco", "panoptic"): _Benchmark(
        133, "coco_panoptic", TASKS, (800, 1333), "detectron2", _RECIPE, "COCO panoptic"
    ),
    ("coco", "instance"): _Benchmark(80, "coco_things", ("instance",), (800, 1333), "detectron2", _RECIPE, "COCO"),
    ("cityscapes", "panoptic"): _Benchmark(
        19, "cityscapes", TASKS, (1024, 2048), "detectron2", _CROPS_RECIPE, "Cityscapes", _WIDE, 90_000
    ),
    ("cityscapes", "instance"): _Benchmark(
        8, "cityscapes_things", ("instance",), (1024, 2048), "detectron2", _CROPS_RECIPE, "Cityscapes", _WIDE, 90_000
    ),
    ("cityscapes", "semantic"): _Benchmark(
        19, "cityscapes", ("semantic",), (1024, 2048), "mmseg", _CROPS_RECIPE, "Cityscapes", _WIDE, 90_000
    ),
    ("ade20k", "panoptic"): _Benchmark(
        150, "ade20k", TASKS, (640, 2560), "detectron2", _CROPS_RECIPE, "ADE20K", (640, 640), 160_000
    ),
    ("ade20k", "instance"): _Benchmark(
        100, "ade20k_things", ("instance",), (640, 2560), "detectron2", _CROPS_RECIPE, "ADE20K", (640, 640), 160_000
    ),
    ("ade20k", "semantic"): _Benchmark(
        150, "ade20k", ("semantic",), (512, 2048), "mmseg", _CROPS_RECIPE, "ADE20K", (512, 512), 160_000
    ),
    # Of Mapillary's panoptic models, instances are not asked for.
    ("mapillary", "panoptic"): _Benchmark(
        65, "mapillary", ("panoptic", "semantic"), (2048, 2048), "detectron2_all", _CROPS_RECIPE, "Mapillary Vistas",
        steps=300_000,
    ),
    ("mapillary", "semantic"): _Benchmark(
        65, "mapillary", ("semantic",), (2048, 2048), "mmseg", _CROPS_RECIPE, "Mapillary Vistas", steps=300_000
    ),
}  # fmt: skip
_LARGE_CROPS = ("swin_b", "swin_b_in21k", "swin_l")  # of ADE20K's semantic models: 640 pixels instead of 512


def _benchmark(dataset: str, task: str, size: str) -> _Benchmark:
    """With what is different of a size: the sides of ADE20K's pictures, and Swin-L's 100 epochs of COCO, not 50."""
    benchmark = _BENCHMARKS[dataset, task]
    if (dataset, task) == ("ade20k", "semantic") and size in _LARGE_CROPS:
        return replace(benchmark, sides=(640, 2560), crop=(640, 640))
    if dataset == "coco" and size == "swin_l":
        return replace(benchmark, steps=2 * benchmark.steps)
    return benchmark


def _mask2former(
    dataset: str,
    task: str,
    size: str,
    preprocessing: Preprocessing,
    *published: Published,
    score: str,
    suffix: str = "",
) -> Preset:
    benchmark = _benchmark(dataset, task, size)
    backbone, sizes = _BACKBONES[size]
    height, width = benchmark.crop
    short_side, long_side = benchmark.crop
    if benchmark.recipe.augmentation != "lsj":
        short_side, long_side = benchmark.sides[0], 4 * benchmark.sides[0]
    return Preset(
        name=f"mask2former_{size}_{dataset}_{task}{suffix}",
        system="mask2former",
        backbone=(backbone, sizes),
        arguments={
            "num_classes": benchmark.classes,
            "queries": 200 if size == "swin_l" and task != "semantic" else 100,
            **_DECODERS,
        },
        output="queries",
        preprocessing=preprocessing,
        label_set=benchmark.label_set,
        recipe=replace(
            benchmark.recipe,
            steps=benchmark.steps,
            crop_size=height,
            crop_width=0 if width == height else width,
            short_side=short_side,
            long_side=long_side,
        ),
        licence="CC-BY-NC-4.0",
        published=published,
        tasks=benchmark.tasks,
        arithmetic=_ARITHMETIC,
        score=f"{score} ({benchmark.title})",
    )


def _original(dataset: str, task: str, size: str) -> Preset:
    """A model of the original's, with its preprocessing; or mmdetection's, where that has the model too."""
    benchmark = _benchmark(dataset, task, size)
    short_side, long_side = benchmark.sides
    *_, mmdet = MMDET.get((dataset, task), {}).get(size, ("",))
    resize, rule = ("keep_ratio", "mmdet") if mmdet else ("keep_ratio_pil", benchmark.query_rule)
    preset = _mask2former(
        dataset, task, size,
        Preprocessing(resize, short_side=short_side, long_side=long_side, pad_multiple=32, query_rule=rule),
        *places(dataset, task, size),
        score=mmdet or ORIGINAL[dataset, task][size][2],
    )  # fmt: skip
    if (dataset, size) not in _LEARNING_NORMS:
        return preset
    return replace(preset, backbone=("resnet", {**preset.backbone[1], "frozen_norms": False}))


def _mmseg(dataset: str, task: str, size: str) -> Preset:
    """mmsegmentation 1.x; of ADE20K's larger pictures its configurations pad none."""
    short_side, long_side = _benchmark(dataset, task, size).sides
    pad_multiple = 1 if short_side == 640 else 32
    preset = _mask2former(
        dataset, task, size,
        Preprocessing(
            "keep_ratio", short_side=short_side, long_side=long_side, pad_multiple=pad_multiple, query_rule="mmseg"
        ),
        place_mmseg(dataset, task, size),
        score=f"mIoU {MMSEG[dataset, task][size][2]}",
        suffix="_mmseg",
    )  # fmt: skip
    return replace(preset, recipe=replace(preset.recipe, cat_max_ratio=0.75), licence="Apache-2.0")


def _easycv() -> Preset:
    """The one of EasyCV's that nobody else has."""
    return replace(
        _mask2former(
            "ade20k", "semantic", "r50",
            Preprocessing("keep_ratio"),
            Published("easycv", "modelzoo/segmentation/mask2former_r50_semantic", "epoch_116.pth"),
            score="mIoU 47.03",
            suffix="_easycv",
        ),
        licence="Apache-2.0",
    )  # fmt: skip


def rows() -> list[Preset]:
    return [
        *(_original(*benchmark, size) for benchmark, sizes in ORIGINAL.items() for size in sizes),
        *(_mmseg(*benchmark, size) for benchmark, sizes in MMSEG.items() for size in sizes),
        _easycv(),
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

"""Rows for ResNet with bottlenecks, in the names of torchvision, detectron2 and transformers, and in our own."""

from __future__ import annotations

from collections.abc import Mapping

from convert.layouts.row import Row, batch_norm, count_cells, frozen_batch_norm, same

PARTS = ("reduce", "spatial", "expand")  # our names of a bottleneck's convolutions

OWN_RESNET = (
    same("backbone.stem.{name}"),
    *(same(f"backbone.stages.{{i}}.blocks.{{j}}.{part}.{{name}}") for part in (*PARTS, "shortcut")),
)


def conv_norm(conv: str, norm: str, ours: str) -> tuple[Row, ...]:
    return (Row((f"{conv}.weight",), (f"{ours}.conv.weight",)), *batch_norm(norm, f"{ours}.norm"))


def resnet(stem: tuple[str, str], stages: tuple[str, ...]) -> tuple[Row, ...]:
    """torchvision's bottlenecks. stem: the names of its convolution and its norm; stages: those of the four."""
    rows = conv_norm(*stem, "backbone.stem")
    for level, stage in enumerate(stages):
        theirs, ours = f"{stage}.{{j}}", f"backbone.stages.{level}.blocks.{{j}}"
        for number, part in enumerate(PARTS, 1):
            rows += conv_norm(f"{theirs}.conv{number}", f"{theirs}.bn{number}", f"{ours}.{part}")
        rows += conv_norm(f"{theirs}.downsample.0", f"{theirs}.downsample.1", f"{ours}.shortcut")
    return rows


def torchvision_resnet(prefix: str) -> tuple[Row, ...]:
    """mmcv's and EasyCV's too."""
    return resnet((f"{prefix}conv1", f"{prefix}bn1"), tuple(f"{prefix}layer{number}" for number in (1, 2, 3, 4)))


def detectron2_resnet(prefix: str) -> tuple[Row, ...]:
    """Its batch norms are frozen: they count no batches."""

    def frozen(theirs: str, ours: str) -> tuple[Row, ...]:
        weight = Row((f"{theirs}.weight",), (f"{ours}.conv.weight",))
        return (weight, *frozen_batch_norm(f"{theirs}.norm", f"{ours}.norm"))

    rows = frozen(f"{prefix}stem.conv1", "backbone.stem")
    for level in range(4):
        theirs, ours = f"{prefix}res{level + 2}.{{j}}", f"backbone.stages.{level}.blocks.{{j}}"
        for number, part in enumerate(PARTS, 1):
            rows += frozen(f"{theirs}.conv{number}", f"{ours}.{part}")
        rows += frozen(f"{theirs}.shortcut", f"{ours}.shortcut")
    return rows


def transformers_resnet(prefix: str) -> tuple[Row, ...]:
    def named(theirs: str, ours: str) -> tuple[Row, ...]:
        return conv_norm(f"{theirs}.convolution", f"{theirs}.normalization", ours)

    theirs, ours = f"{prefix}encoder.stages.{{i}}.layers.{{j}}", "backbone.stages.{i}.blocks.{j}"
    rows = named(f"{prefix}embedder.embedder", "backbone.stem")
    for number, part in enumerate(PARTS):
        rows += named(f"{theirs}.layer.{number}", f"{ours}.{part}")
    return (*rows, *named(f"{theirs}.shortcut", f"{ours}.shortcut"))


def resnet_depths(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Blocks of a ResNet's stages, as far as the names of ours tell them."""
    return tuple(count_cells(shapes, f"backbone.stages.{level}.blocks.") for level in range(4))

"""Mask2Former's published models (arXiv:2112.01527)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ms_seg.presets.preset import EMBEDDED, Preprocessing, Preset

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


def rows() -> list[Preset]:
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
                # As segformer_tiny_shapes, which its training begins with.
                **{"mit_channels": (24, 48, 96, 128), "mit_depths": (1, 2, 2, 1), "mit_heads": (1, 2, 4, 8)},
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

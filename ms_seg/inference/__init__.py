"""A picture in, an answer out: reading, preprocessing, the network, post-processing, drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ms_seg.answers import Answer, InstanceAnswer, PanopticAnswer

if TYPE_CHECKING:
    from ms_seg.inference.segmenter import Segmenter

__all__ = ["Answer", "InstanceAnswer", "PanopticAnswer", "Segmenter"]


def __getattr__(name: str) -> Any:
    if name == "Segmenter":  # imported late: reading and drawing pictures needs no MindSpore
        from ms_seg.inference.segmenter import Segmenter

        return Segmenter
    raise AttributeError(f"module 'ms_seg.inference' has no attribute {name!r}")

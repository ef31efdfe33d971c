"""From an image to a pyramid of features: four maps of strides 4 to 32, whose channels are `out_channels`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mindspore import nn

from ms_seg.backbones.mit import MixTransformer
from ms_seg.backbones.resnet import ResNet
from ms_seg.backbones.swin import SwinTransformer
from ms_seg.backbones.vit import ViTPyramid
from ms_seg.backbones.vit_adapter import ViTAdapter

BACKBONES: dict[str, type[nn.Cell]] = {
    "mit": MixTransformer,
    "resnet": ResNet,
    "swin": SwinTransformer,
    "vit": ViTPyramid,
    "vit_adapter": ViTAdapter,
}


def build_backbone(name: str, sizes: Mapping[str, Any]) -> nn.Cell:
    """The backbone of that name, freshly initialised; sizes are its constructor's arguments.

    Raises ValueError for an unknown name, sizes that it does not have or that are missing, and what it cannot be.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone must be one of {', '.join(BACKBONES)}: {name!r} is not")
    parameters = inspect.signature(BACKBONES[name]).parameters
    unknown = [key for key in sizes if key not in parameters]
    missing = [key for key, p in parameters.items() if p.default is inspect.Parameter.empty and key not in sizes]
    if unknown or missing:
        problem = f"no size {unknown[0]!r}" if unknown else f"no {missing[0]!r} given"
        raise ValueError(f"backbone {name} has {problem}: its sizes are {', '.join(parameters)}")
    return BACKBONES[name](**sizes)

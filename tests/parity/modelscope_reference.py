"""ModelScope's own pipelines around networks that are given: the package's reading, calling and results, unchanged.

The package is unpacked beside a client of its hub, which it imports and which nothing here calls.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
import types
from pathlib import Path
from typing import Any
from unittest import mock

import references
import torch
import vit_adapter_reference
import wheels
from lseg_reference import MODELSCOPE

from ms_seg.presets import Preprocessing, Preset
from ms_seg.text import Tokenizer

_HUB = ("modelscope_hub", "0.5.1")


def module(name: str) -> types.ModuleType:
    """A module of the package."""
    if "modelscope" not in sys.modules:
        references.import_mmdet()
        wheels.leave_out("cryptography.hazmat.primitives", "cryptography.hazmat.primitives.asymmetric.ed25519")
        wheels.leave_out("mmdet.core.visualization.palette")
        sys.modules["modelscope.fileio.format.jsonplus"] = json  # which needs further packages for dates and the like
        sys.path[:0] = [str(wheels.unpacked(*MODELSCOPE)), str(wheels.unpacked(*_HUB))]
        datasets = types.ModuleType("modelscope.msdatasets")
        datasets.MsDataset = type("MsDataset", (), {})
        sys.modules["modelscope.msdatasets"] = datasets
    found = importlib.import_module(f"modelscope.{name}")
    logging.getLogger("modelscope").setLevel(logging.ERROR)
    return found


def panoptic(network: torch.nn.Module, preset: Preset, classes: tuple[str, ...], folder: Path) -> Any:
    """The pipeline of Mask2Former on a Swin Transformer."""
    part = "image_panoptic_segmentation"
    for place in (network, network.panoptic_fusion_head):  # the configuration's are COCO's
        for count in ("num_things_classes", "num_stuff_classes", "num_classes"):
            setattr(place, count, getattr(network.panoptic_head, count))
    model = _model(f"models.cv.{part}.panseg_model", "SwinLPanopticSegmentation", network, folder)
    model.CLASSES, model.num_classes = classes, len(classes)
    model.cfg = _test_configuration(preset.preprocessing)
    return _pipeline(f"{part}_pipeline", "ImagePanopticSegmentationPipeline", model)


def semantic(network: torch.nn.Module, preset: Preset, classes: tuple[str, ...], folder: Path) -> Any:
    """The pipeline of ViT-Adapter. network: the segmentor."""
    part = "image_semantic_segmentation"
    module("models")
    networks = (f"modelscope.models.cv.{part}.{name}" for name in ("pan_merge", "vit_adapter"))
    with mock.patch.dict(sys.modules, {name: types.ModuleType(name) for name in networks}):
        model = _model(f"models.cv.{part}.semantic_seg_model", "SemanticSegmentation", network, folder)
    model.CLASSES = list(classes)
    model.cfg = _test_configuration(preset.preprocessing, vit_adapter_reference.register_resize())
    return _pipeline(f"{part}_pipeline", "ImageSemanticSegmentationPipeline", model)


def text_driven(network: torch.nn.Module, tokenizer: Tokenizer, folder: Path) -> Any:
    """The pipeline of LSeg. network: of images and tokens."""
    part = "text_driven_segmentation"
    package = types.ModuleType("package")
    package.TextDrivenSegmentation = None
    module("models")
    with mock.patch.dict(sys.modules, {f"modelscope.models.cv.{part}": package}):
        package.__path__ = [str(wheels.unpacked(*MODELSCOPE) / "modelscope/models/cv" / part)]
        model = _model(f"models.cv.{part}.lseg_model", "TextDrivenSeg", _Words(network, tokenizer), folder)
    model.device_id = -1
    return _pipeline(f"{part}_pipleline", "TextDrivenSegmentationPipeline", model)


class _Words(torch.nn.Module):
    """A network of images and tokens, given words."""

    def __init__(self, network: torch.nn.Module, tokenizer: Tokenizer):
        super().__init__()
        self.network, self.tokenizer = network, tokenizer

    def forward(self, images: torch.Tensor, words: list[str]) -> torch.Tensor:
        return self.network(images, torch.from_numpy(self.tokenizer(["others", *words])))


def _model(where: str, name: str, network: torch.nn.Module, folder: Path) -> Any:
    """A model of the package in a folder, without its constructor, which reads weights."""
    kind = getattr(module(where), name)
    model = kind.__new__(kind)
    torch.nn.Module.__init__(model)
    model.model, model.model_dir = network, str(folder)
    return model.eval()


def _pipeline(file: str, name: str, model: Any) -> Any:
    configuration = {"framework": "pytorch", "task": "image-segmentation", "pipeline": {}, "model": {}}
    Path(model.model_dir, "configuration.json").write_text(json.dumps(configuration))
    return getattr(module(f"pipelines.cv.{file}"), name)(model=model, device="cpu")


def _test_configuration(rule: Preprocessing, *further: dict[str, Any]) -> Any:
    """How mmdetection is told to prepare a picture for testing; further: steps after resizing."""
    import mmcv

    steps = [
        {"type": "Resize", "keep_ratio": True},
        *further,
        {"type": "RandomFlip"},
        {"type": "Normalize", "mean": list(rule.mean), "std": list(rule.std), "to_rgb": True},
        {"type": "Pad", "size_divisor": rule.pad_multiple},
        {"type": "ImageToTensor", "keys": ["img"]},
        {"type": "Collect", "keys": ["img"]},
    ]
    scale = (rule.long_side, rule.short_side)
    aug = {"type": "MultiScaleFlipAug", "img_scale": scale, "flip": False, "transforms": steps}
    return mmcv.Config({"data": {"test": {"pipeline": [{"type": "LoadImageFromFile"}, aug]}}})

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

import numpy as np
import references
import torch
import vit_adapter_reference
import wheels
from lseg_reference import MODELSCOPE

from ms_seg.presets import Preprocessing, Preset
from ms_seg.text import Tokenizer

_HUB, _EASYCV = ("modelscope_hub", "0.5.1"), ("pai_easycv", "0.11.7")


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


# ------------------------------------------------------------------------------------------------------------- EasyCV


def easycv_semantic(network: torch.nn.Module, preset: Preset, classes: tuple[str, ...]) -> Any:
    """EasyCV's pipeline of SegFormer, from reading to results, around mmsegmentation's network and preprocessing."""
    _easycv("toolkit.modelscope.pipelines.base")
    pipeline = _easycv("toolkit.modelscope.pipelines.segmentation_pipeline").EasyCVSegmentationPipeline
    predictor = _easycv("predictors.segmentation").SegmentationPredictor
    _easycv("datasets.shared.pipelines.transforms")
    registry = importlib.import_module("easycv.datasets.registry").PIPELINES
    registry.register_module(_OnlyPicture, force=True)
    made = pipeline.__new__(pipeline)  # its constructor reads weights, and so does the predictor's
    made.predict_op = predictor.__new__(predictor)
    made.predict_op.__dict__ |= {
        "cfg": {"test_pipeline": [{"type": _OnlyPicture.__name__}]}, "pipelines": None, "batch_size": 1, "mode": "BGR",
        "input_processor_threads": 1, "input_processor": None, "output_processor": None, "device": "cpu",
        "save_results": False, "CLASSES": classes, "model": _Segmentor(network, preset.preprocessing),
    }  # fmt: skip
    return made


class _OnlyPicture:
    """What the network is given of a picture that was read: EasyCV's steps from here on are mmsegmentation's."""

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        return {"img": results["img"]}


class _Segmentor(torch.nn.Module):
    def __init__(self, network: torch.nn.Module, rule: Preprocessing):
        super().__init__()
        self.network, self.rule = network, rule

    def forward(self, img: torch.Tensor, mode: str) -> dict[str, list[np.ndarray]]:
        """img: (1, H, W, 3) uint8, BGR."""
        import mmcv

        assert mode == "test"
        image = mmcv.imrescale(img[0].numpy(), (self.rule.long_side, self.rule.short_side))
        image = mmcv.imnormalize(image, np.float32(self.rule.mean), np.float32(self.rule.std), to_rgb=True)
        logits = torch.from_numpy(references.forward(self.network, image.transpose(2, 0, 1)[None].copy()))
        for size in (image.shape[:2], img.shape[1:3]):
            logits = torch.nn.functional.interpolate(logits, tuple(size), mode="bilinear", align_corners=False)
        return {"seg_pred": [logits[0].argmax(0).numpy()]}


def _easycv(name: str) -> types.ModuleType:
    """A module of EasyCV, without what its packages import."""
    module("outputs")
    wheels.leave_out("torchvision.transforms", "jsonplus", "easycv.models.builder", "easycv.utils.checkpoint")
    folder = wheels.unpacked(*_EASYCV) / "easycv"
    packages = ("", "datasets", "datasets.shared", "datasets.shared.pipelines", "models", "predictors", "toolkit")
    for package in (*packages, "toolkit.modelscope", "toolkit.modelscope.pipelines"):
        wheels.package(f"easycv.{package}".rstrip("."), folder / package.replace(".", "/"))
    return importlib.import_module(f"easycv.{name}")

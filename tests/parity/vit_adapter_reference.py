"""ViT-Adapter in PyTorch: modelscope's copy of its backbone, with mmdetection's head of Mask2Former.

modelscope's head is mmdetection's, but for how it is called. Its copy of the backbone has mmcv's deformable attention
in place of the original's, which adds its query to the result; without that sum it is the original's.
"""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import references
import torch
import wheels
from lseg_reference import MODELSCOPE, TIMM

from ms_seg.presets import Preprocessing, Window

_FOLDER = "modelscope/models/cv/image_semantic_segmentation/vit_adapter"
_PACKAGE = "modelscopes_vit_adapter"


class Reference(torch.nn.Module):
    """A backbone and a head under the names of the published files."""

    def __init__(self, backbone: torch.nn.Module, head: torch.nn.Module):
        super().__init__()
        self.backbone, self.decode_head = backbone, head

    def extract_feat(self, images: torch.Tensor) -> list[torch.Tensor]:
        return self.backbone(images)


def build_backbone(sizes: dict[str, Any]) -> torch.nn.Module:
    """modelscope's BEiTAdapter of these sizes."""
    adapter = _modules().beit_adapter
    part = sizes["depth"] // 4
    backbone = adapter.BEiTAdapter(
        img_size=16 * sizes["grid"],
        patch_size=16,
        embed_dim=sizes["channels"],
        depth=sizes["depth"],
        num_heads=sizes["heads"],
        qkv_bias=True,
        init_values=1e-6,
        drop_path_rate=sizes.get("drop_path_rate", 0.0),
        conv_inplane=sizes["prior_width"],
        deform_num_heads=sizes["deform_heads"],
        deform_ratio=0.5,
        interaction_indexes=[[i * part, (i + 1) * part - 1] for i in range(4)],
    )
    if not sizes["add_query"]:
        for module in backbone.modules():
            if type(module).__name__ == "MultiScaleDeformableAttention":
                _leave_out_query(module)
    return backbone.eval()


def stages(depth: int) -> dict[str, str]:
    """Names of the backbone's stages, ours -> modelscope's, in the order of the forward pass."""
    names = {f"backbone.prior.down.{i}": f"backbone.spm.conv{i + 2}" for i in range(3)}
    for part in range(4):
        theirs = f"backbone.interactions.{part}"
        names[f"backbone.injectors.{part}"] = f"{theirs}.injector"
        for block in range(part * depth // 4, (part + 1) * depth // 4):
            names[f"backbone.beit.blocks.{block}"] = f"backbone.blocks.{block}"
        names[f"backbone.extractors.{part}"] = f"{theirs}.extractor"
    names |= {f"backbone.extra_extractors.{i}": f"backbone.interactions.3.extra_extractors.{i}" for i in range(2)}
    return names | {f"backbone.norm{level}": f"backbone.norm{level}" for level in (1, 2, 3, 4)}


def _leave_out_query(attention: torch.nn.Module) -> None:
    forward = attention.forward
    attention.forward = lambda query, **others: forward(query, **{**others, "identity": torch.zeros_like(query)})


def build_segmentor(network: Reference, window: Window, num_classes: int) -> torch.nn.Module:
    """modelscope's EncoderDecoderMask2Former around a network, which it shows windows of the input."""
    _modules()
    import mmcv

    theirs = importlib.import_module(f"{_PACKAGE}.models.segmentors.encoder_decoder_mask2former")

    class Segmentor(theirs.EncoderDecoderMask2Former):
        def __init__(self):
            torch.nn.Module.__init__(self)
            self.backbone, self.decode_head = network.backbone, network.decode_head
            self.align_corners, self.num_classes = False, num_classes
            self.test_cfg = mmcv.Config(
                {"mode": "slide", "crop_size": [window.crop] * 2, "stride": [window.stride] * 2}
            )

        def _decode_head_forward_test(self, features, _img_metas):
            class_logits, mask_logits = (layers[-1] for layers in self.decode_head(features, [{}]))
            classes = class_logits.softmax(-1)[..., :-1]
            return torch.einsum("nqc,nqhw->nchw", classes, mask_logits.sigmoid())

    return Segmentor().eval()


def network_input(picture: np.ndarray, rule: Preprocessing) -> torch.Tensor:
    """A picture (H, W, 3) as the configuration prepares it, by mmcv and modelscope's ResizeToMultiple: (1, 3, h, w)."""
    _modules()
    import mmcv

    resize = importlib.import_module(f"{_PACKAGE}.utils").ResizeToMultiple(size_divisor=32)
    image = mmcv.imrescale(picture, (rule.long_side, rule.short_side))
    image = resize({"img": image, "img_fields": ["img"], "seg_fields": []})["img"]
    image = mmcv.imnormalize(image, np.float32(rule.mean), np.float32(rule.std), to_rgb=False)
    return torch.from_numpy(image.transpose(2, 0, 1)[None].copy())


def register_resize() -> dict[str, Any]:
    """Let mmdetection's configurations name modelscope's ResizeToMultiple, as this one does."""
    _modules()
    from mmdet.datasets.builder import PIPELINES

    resize = importlib.import_module(f"{_PACKAGE}.utils").ResizeToMultiple
    PIPELINES.register_module(module=resize, force=True)
    return {"type": resize.__name__, "size_divisor": 32}


def _modules() -> SimpleNamespace:
    """modelscope's files, without what their packages import."""
    references.import_mmdet()
    wheels.leave_out("torchvision", "torchvision.ops.misc", "timm.data", "timm.models._builder")
    timm = wheels.unpacked(*TIMM) / "timm"
    wheels.package("timm", timm)
    wheels.package("timm.models", timm / "models")
    warnings.filterwarnings("ignore", module="timm")  # of a name that moved
    folder = wheels.unpacked(*MODELSCOPE) / _FOLDER
    for part in ("", "/models", "/models/backbone", "/models/backbone/base", "/models/segmentors"):
        wheels.package(_PACKAGE + part.replace("/", "."), Path(f"{folder}{part}"))
    return SimpleNamespace(beit_adapter=importlib.import_module(f"{_PACKAGE}.models.backbone.beit_adapter"))

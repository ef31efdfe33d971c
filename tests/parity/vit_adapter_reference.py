"""ViT-Adapter in PyTorch: modelscope's copy of its backbone, with mmdetection's head of Mask2Former.

modelscope's head is mmdetection's, but for how it is called. Its copy of the backbone has mmcv's deformable attention
in place of the original's, which adds its query to the result; without that sum it is the original's.
"""

from __future__ import annotations

import importlib
import warnings
from types import SimpleNamespace
from typing import Any

import references
import torch
import wheels
from lseg_reference import MODELSCOPE, TIMM

_FOLDER = "modelscope/models/cv/image_semantic_segmentation/vit_adapter/models/backbone"
_PACKAGE = "vit_adapter_backbone"


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


def _modules() -> SimpleNamespace:
    """modelscope's files of the backbone, without what their packages import."""
    references.import_mmdet()
    wheels.leave_out("torchvision", "torchvision.ops.misc", "timm.data", "timm.models._builder")
    timm = wheels.unpacked(*TIMM) / "timm"
    wheels.package("timm", timm)
    wheels.package("timm.models", timm / "models")
    warnings.filterwarnings("ignore", module="timm")  # of a name that moved
    folder = wheels.unpacked(*MODELSCOPE) / _FOLDER
    wheels.package(_PACKAGE, folder)
    wheels.package(f"{_PACKAGE}.base", folder / "base")
    return SimpleNamespace(beit_adapter=importlib.import_module(f"{_PACKAGE}.beit_adapter"))

"""LSeg in PyTorch: modelscope's copy of lang-seg's network, around timm's ViT and with modelscope's copy of CLIP.

The package builds one size; here its parts are put together in any. What it lacks of lang-seg stands below in PyTorch:
the reassembly of tokens from patches of 32 pixels, ResNet, and when the spatial block is applied.
"""

from __future__ import annotations

import importlib
import types
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
import wheels
from torch import nn

from ms_seg.presets import Preset

MODELSCOPE, TIMM = ("modelscope", "1.40.2"), ("timm", "1.0.31")


class Reference(nn.Module):
    """Images (N, 3, H, W) and tokens (K, 77) -> logits (N, K, H, W); keys begin with "net.", as in the files."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, images: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        # The network turns its logits to float32 halfway, which is no step when it runs in float32.
        with mock.patch.object(torch.Tensor, "float", lambda tensor: tensor):
            return self.net(images, labelset=tokens)


def build(preset: Preset) -> Reference:
    """The network of an LSeg preset."""
    sizes, parts = preset.sizes, modules()
    channels = sizes.get("map_channels") or [256, 512, 1024, 2048]
    net = parts["lseg_net"].LSeg.__new__(parts["lseg_net"].LSeg)  # its constructor has the one size
    nn.Module.__init__(net)
    net.clip_pretrained = _clip(parts["model"], sizes)
    net.pretrained = _vit(parts["lseg_vit"], sizes) if "patch" in sizes else ResNetLayers(sizes["depths"])
    net.scratch = parts["lseg_blocks"]._make_scratch(list(channels), sizes["features"], groups=1, expand=False)
    for number in (1, 2, 3, 4):
        setattr(net.scratch, f"refinenet{number}", parts["lseg_net"]._make_fusion_block(sizes["features"], True))
    net.scratch.head1 = nn.Conv2d(sizes["features"], sizes["embed_dim"], 1)
    net.scratch.output_conv = parts["lseg_blocks"].Interpolate(2, "bilinear", align_corners=True)
    if sizes["head_block"] != "none":
        block = getattr(parts["lseg_net"], f"{sizes['head_block']}_block")
        net.scratch.head_block = block(activation=sizes["activation"])
        net.scratch.output_conv = Regularised(net.scratch.head_block, sizes["block_depth"], net.scratch.output_conv)
    net.out_c, net.tau, net.tokenizer = sizes["embed_dim"], 0.07, None
    return Reference(net)


def stages(preset: Preset) -> dict[str, str]:
    """Names of the network's stages, ours -> the reference's, in the order of the forward pass."""
    sizes = preset.sizes
    if "patch" in sizes:
        theirs = "net.pretrained.model"
        names = {"backbone.vit.patch_embed.proj": f"{theirs}.patch_embed.proj"}
        names |= {f"backbone.vit.blocks.{i}": f"{theirs}.blocks.{i}" for i in range(sizes["depth"])}
        for level in range(4):
            ending = 4 if sizes["patch"] != (4, 8, 16, 32)[level] else 3
            names[f"backbone.readout.{level}"] = f"net.pretrained.act_postprocess{level + 1}.0"
            names[f"backbone.reassemble.{level}"] = f"net.pretrained.act_postprocess{level + 1}.{ending}"
    else:
        names = {"backbone.pool": "net.pretrained.layer1.3"}
        names |= {f"backbone.stages.{level}": f"net.pretrained.layer{level + 1}" for level in range(4)}
    names |= {f"decoder.project.{level}": f"net.scratch.layer{level + 1}_rn" for level in range(4)}
    for level in (3, 2, 1, 0):
        theirs, ours = f"net.scratch.refinenet{level + 1}", f"decoder.fuse.{level}"
        if level < 3:
            names[f"{ours}.skip_unit"] = f"{theirs}.resConfUnit1"
        names[f"{ours}.unit"] = f"{theirs}.resConfUnit2"
        # Ours doubles after a level's last convolution, and the finest level after the head.
        names[f"decoder.double.{level}"] = theirs if level else "net.scratch.head1"
    return names


# -------------------------------------------------------------------------------------------------- modelscope's parts


def modules() -> dict[str, types.ModuleType]:
    """The files of modelscope's LSeg and CLIP, and timm's ViT for them, without what their packages import."""
    wheels.leave_out("torchvision", "torchvision.ops.misc", "timm.data", "timm.models._builder")
    wheels.leave_out("text_driven_segmentation.clip")
    timm = wheels.unpacked(*TIMM) / "timm"
    wheels.package("timm", timm)
    wheels.package("timm.models", timm / "models")
    text_driven = wheels.unpacked(*MODELSCOPE) / "modelscope" / "models" / "cv" / "text_driven_segmentation"
    wheels.package("text_driven_segmentation", text_driven)
    names = ("model", "lseg_vit", "lseg_blocks", "lseg_net")
    parts = {name: importlib.import_module(f"text_driven_segmentation.{name}") for name in names}
    parts["model"].LayerNorm = nn.LayerNorm  # theirs turns its input to float32, whatever it is
    parts["lseg_net"].clip = types.SimpleNamespace(tokenize=lambda _tokenizer, tokens: tokens)  # already tokens
    parts["lseg_net"].forward_vit = _forward_backbone(parts["lseg_vit"].forward_vit)
    return parts


def _forward_backbone(forward_vit: Callable[..., tuple[torch.Tensor, ...]]) -> Callable[..., tuple[torch.Tensor, ...]]:
    return lambda pretrained, x: pretrained(x) if isinstance(pretrained, ResNetLayers) else forward_vit(pretrained, x)


def _clip(model: types.ModuleType, sizes: dict[str, Any]) -> nn.Module:
    """CLIP with a text tower of these sizes; its image tower is tiny, since nothing runs it."""
    text = (sizes["vocabulary"], sizes["text_width"], sizes["text_heads"], sizes["text_layers"])
    return model.CLIP(sizes["embed_dim"], 32, 1, 64, 16, 77, *text)


def timm_vit(sizes: dict[str, Any]) -> nn.Module:
    """timm's ViT, with its final norm and a classifier."""
    modules()
    vision_transformer = importlib.import_module("timm.models.vision_transformer").VisionTransformer
    patch, width = sizes["patch"], {"embed_dim": sizes["channels"], "num_heads": sizes["heads"]}
    return vision_transformer(sizes["grid"] * patch, patch, depth=sizes["depth"], num_classes=10, **width)


def _vit(lseg_vit: types.ModuleType, sizes: dict[str, Any]) -> nn.Module:
    channels, depth, side = sizes["channels"], sizes["depth"], sizes["grid"] * sizes["patch"]
    pretrained = lseg_vit._make_vit_b16_backbone(
        timm_vit(sizes),
        features=list(sizes["map_channels"]),
        size=[side, side],
        hooks=[depth * (level + 1) // 4 - 1 for level in range(4)],
        vit_features=channels,
        use_readout="project",
    )
    if sizes["patch"] == 32:
        _reassemble_from_32(pretrained, channels, sizes["map_channels"])
    return pretrained


# --------------------------------------------------------------------------------------- what the package does not have


def _reassemble_from_32(pretrained: nn.Module, channels: int, widths: tuple[int, ...]) -> None:
    """lang-seg's clip_vitb32_384: tokens of 32 pixels become maps of strides 4, 8, 16 and 32."""
    pretrained.model.patch_size = [32, 32]
    for level, (width, kernel) in enumerate(zip(widths, (8, 4, 2, 1), strict=True), 1):
        readout, transpose, unflatten = list(getattr(pretrained, f"act_postprocess{level}"))[:3]
        layers = [readout, transpose, unflatten, nn.Conv2d(channels, width, 1)]
        if kernel > 1:
            layers.append(nn.ConvTranspose2d(width, width, kernel, stride=kernel))
        setattr(pretrained, f"act_postprocess{level}", nn.Sequential(*layers))


class ResNetLayers(nn.Module):
    """torchvision's ResNet with bottlenecks as lang-seg's clip_resnet101 cuts it: layer1 begins with the stem."""

    def __init__(self, depths: tuple[int, ...]):
        super().__init__()
        stem = [nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
        self.layer1 = nn.Sequential(*stem, nn.MaxPool2d(3, stride=2, padding=1), _layer(64, 64, depths[0], 1))
        self.layer2 = _layer(256, 128, depths[1], 2)
        self.layer3 = _layer(512, 256, depths[2], 2)
        self.layer4 = _layer(1024, 512, depths[3], 2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        first = self.layer1(x)
        second = self.layer2(first)
        third = self.layer3(second)
        return first, second, third, self.layer4(third)


def _layer(in_channels: int, channels: int, depth: int, stride: int) -> nn.Sequential:
    first = _Bottleneck(in_channels, channels, stride)
    return nn.Sequential(first, *(_Bottleneck(4 * channels, channels, 1) for _ in range(depth - 1)))


class _Bottleneck(nn.Module):
    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(in_channels, channels, 1, bias=False), nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3, self.bn3 = nn.Conv2d(channels, 4 * channels, 1, bias=False), nn.BatchNorm2d(4 * channels)
        self.downsample = nn.Identity()
        if stride > 1 or in_channels != 4 * channels:
            conv = nn.Conv2d(in_channels, 4 * channels, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(4 * channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        return (self.bn3(self.conv3(y)) + self.downsample(x)).relu()


class Regularised(nn.Module):
    """lang-seg's forward with arch_option 1 or 2: the block `depth` times, last without activation; then resized."""

    def __init__(self, block: nn.Module, depth: int, resize: nn.Module):
        super().__init__()
        self.shared, self.depth, self.resize = (block,), depth, resize  # the tuple keeps its keys out of this module

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        for _ in range(self.depth - 1):
            logits = self.shared[0](logits)
        return self.resize(self.shared[0](logits, False))

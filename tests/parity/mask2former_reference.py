"""Mask2Former in PyTorch: mmdetection's, whose arithmetic ModelScope's checkpoints are for, and transformers'."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any
from unittest import mock

import numpy as np
import references
import torch
import vit_adapter_reference
import wheels

from ms_seg.presets import Preset
from ms_seg.presets.recipe import Recipe

_CONFIG = "mmdet/.mim/configs/mask2former/mask2former_r50_lsj_8x2_50e_coco-panoptic.py"  # the others begin with it
_SWIN_CONFIG = "mmdet/.mim/configs/mask2former/mask2former_swin-t-p4-w7-224_lsj_8x2_50e_coco-panoptic.py"
_STAGES = ("stage1", "stage2", "stage3", "stage4")


def build(preset: Preset, recipe: Recipe | None = None) -> torch.nn.Module:
    """mmdetection's network of these sizes, with the losses of a recipe if there is one."""
    references.import_mmdet()
    import mmcv
    from mmdet.models import build_detector
    from mmdet.models.backbones.resnet import Bottleneck, ResNet

    sizes = preset.sizes
    model = mmcv.Config.fromfile(str(wheels.unpacked(*references.MMDET) / _CONFIG)).model
    model.backbone.init_cfg = None
    if recipe is None:
        model.train_cfg = None
    else:
        model.train_cfg.update(
            num_points=recipe.points,
            oversample_ratio=recipe.oversample,
            importance_sample_ratio=recipe.importance,
        )
    head = model.panoptic_head
    if preset.backbone[0] == "swin":
        model.backbone = dict(
            type="SwinTransformer",
            embed_dims=sizes["channels"],
            depths=sizes["depths"],
            num_heads=sizes["heads"],
            window_size=sizes["window"],
            mlp_ratio=sizes["mlp_ratio"],
            drop_path_rate=sizes["drop_path_rate"],
        )
        head.in_channels = [sizes["channels"] * 2**level for level in range(4)]
    elif preset.backbone[0] == "vit_adapter":  # built apart: a ResNet stands in for it
        head.in_channels = [sizes["channels"]] * 4
    width, things = sizes["width"], sizes["num_classes"] * 3 // 5
    head.update(
        num_things_classes=things, num_stuff_classes=sizes["num_classes"] - things, num_queries=sizes["queries"]
    )
    head.update(feat_channels=width, out_channels=width)
    head.loss_cls.class_weight = [1.0] * sizes["num_classes"] + [0.1]
    pixel, query = head.pixel_decoder.encoder, head.transformer_decoder
    head.pixel_decoder.positional_encoding.num_feats = head.positional_encoding.num_feats = width // 2
    pixel.num_layers, query.num_layers = sizes["pixel_layers"], sizes["query_layers"]
    for transformer, hidden in ((pixel, sizes["pixel_hidden"]), (query, sizes["query_hidden"])):
        layers = transformer.transformerlayers
        layers.attn_cfgs.update(embed_dims=width, num_heads=sizes["decoder_heads"])
        layers.ffn_cfgs.update(embed_dims=width, feedforward_channels=hidden)
    pixel.transformerlayers.attn_cfgs.num_points = sizes["points"]
    query.transformerlayers.feedforward_channels = sizes["query_hidden"]
    depths = sizes["depths"] if preset.backbone[0] == "resnet" else (3, 4, 6, 3)
    with mock.patch.dict(ResNet.arch_settings, {50: (Bottleneck, depths)}):
        made = build_detector(model)
    made.eval()  # which, of one backbone there, returns nothing
    if preset.backbone[0] == "vit_adapter":
        made = vit_adapter_reference.Reference(vit_adapter_reference.build_backbone(sizes), made.panoptic_head)
    return made


def optimizer(model: torch.nn.Module) -> torch.optim.Optimizer:
    """mmdetection's optimiser of a network on a Swin Transformer; each group keeps its rate as `initial_lr`."""
    import mmcv
    from mmcv.runner import build_optimizer

    made = build_optimizer(
        model, mmcv.Config.fromfile(str(wheels.unpacked(*references.MMDET) / _SWIN_CONFIG)).optimizer
    )
    for group in made.param_groups:
        group["initial_lr"] = group["lr"]
    return made


def build_transformers(preset: Preset) -> torch.nn.Module:
    """transformers' network of these sizes, on a Swin Transformer."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    sizes = preset.sizes
    backbone = SwinConfig(
        embed_dim=sizes["channels"],
        depths=list(sizes["depths"]),
        num_heads=list(sizes["heads"]),
        window_size=sizes["window"],
        out_features=list(_STAGES),
    )
    config = Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=sizes["width"],
        mask_feature_size=sizes["width"],
        hidden_dim=sizes["width"],
        num_attention_heads=sizes["decoder_heads"],
        encoder_layers=sizes["pixel_layers"],
        encoder_feedforward_dim=sizes["pixel_hidden"],
        decoder_layers=sizes["query_layers"] + 1,  # it counts the prediction before the first
        dim_feedforward=sizes["query_hidden"],
        num_queries=sizes["queries"],
        num_labels=sizes["num_classes"],
        use_auxiliary_loss=True,
    )
    return Mask2FormerForUniversalSegmentation(config).eval()


def all_layers(model: torch.nn.Module, images: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Class and mask logits before the first layer and after each, from either network."""
    if not hasattr(model, "config"):
        return list(zip(*head(model)(model.extract_feat(images), [{}] * len(images)), strict=True))
    answer = model(pixel_values=images, output_auxiliary_logits=True)
    pairs = [*answer.auxiliary_logits, answer]
    return [(pair["class_queries_logits"], pair["masks_queries_logits"]) for pair in pairs]


def head(model: torch.nn.Module) -> torch.nn.Module:
    """mmdetection's, which predicts and has the losses."""
    return model.panoptic_head if hasattr(model, "panoptic_head") else model.decode_head


def named(pairs: list[tuple[Any, Any]]) -> dict[str, np.ndarray]:
    """The predictions of all layers under names of their own, from theirs or from ours."""
    outputs = {}
    for layer, pair in enumerate(pairs):
        for name, logits in zip(("class_logits", "mask_logits"), pair, strict=True):
            outputs[f"{name}.{layer}"] = logits.detach().numpy() if torch.is_tensor(logits) else logits.asnumpy()
    return outputs


def outputs(
    model: torch.nn.Module, names: dict[str, str], images: np.ndarray, kept: MutableMapping[str, np.ndarray]
) -> MutableMapping[str, np.ndarray]:
    """A forward pass of mmdetection's: outputs of submodules (our name -> theirs), and all layers' predictions."""
    modules = dict(model.named_modules())

    def keep(ours: str, theirs: str):
        def hook(_module, _inputs, output):
            values = output.detach().numpy().copy()
            kept[ours] = values.swapaxes(0, 1) if ".layers." in theirs else values  # tokens first, then the batch

        return hook

    handles = [modules[theirs].register_forward_hook(keep(ours, theirs)) for ours, theirs in names.items()]
    with torch.no_grad():
        pairs = all_layers(model, torch.from_numpy(images).to(next(model.parameters()).dtype))
    for handle in handles:
        handle.remove()
    kept.update(named(pairs))
    return kept


def stages(preset: Preset) -> dict[str, str]:
    """Names of the stages, ours -> mmdetection's, in the order of the forward pass."""
    head = "decode_head" if preset.backbone[0] == "vit_adapter" else "panoptic_head"
    pixel, query = f"{head}.pixel_decoder", f"{head}.transformer_decoder"
    if preset.backbone[0] == "vit_adapter":
        names = vit_adapter_reference.stages(preset.sizes["depth"])
    elif preset.backbone[0] == "swin":
        names = {f"backbone.norm{level}": f"backbone.norm{level}" for level in range(4)}
    else:
        names = {f"backbone.stages.{level}": f"backbone.layer{level + 1}" for level in range(4)}
    names |= {f"pixel_decoder.input_proj.{i}": f"{pixel}.input_convs.{i}" for i in range(3)}
    layers = {
        f"pixel_decoder.layers.{i}": f"{pixel}.encoder.layers.{i}" for i in range(preset.arguments["pixel_layers"])
    }
    names |= layers
    names |= {
        "pixel_decoder.lateral": f"{pixel}.lateral_convs.0",
        "pixel_decoder.output": f"{pixel}.output_convs.0.gn",
    }
    return names | {f"query_decoder.layers.{i}": f"{query}.layers.{i}" for i in range(preset.arguments["query_layers"])}

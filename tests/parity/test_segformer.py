"""SegFormer against transformers and mmsegmentation, running beside it: small networks, every stage."""

from __future__ import annotations

import re
from pathlib import Path

import drawn
import mindspore as ms
import numpy as np
import pytest
import references
import torch
from comparison import compare
from errors import relative_error

import ms_seg
from ms_seg.presets import find_preset

SMALL = {"embed_dims": (16, 32, 80, 128), "depths": (1, 2, 1, 1), "head_width": 24, "num_classes": 11}
FAMILIES = ("segformer_b0_ade20k", "segformer_b0_ade20k_mmseg", "segformer_b0_cocostuff164k")


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    "shape", [(1, 3, 64, 96), (2, 3, 67, 81), (1, 3, 128, 40)], ids=lambda shape: "x".join(map(str, shape))
)
def test_every_stage_equals_the_reference(name: str, shape: tuple[int, ...]):
    result = compare(name, shape, seed=sum(shape), **SMALL)
    assert result.first_diverging is None, {stage.name: stage.error for stage in result.stages}


@pytest.mark.parametrize("name", FAMILIES[:2])
def test_our_float32_error_is_no_larger_than_twice_pytorchs(name: str):
    logits = compare(name, (1, 3, 96, 96), seed=5, float64=True, **SMALL).stages[-1]
    assert logits.ours_against_float64 <= 2 * logits.theirs_against_float64


@pytest.mark.parametrize("name", FAMILIES[:2])
def test_every_size_of_picture_works(name: str):
    model = ms_seg.create_model(name, **SMALL)
    for height, width in ((32, 32), (33, 47), (31, 90)):
        logits = model(ms.Tensor(drawn.images((1, 3, height, width), 0)))
        assert logits.shape == (1, 11, -(-height // 4), -(-width // 4))


# ------------------------------------------------------------------------------------------------------------ epsilons


def quiet(model: torch.nn.Module) -> torch.nn.Module:
    """The same network with faint activations before its LayerNorms, where an epsilon counts."""
    faint = re.compile(
        r"(patch_embeddings\.\d|layers\.\d\.0|sr|self\.sr)\.?(proj|projection|layer_norm|norm|)\.(weight|bias)$"
    )
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if faint.search(name):
                tensor.mul_(0.003)
    return model


def with_original_epsilons(model: torch.nn.Module) -> torch.nn.Module:
    """transformers' network with the original's epsilons: 1e-5 (PyTorch's default) after convolutions, else 1e-6."""
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.LayerNorm):
            after_convolution = "patch_embeddings" in name or "attention.self" in name
            module.eps = 1e-5 if after_convolution else 1e-6
    return model


def original_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """transformers' state dict under the original's names, written down once more, apart from the converter's table."""
    renamed = {}
    for name, tensor in state.items():
        name = name.replace("segformer.encoder.", "backbone.").replace("attention.self.", "attn.")
        name = re.sub(r"patch_embeddings\.(\d)", lambda m: f"patch_embed{int(m[1]) + 1}", name)
        name = re.sub(r"backbone\.block\.(\d)", lambda m: f"backbone.block{int(m[1]) + 1}", name)
        name = re.sub(r"backbone\.layer_norm\.(\d)", lambda m: f"backbone.norm{int(m[1]) + 1}", name)
        name = re.sub(r"linear_c\.(\d)", lambda m: f"linear_c{int(m[1]) + 1}", name)
        name = re.sub(r"layer_norm_(\d)", r"norm\1", name).replace("layer_norm", "norm")
        name = name.replace("attention.output.dense", "attn.proj").replace("attn.query", "attn.q")
        name = name.replace("mlp.dense", "mlp.fc").replace("linear_fuse", "linear_fuse.conv")
        name = name.replace("batch_norm", "linear_fuse.bn").replace("classifier", "linear_pred")
        renamed[name] = tensor
    for key in [name for name in renamed if ".attn.key." in name]:
        value = renamed.pop(key.replace(".key.", ".value."))
        renamed[key.replace(".key.", ".kv.")] = torch.cat([renamed.pop(key), value])
    unused = {"weight": torch.ones(11, 128, 1, 1), "bias": torch.ones(11)}
    return renamed | {f"decode_head.conv_seg.{leaf}": tensor for leaf, tensor in unused.items()}


@pytest.mark.parametrize("origin", ["transformers", "mmsegmentation", "original"])
def test_epsilons_are_the_references(origin: str, tmp_path: Path):
    name = "segformer_b0_ade20k_mmseg" if origin == "mmsegmentation" else "segformer_b0_ade20k"
    reference = quiet(references.build_reference(find_preset(name).override(**SMALL), seed=3))
    state = reference.state_dict()
    if origin == "original":
        state = original_names(with_original_epsilons(reference).state_dict())
    torch.save(state, tmp_path / "quiet.pth")
    images = drawn.images((1, 3, 64, 64), 4)
    theirs = references.forward(reference, images)

    ours = ms_seg.create_model(name, tmp_path / "quiet.pth", **SMALL)
    assert relative_error(ours(ms.Tensor(images)).asnumpy(), theirs) <= 1e-5
    for field in ("norm_eps", "conv_norm_eps"):
        other = {field: 1e-6 if ours.preset.sizes[field] == 1e-5 else 1e-5}
        wrong = ms_seg.create_model(name, tmp_path / "quiet.pth", **SMALL, **other)
        assert relative_error(wrong(ms.Tensor(images)).asnumpy(), theirs) > 1e-4, f"{field} does not matter here"


def test_the_levels_are_concatenated_in_the_references_order(tmp_path: Path):
    reference = references.build_reference(find_preset("segformer_b0_ade20k").override(**SMALL), seed=3)
    path = references.save_checkpoint(reference, tmp_path / "model.pth")
    images = drawn.images((1, 3, 64, 64), 4)
    wrong = ms_seg.create_model("segformer_b0_ade20k", path, concat_order="fine_to_coarse", **SMALL)
    assert relative_error(wrong(ms.Tensor(images)).asnumpy(), references.forward(reference, images)) > 0.1


def test_a_backbone_file_fills_the_backbone(tmp_path: Path):
    from transformers import SegformerConfig, SegformerForImageClassification

    config = SegformerConfig(hidden_sizes=list(SMALL["embed_dims"]), depths=list(SMALL["depths"]), num_labels=1000)
    reference = references.draw_weights(SegformerForImageClassification(config), 1).eval()
    torch.save(reference.state_dict(), tmp_path / "mit.pth")
    images = drawn.images((1, 3, 64, 96), 2)
    with torch.no_grad():
        features = reference.segformer(torch.from_numpy(images), output_hidden_states=True).hidden_states
    model = ms_seg.create_model("segformer_b0_ade20k", tmp_path / "mit.pth", **SMALL)
    for ours, theirs in zip(model.backbone(ms.Tensor(images)), features, strict=True):
        assert relative_error(ours.asnumpy(), theirs.numpy()) <= 1e-5
    assert np.isfinite(model(ms.Tensor(images)).asnumpy()).all()

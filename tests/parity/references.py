"""The PyTorch references, from their published packages, on the CPU, with weights drawn so that all branches count.

SegFormer comes from transformers and from mmsegmentation 0.30; LSeg has a file of its own. mmsegmentation needs mmcv
1.7.2, which no longer installs with current tools; its Python source is fetched once into a cache folder, and its
compiled operators, which none of these networks calls, are left out.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tarfile
import tempfile
import warnings
from collections.abc import Mapping, MutableMapping
from pathlib import Path

import drawn
import numpy as np
import torch
import wheels

from ms_seg.presets import Preset

MMCV, MMDET = "1.7.2", ("mmdet", "2.28.2")
REDUCTIONS = [8, 4, 2, 1]


def build_reference(preset: Preset, seed: int = 0) -> torch.nn.Module:
    """The network that a preset names, in the reference whose arithmetic the preset follows, in eval mode."""
    return draw_weights(construct_reference(preset), seed).eval()


def construct_reference(preset: Preset) -> torch.nn.Module:
    """The same as its package initialises it."""
    if preset.system == "lseg":
        import lseg_reference  # imported late: it needs two wheels that SegFormer does not

        return lseg_reference.build(preset)
    if preset.system == "mask2former":
        import mask2former_reference

        return mask2former_reference.build(preset)
    return _build_mmseg(preset) if preset.arguments["level_norm"] else _build_transformers(preset)


def forward(model: torch.nn.Module, images: np.ndarray, *words: np.ndarray) -> np.ndarray:
    """Logits before any resizing, in the model's own precision: (N, C, H/4, W/4), or of words (N, K, H, W)."""
    with torch.no_grad():
        x = torch.from_numpy(images).to(next(model.parameters()).dtype)
        if words:
            return model(x, *map(torch.from_numpy, words)).numpy()
        if hasattr(model, "backbone"):
            return model.decode_head(model.backbone(x)).numpy()
        return model(pixel_values=x).logits.numpy()


def draw_weights(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Weights under which no line of the network can hide, in every tensor but counters."""
    state = model.state_dict()
    arrays = drawn.weights({name: tuple(tensor.shape) for name, tensor in state.items()}, seed)
    with torch.no_grad():
        for name, tensor in state.items():
            if tensor.dtype.is_floating_point:
                tensor.copy_(torch.from_numpy(arrays[name]))
    return model


def save_checkpoint(model: torch.nn.Module, path: Path) -> Path:
    torch.save(model.state_dict(), path)
    return path


def outputs(
    model: torch.nn.Module,
    names: Mapping[str, str],
    *inputs: np.ndarray,
    kept: MutableMapping[str, np.ndarray] | None = None,
) -> MutableMapping[str, np.ndarray]:
    """A forward pass: the outputs of submodules (our name -> theirs), under our names, and the logits.

    kept: where to put them, a new dictionary if None.
    """
    kept = {} if kept is None else kept
    if hasattr(model, "extract_feat"):
        import mask2former_reference

        return mask2former_reference.outputs(model, names, *inputs, kept=kept)
    modules = dict(model.named_modules())

    def keep(name: str):
        def hook(_module, _inputs, output):
            output = output[0] if isinstance(output, tuple) else output
            kept[name] = output.detach().numpy().copy()  # the next layer may be an in-place ReLU

        return hook

    handles = [modules[theirs].register_forward_hook(keep(ours)) for ours, theirs in names.items()]
    kept["logits"] = forward(model, *inputs)
    for handle in handles:
        handle.remove()
    return kept


# ------------------------------------------------------------------------------------------------------------ SegFormer


def _build_transformers(preset: Preset) -> torch.nn.Module:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    sizes = preset.sizes
    return SegformerForSemanticSegmentation(
        SegformerConfig(
            num_labels=sizes["num_classes"],
            hidden_sizes=list(sizes["embed_dims"]),
            depths=list(sizes["depths"]),
            decoder_hidden_size=sizes["head_width"],
            num_attention_heads=list(sizes["heads"]),
            sr_ratios=REDUCTIONS,
            mlp_ratios=[4] * 4,
            patch_sizes=[7, 3, 3, 3],
            strides=[4, 2, 2, 2],
        )
    )


def _build_mmseg(preset: Preset) -> torch.nn.Module:
    import_mmseg()
    from mmseg.models import build_backbone, build_head

    sizes = preset.sizes
    backbone = build_backbone(
        dict(
            type="MixVisionTransformer",
            embed_dims=sizes["embed_dims"][0],
            num_stages=4,
            num_layers=list(sizes["depths"]),
            num_heads=list(sizes["heads"]),
            patch_sizes=[7, 3, 3, 3],
            sr_ratios=REDUCTIONS,
            out_indices=(0, 1, 2, 3),
            mlp_ratio=4,
            qkv_bias=True,
            drop_path_rate=0.1,
        )
    )
    head = build_head(
        dict(
            type="SegformerHead",
            in_channels=list(sizes["embed_dims"]),
            in_index=[0, 1, 2, 3],
            channels=sizes["head_width"],
            dropout_ratio=0.1,
            num_classes=sizes["num_classes"],
            norm_cfg=dict(type="BN", requires_grad=True),
            align_corners=False,
        )
    )
    return torch.nn.ModuleDict({"backbone": backbone, "decode_head": head}).eval()


# What each stage of ours is called in the two references; all of them give tokens or maps of the same values.
STAGES = {
    "hf": {
        "backbone.stages.{i}.patch_embed": "segformer.encoder.patch_embeddings.{i}",
        "backbone.stages.{i}.blocks.{j}": "segformer.encoder.block.{i}.{j}",
        "backbone.stages.{i}.norm": "segformer.encoder.layer_norm.{i}",
        "decoder.project.{i}": "decode_head.linear_c.{i}",
        "decoder.fuse.norm": "decode_head.batch_norm",
        "decoder.classify": "decode_head.classifier",
    },
    "mmseg": {
        "backbone.stages.{i}.patch_embed": "backbone.layers.{i}.0",
        "backbone.stages.{i}.blocks.{j}": "backbone.layers.{i}.1.{j}",
        "backbone.stages.{i}.norm": "backbone.layers.{i}.2",
        "decoder.project.{i}": "decode_head.convs.{i}",
        "decoder.fuse.norm": "decode_head.fusion_conv.bn",
        "decoder.classify": "decode_head.conv_seg",
    },
}


def stages(preset: Preset) -> dict[str, str]:
    """Names of a network's stages, ours -> the reference's, in the order of the forward pass."""
    if preset.system == "lseg":
        import lseg_reference

        return lseg_reference.stages(preset)
    if preset.system == "mask2former":
        import mask2former_reference

        return mask2former_reference.stages(preset)
    table = STAGES["mmseg" if preset.arguments["level_norm"] else "hf"]
    names: dict[str, str] = {}
    for i, depth in enumerate(preset.sizes["depths"]):
        for ours, theirs in list(table.items())[:3]:
            for j in range(depth if "{j}" in ours else 1):
                names[ours.format(i=i, j=j)] = theirs.format(i=i, j=j)
    for ours, theirs in list(table.items())[3:]:
        for i in range(4 if "{i}" in ours else 1):
            names[ours.format(i=i)] = theirs.format(i=i)
    return names


# ----------------------------------------------------------------------------------------------------- mmcv and mmseg


def import_mmseg() -> None:
    """Make `import mmcv, mmseg` work without torchvision and without mmcv's compiled operators."""
    if "mmcv._ext" in sys.modules:
        return
    sys.path.insert(0, str(mmcv_source()))
    warnings.filterwarnings("ignore", module="mmcv|mmseg")  # of releases that came and went
    wheels.leave_out("torchvision", "mmcv._ext")
    import mmseg  # noqa: F401


def import_mmdet() -> None:
    """Make `import mmdet` work, with mmcv as above and without what only prints tables."""
    if "mmdet" not in sys.modules:
        import_mmseg()
        wheels.leave_out("terminaltables")
        sys.path.insert(0, str(wheels.unpacked(*MMDET)))
        import mmdet.models  # noqa: F401


def mmcv_source(version: str = MMCV) -> Path:
    """The folder that holds mmcv's Python package, downloaded once."""
    folder = wheels.CACHE / f"mmcv-{version}"
    if not folder.is_dir():
        wheels.CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=wheels.CACHE) as scratch:
            constraint = Path(scratch, "constraint.txt")
            constraint.write_text("setuptools<70\n")  # its setup.py imports pkg_resources
            subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "pip",
                    "download",
                    "-q",
                    "--use-pep517",
                    "--no-deps",
                    "--no-binary",
                    "mmcv",
                    "-d",
                    scratch,
                ]
                + [f"mmcv=={version}"],
                check=True,
                env={**os.environ, "PIP_CONSTRAINT": str(constraint), "PIP_BUILD_CONSTRAINT": str(constraint)},
            )
            with tarfile.open(Path(scratch, f"mmcv-{version}.tar.gz")) as archive:
                archive.extractall(scratch)
            with contextlib.suppress(FileExistsError, OSError):  # another process was first
                Path(scratch, f"mmcv-{version}").rename(folder)
    return folder

"""transformers' config.json: which network it describes, in the names of ours, and back.

Sources: transformers 4.57 SegformerConfig, Mask2FormerConfig and SwinConfig, whose defaults hold for what a file leaves
out; what our networks cannot be is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convert import CheckpointError
from convert.reading.entry import shown
from convert.reading.folder import described_file, read_json
from ms_seg.checkpoints.fields import Fields, Known, brief
from ms_seg.checkpoints.notes import Notes
from ms_seg.checkpoints.transformers.classes import count_classes, num_classes, read_labels
from ms_seg.checkpoints.transformers.image_processor import (
    FILE,
    NESTED,
    read_image_processor,
    read_label_values,
    told_processor,
)
from ms_seg.data.numbering import IGNORED
from ms_seg.label_sets import LabelSet, labels_of, numbered_labels
from ms_seg.presets import PRESETS, TASKS, Preset

CONFIG = "config.json"

_OTHERS = {
    "maskformer": "a MaskFormer, the network before Mask2Former, whose decoders are others",
    "oneformer": "a OneFormer, which is asked with a text and has other decoders",
    "detr": "a DETR",
}

_MIT_SIZES = ("sr_ratios", "patch_sizes", "strides", "mlp_ratios")  # of which we have the same names

# See `fields.Known`.
_SEGFORMER = {
    "num_channels": (3, 3),
    "num_encoder_blocks": (4, 4),
    "sr_ratios": ([8, 4, 2, 1], None),
    "patch_sizes": ([7, 3, 3, 3], None),
    "strides": ([4, 2, 2, 2], None),
    "mlp_ratios": ([4, 4, 4, 4], None),
    "hidden_act": ("gelu", "gelu"),
    "depths": ([2, 2, 2, 2], None),
    "hidden_sizes": ([32, 64, 160, 256], None),
    "num_attention_heads": ([1, 2, 5, 8], None),
    "decoder_hidden_size": (256, None),
    "drop_path_rate": (0.1, None),
    "classifier_dropout_prob": (0.1, None),
}
_MASK2FORMER = {
    "activation_function": ("relu", "relu"),
    "pre_norm": (False, False),
    "enforce_input_projection": (False, False),
    "common_stride": (4, 4),
    "feature_strides": ([4, 8, 16, 32], [4, 8, 16, 32]),
    "feature_size": (256, None),
    "mask_feature_size": (256, None),
    "hidden_dim": (256, None),
    "num_queries": (100, None),
    "num_attention_heads": (8, None),
    "encoder_layers": (6, None),
    "encoder_feedforward_dim": (1024, None),
    "decoder_layers": (10, None),
    "dim_feedforward": (2048, None),
}
_SWIN = {
    "num_channels": (3, 3),
    "patch_size": (4, 4),
    "mlp_ratio": (4.0, None),
    "qkv_bias": (True, True),
    "hidden_act": ("gelu", "gelu"),
    "use_absolute_embeddings": (False, False),
    "layer_norm_eps": (1e-5, 1e-5),
    "embed_dim": (96, None),
    "depths": ([2, 2, 6, 2], None),
    "num_heads": ([3, 6, 12, 24], None),
    "window_size": (7, None),
    "drop_path_rate": (0.1, None),
}
_RESNET = {
    "num_channels": (3, 3),
    "layer_type": ("bottleneck", "bottleneck"),
    "hidden_act": ("relu", "relu"),
    "downsample_in_first_stage": (False, False),
    "downsample_in_bottleneck": (False, False),
    "embedding_size": (64, None),
    "hidden_sizes": ([256, 512, 1024, 2048], None),
    "depths": ([3, 4, 6, 3], None),
}
# Parts of models, of which a file says all but what is checked here.
_PARTS: Mapping[str, Known] = {
    "swin": _SWIN, "resnet": _RESNET, "beit": {}, "clip": {}, "clip_text_model": {},
}  # fmt: skip
_STAGES = ["stage1", "stage2", "stage3", "stage4"]
_TIMM_RESNETS = ("resnet50", "resnet101", "resnet152")  # those that are torchvision's


def read_transformers(folder: Path) -> Notes | None:
    """What the JSON files of transformers say in a folder; None where there are none, and for another program's.

    Raises CheckpointError for a model that is none of ours, and for what cannot be used.
    """
    path = described_file(folder, CONFIG)
    if path is None:
        return None
    config = read_json(path)
    kind = config.get("model_type")
    if kind is None:  # another program's
        return None
    if kind in _PARTS:
        Fields(str(path), config).read(_PARTS[kind])
        return Notes(str(path))
    if kind not in _NETWORKS:
        what = _OTHERS.get(str(kind), f"of the type {shown(str(kind))}")
        raise CheckpointError(f"{path} describes a model that is {what}: known are {', '.join(_NETWORKS)}.")
    if config.get("quantization_config"):
        raise CheckpointError(f"{path} describes a quantised model: save it in float32 or float16 first.")
    if not _segments(config):
        return Notes(str(path))
    return _NETWORKS[kind](Fields(str(path), config), folder)


def _segments(config: Mapping[str, Any]) -> bool:
    """Whether it is a whole model that segments: of a classifier only the encoder is of use."""
    names = config.get("architectures")
    return not isinstance(names, list) or not any("ImageClassification" in str(name) for name in names)


def _segformer(config: Fields, folder: Path) -> Notes:
    own = config.read(_SEGFORMER)
    backbone = {
        "embed_dims": own["hidden_sizes"],
        "heads": own["num_attention_heads"],
        **{key: own[key] for key in ("depths", *_MIT_SIZES, "drop_path_rate")},
    }
    labels, lines = read_labels(config)
    fields, told = _preprocessing(config, folder, "segformer", "semantic_loss_ignore_index")
    return Notes(
        config.title,
        "segformer",
        fields=fields,
        labels=labels,
        published=_row(config, folder, labels),
        lines=(*lines, *told),
        backbone=("mit", backbone),
        arithmetic={"heads": own["num_attention_heads"], "strides": own["strides"], "concat_order": "coarse_to_fine"},
        arguments={
            "head_width": own["decoder_hidden_size"],
            "level_norm": False,
            "dropout_rate": own["classifier_dropout_prob"],
            **num_classes(config),
        },
    )


def _mask2former(config: Fields, folder: Path) -> Notes:
    own = config.read(_MASK2FORMER)
    if not own["feature_size"] == own["mask_feature_size"] == own["hidden_dim"]:
        raise config.error(
            "hidden_dim", f"{own['hidden_dim']}, another width than its feature_size or mask_feature_size: "
            "only one width can be loaded here",
        )  # fmt: skip
    backbone, (labels, lines) = _backbone(config), read_labels(config)
    row = _row(config, folder, labels)
    fields, told = _preprocessing(config, folder, "mask2former", "ignore_value")
    heads = {"heads": backbone[1]["heads"]} if backbone and "heads" in backbone[1] else {}
    return Notes(
        config.title,
        "mask2former",
        fields={**fields, **_tasks(row, labels)},
        labels=labels,
        published=row,
        lines=(*lines, *told),
        backbone=backbone,
        arithmetic={"decoder_heads": own["num_attention_heads"], **heads},
        arguments={
            "queries": own["num_queries"],
            "width": own["hidden_dim"],
            "pixel_layers": own["encoder_layers"],
            "pixel_hidden": own["encoder_feedforward_dim"],
            "query_layers": own["decoder_layers"] - 1,  # transformers counts the prediction before the first
            "query_hidden": own["dim_feedforward"],
            **num_classes(config),
        },
    )


def _row(config: Fields, folder: Path, labels: str | LabelSet | None) -> Preset | None:
    """The published model that a folder is a copy of, by its place in Hugging Face's cache, or by where it was loaded
    from and its classes: a model that was trained on from there has classes of its own."""
    cached = next((part for part in folder.resolve().parts if part.startswith("models--")), "")
    names = [cached.removeprefix("models--").replace("--", "/"), config.values.get("_name_or_path")]
    for row in PRESETS.values():
        if row.label_set == labels and any(p.hub == "huggingface" and p.id in names for p in row.published):
            return row
    return None


def _tasks(row: Preset | None, labels: str | LabelSet | None) -> dict[str, Any]:
    """What a Mask2Former answers: what its published row says, or what all of these classes are published for. No file
    of transformers says it."""
    rows = (other for other in PRESETS.values() if other.output == "queries" and other.label_set == labels)
    trained = {other.tasks for other in rows if any(entry.hub == "huggingface" for entry in other.published)}
    if row is not None:
        return {"tasks": row.tasks}
    return {"tasks": trained.pop()} if len(trained) == 1 else {"tasks": TASKS, "ask_task": True}


def _backbone(config: Fields) -> tuple[str, dict[str, Any]] | None:
    """The backbone of a Mask2Former; None of one that only its shapes describe."""
    if config.values.get("backbone_config") is None:
        _check_timm(config)
        return None
    inner = config.inner("backbone_config")
    kind = inner.values.get("model_type")
    if kind == "timm_backbone":
        _check_timm(inner)
        return None
    if kind not in ("swin", "resnet"):
        raise inner.error("model_type", f"{shown(str(kind))}: only swin and resnet can be loaded here")
    if inner.values.get("out_features") not in (None, _STAGES):
        raise inner.error("out_features", f"{brief(inner.values['out_features'])}: only {_STAGES} can be loaded here")
    if kind == "resnet":
        return _resnet(inner)
    own = inner.read(_SWIN)
    return "swin", {
        "channels": own["embed_dim"],
        "depths": own["depths"],
        "heads": own["num_heads"],
        "window": own["window_size"],
        **{key: own[key] for key in ("mlp_ratio", "drop_path_rate")},
    }


def _resnet(config: Fields) -> tuple[str, dict[str, Any]]:
    own = config.read(_RESNET)
    stem = own["embedding_size"]
    usual = tuple(4 * stem * 2**level for level in range(4))
    if own["hidden_sizes"] != usual:
        raise config.error("hidden_sizes", f"{brief(own['hidden_sizes'])}: with embedding_size={stem} only "
                           f"{list(usual)} can be loaded here")  # fmt: skip
    return "resnet", {"depths": own["depths"], "stem_channels": stem}


def _check_timm(config: Fields) -> None:
    """Raise CheckpointError for a backbone of timm's that ours cannot be, by its name; its sizes are in its shapes."""
    name = config.values.get("backbone")
    if name is not None and str(name).partition(".")[0] not in _TIMM_RESNETS:
        raise config.error("backbone", f"{brief(name)}: of timm's only {', '.join(_TIMM_RESNETS)} can be loaded here")


_NETWORKS = {"segformer": _segformer, "mask2former": _mask2former}


def write_config(preset: Preset) -> dict[str, Any]:
    """The configuration of a model as transformers has it. Raises ValueError for a network that it does not have."""
    write = {"segformer": _write_segformer, "mask2former": _write_mask2former}.get(preset.system)
    if write is None:
        raise ValueError(f"transformers has no {preset.system}: {preset.name} cannot be written as its folder")
    labels = labels_of(preset.label_set) or numbered_labels(preset.told_apart or 0)
    names = labels.names[1:] if preset.told_apart != preset.num_classes else labels.names
    names += tuple(f"LABEL_{index}" for index in range(len(names), preset.num_classes or 0))
    return {
        **write(preset),
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
        "dtype": "float32",
    }


def _write_segformer(preset: Preset) -> dict[str, Any]:
    sizes = preset.sizes
    _check(preset, "mit", level_norm=False, concat_order="coarse_to_fine", norm_eps=1e-5, conv_norm_eps=1e-5)
    return {
        "architectures": ["SegformerForSemanticSegmentation"],
        "model_type": "segformer",
        **{key: value for key, (value, ours) in _SEGFORMER.items() if ours is not None},
        "hidden_sizes": list(sizes["embed_dims"]),
        "num_attention_heads": list(sizes["heads"]),
        **{key: list(sizes[key]) for key in ("depths", *_MIT_SIZES)},
        "decoder_hidden_size": sizes["head_width"],
        "drop_path_rate": sizes.get("drop_path_rate", 0.0),
        "classifier_dropout_prob": sizes["dropout_rate"],
        "reshape_last_stage": True,
        "semantic_loss_ignore_index": IGNORED,
    }


def _write_mask2former(preset: Preset) -> dict[str, Any]:
    sizes = preset.sizes
    _check(preset, "swin", "resnet", points=4)
    write = _write_swin if preset.backbone[0] == "swin" else _write_resnet
    return {
        "architectures": ["Mask2FormerForUniversalSegmentation"],
        "model_type": "mask2former",
        "backbone_config": {**write(sizes), "depths": list(sizes["depths"]), "out_features": _STAGES},
        **{key: value for key, (value, ours) in _MASK2FORMER.items() if ours is not None},
        **dict.fromkeys(("feature_size", "mask_feature_size", "hidden_dim"), sizes["width"]),
        "num_queries": sizes["queries"],
        "num_attention_heads": sizes["decoder_heads"],
        "encoder_layers": sizes["pixel_layers"],
        "encoder_feedforward_dim": sizes["pixel_hidden"],
        "decoder_layers": sizes["query_layers"] + 1,
        "dim_feedforward": sizes["query_hidden"],
        "ignore_value": IGNORED,
        "no_object_weight": 0.1,
        "num_labels": preset.num_classes,
    }


def _write_swin(sizes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "model_type": "swin",
        **{key: value for key, (value, ours) in _SWIN.items() if ours is not None},
        "embed_dim": sizes["channels"],
        "num_heads": list(sizes["heads"]),
        "window_size": sizes["window"],
        "mlp_ratio": float(sizes["mlp_ratio"]),
        "drop_path_rate": sizes.get("drop_path_rate", 0.0),
    }


def _write_resnet(sizes: Mapping[str, Any]) -> dict[str, Any]:
    stem = sizes.get("stem_channels", 64)
    return {
        "model_type": "resnet",
        **{key: value for key, (value, ours) in _RESNET.items() if ours is not None},
        "embedding_size": stem,
        "hidden_sizes": [4 * stem * 2**level for level in range(4)],
    }


def _check(preset: Preset, *backbones: str, **wanted: Any) -> None:
    """Raise ValueError for a network of another backbone, or with other values of these fields."""
    if preset.backbone[0] not in backbones:
        known = " or ".join(backbones)
        raise ValueError(f"transformers' {preset.system} is written here with a {known}: {preset.name} has another")
    for key, value in wanted.items():
        if preset.sizes.get(key, value) != value:
            raise ValueError(
                f"transformers' {preset.system} has {key}={value}, and {preset.name} {preset.sizes[key]}: its answers "
                "would be others there"
            )


def _preprocessing(config: Fields, folder: Path, system: str, ignored: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What is said of pictures, and of label files; and what a person is to be told of it. ignored: the field of the
    model that names an ignored value."""
    found = _processor(folder)
    processor = found or {}
    ignore_index = config.values.get(ignored)
    ignore_index = ignore_index if type(ignore_index) is int else IGNORED
    fields = read_image_processor(processor, system)
    fields |= read_label_values(processor, count_classes(config) or 0, ignore_index)
    return fields, told_processor(found, system)


def _processor(folder: Path) -> Mapping[str, Any] | None:
    """The configuration of a folder's image processor, None where there is none."""
    for name, inside in ((FILE, ""), NESTED):
        path = described_file(folder, name)
        if path is not None:
            whole = read_json(path)
            found = whole.get(inside) if inside else whole
            if isinstance(found, dict):
                return found
    return None

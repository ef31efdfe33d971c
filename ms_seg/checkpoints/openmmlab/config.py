"""OpenMMLab's configurations: which network one describes, in the names of ours, and its classes.

mmsegmentation's and mmdetection's lie beside the weights as Python, which is read and never run, or are recorded in
them; EasyCV's stand in ModelScope's configuration.json. Sources: MixVisionTransformer, SwinTransformer, ResNet,
SegformerHead and Mask2FormerHead of mmsegmentation 0.30 and 1.2 and mmdetection 2.28 and 3.3, whose defaults hold for
what a configuration leaves out; what our networks cannot be is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from convert.reading.folder import described_file
from convert.reading.python_config import parse_python, read_python
from ms_seg.checkpoints.fields import Fields
from ms_seg.checkpoints.metadata import named_labels
from ms_seg.checkpoints.notes import Notes
from ms_seg.checkpoints.openmmlab.pictures import read_pictures, type_of
from ms_seg.label_sets import LabelSet, labels_of
from ms_seg.presets import TASKS

FILES = ("config.py", "mmcv_config.py")  # ModelScope's; in other folders, the only Python file
RECORDED = "CONFIG"  # what convert calls the text that is in a checkpoint

_MIT = {
    "in_channels": (3, 3),
    "num_stages": (4, 4),
    "out_indices": ((0, 1, 2, 3), (0, 1, 2, 3)),
    "qkv_bias": (True, True),
    "embed_dims": (64, None),
    "num_layers": ((3, 4, 6, 3), None),
    "num_heads": ((1, 2, 4, 8), None),
    "sr_ratios": ((8, 4, 2, 1), None),
    "patch_sizes": ((7, 3, 3, 3), None),
    "strides": ((4, 2, 2, 2), None),
    "mlp_ratio": (4, None),
    "drop_path_rate": (0.0, None),
}
_SWIN = {
    "in_channels": (3, 3),
    "patch_size": (4, 4),
    "mlp_ratio": (4.0, None),
    "strides": ((4, 2, 2, 2), (4, 2, 2, 2)),
    "out_indices": ((0, 1, 2, 3), (0, 1, 2, 3)),
    "qkv_bias": (True, True),
    "use_abs_pos_embed": (False, False),
    "patch_norm": (True, True),
    "embed_dims": (96, None),
    "depths": ((2, 2, 6, 2), None),
    "num_heads": ((3, 6, 12, 24), None),
    "window_size": (7, None),
    "drop_path_rate": (0.1, None),
}
_RESNET = {
    "in_channels": (3, 3),
    "num_stages": (4, 4),
    "out_indices": ((0, 1, 2, 3), (0, 1, 2, 3)),
    "style": ("pytorch", "pytorch"),
    "deep_stem": (False, False),
    "avg_down": (False, False),
    "strides": ((1, 2, 2, 2), (1, 2, 2, 2)),
    "dilations": ((1, 1, 1, 1), (1, 1, 1, 1)),
    "depth": (50, None),
    "base_channels": (64, None),
}
_RESNET_DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_SEGFORMER_HEAD = {
    "align_corners": (False, False),
    "in_index": ((0, 1, 2, 3), (0, 1, 2, 3)),
    "interpolate_mode": ("bilinear", "bilinear"),
    "dropout_ratio": (0.1, None),
}
_MASK2FORMER_HEAD = {
    "align_corners": (False, False),
    "strides": ((4, 8, 16, 32), (4, 8, 16, 32)),
    "num_transformer_feat_level": (3, 3),
    "enforce_decoder_input_project": (False, False),
    "num_queries": (100, None),
}
# Datasets whose classes a configuration names by the dataset alone.
_DATASETS = {
    "ADE20KDataset": "ade20k",
    "CityscapesDataset": "cityscapes",
    "COCOStuffDataset": "cocostuff164k",
    "CocoDataset": "coco_things",
    "CocoPanopticDataset": "coco_panoptic",
    "MapillaryDataset_v1": "mapillary",
    "PascalContextDataset59": "pascal_context_59",
}


def read_openmmlab(folder: Path) -> Notes | None:
    """What the Python configuration of a folder says; None where there is none, and of another program's.

    Raises CheckpointError for what cannot be read, and for a network that ours cannot be.
    """
    named = [path for name in FILES if (path := described_file(folder, name)) is not None]
    others = [described_file(folder, path.name) for path in sorted(folder.glob("*.py"))]
    path = named[0] if named else others[0] if len(others) == 1 else None
    if path is None:
        return None
    values, missing = read_python(path)
    lines = [f"{path} goes on from {', '.join(missing)}, which the folder does not have"] if missing else []
    return read_config(values, str(path), lines)


def read_recorded(metadata: Mapping[str, str]) -> Notes | None:
    """The same of the configuration that a checkpoint records; None where there is none that can be read."""
    text, title = metadata.get(RECORDED, ""), "the configuration that the checkpoint records"
    try:
        values = json.loads(text) if text.startswith("{") else parse_python(text, title)
    except (ValueError, RecursionError):
        return None
    return read_config(values, title) if isinstance(values, dict) else None


def read_config(values: Mapping[str, Any], title: str, lines: list[str] | None = None) -> Notes | None:
    """What a configuration says; None where it describes no model. lines: what a person is to be told of it."""
    config, lines = Fields(title, with_tuples(values)), list(lines or ())
    if not config.has("model"):
        return None
    fields, more = read_pictures(config)
    blue_first = fields.pop("blue_first", False)
    key = next((key for key in ("panoptic_head", "decode_head", "head") if config.has("model", key)), "")
    kind = type_of(config.values["model"].get(key))
    read = _HEADS.get(kind.lower())
    if read is None:
        other = kind if kind.endswith("Head") and "former" not in kind.lower() else ""
        return Notes(title, other, fields=fields, blue_first=blue_first, lines=(*lines, *more))
    return read(config, key, Notes(title, fields=fields, blue_first=blue_first, lines=(*lines, *more)))


def with_tuples(value: Any) -> Any:
    """JSON of ModelScope's, in which a tuple is a table that says so."""
    if isinstance(value, dict):
        if value.get("__class__") == "tuple" and isinstance(value.get("__value__"), list):
            return tuple(map(with_tuples, value["__value__"]))
        return {key: with_tuples(part) for key, part in value.items()}
    return [with_tuples(part) for part in value] if isinstance(value, list) else value


def _segformer(config: Fields, key: str, notes: Notes) -> Notes:
    head = config.inner("model", key)
    own = head.read(_SEGFORMER_HEAD)
    arguments = {"dropout_rate": own["dropout_ratio"], **_counts(head, num_classes=("out_channels", "num_classes"))}
    inside = head.inner("decoder_params") if head.has("decoder_params") else head  # the original's
    arguments |= _counts(inside, head_width=("embed_dim",) if inside is not head else ("channels",))
    threshold = head.values.get("threshold")
    fields = {"threshold": float(threshold)} if type(threshold) is float and 0 < threshold < 1 else {}
    return _described(config, notes, "segformer", arguments, {}, fields)


def _mask2former(config: Fields, key: str, notes: Notes) -> Notes:
    head = config.inner("model", key)
    easycv = key == "head"  # which has another table for the same network, whose shapes say all but its heads
    own = {} if easycv else head.read(_MASK2FORMER_HEAD)
    things, stuff = (_counts(head, n=(f"num_{kind}_classes",)).get("n") for kind in ("things", "stuff"))
    # mmdetection counts things and stuff, mmsegmentation classes, which it has of stuff alone.
    semantic = key == "decode_head"
    classes = {} if semantic or things is None else {"num_classes": things + (stuff or 0)}
    arguments = {
        **({"queries": own["num_queries"]} if own else {}),
        **_counts(head, width=("feat_channels",)),
        **(classes or _counts(head, num_classes=("num_classes",))),
        **_layers(head, "pixel_layers", "pixel_decoder", "encoder"),
        **_layers(head, "query_layers", "transformer_decoder"),
    }
    fields: dict[str, Any] = {}
    if semantic:
        fields = {"tasks": ("semantic",)}
    elif things is not None:
        fields = {"tasks": _tasks(config, stuff or 0)}
    notes = _described(config, notes, "mask2former", arguments, _attention(head), fields, sizes=not easycv)
    if semantic and notes.backbone:  # mmsegmentation 1's own, not ViT-Adapter's
        notes = notes.having(fields={**notes.fields, "query_rule": "mmseg"})
    return notes if semantic else notes.having(things=things)


_HEADS = {
    "segformerhead": _segformer,  # the original writes it with a large F
    "mask2formerhead": _mask2former,
    "mask2formerheadfrommmseg": _mask2former,
}


def _described(
    config: Fields,
    notes: Notes,
    system: str,
    arguments: Mapping[str, Any],
    arithmetic: Mapping[str, Any],
    fields: Mapping[str, Any],
    sizes: bool = True,
) -> Notes:
    """The notes with a network in them, where its backbone is one of those that can be described, and is to be."""
    backbone = _backbone(config) if sizes else None
    heads = {"heads": backbone[1]["heads"]} if backbone and "heads" in backbone[1] else {}
    return notes.having(
        system=system,
        fields={**notes.fields, **fields},
        labels=_labels(config, arguments.get("num_classes")),
        backbone=backbone,
        arguments=arguments if backbone else {},
        arithmetic={**arithmetic, **heads},
    )


def _tasks(config: Fields, stuff: int) -> tuple[str, ...]:
    """What mmdetection's and EasyCV's model answers, as its tests ask it, or as its classes let it."""
    asked = config.inner("model", "test_cfg").values if config.has("model", "test_cfg") else {}
    if asked.get("semantic_on") is True and not asked.get("panoptic_on"):
        return ("semantic",)
    return TASKS if stuff else ("instance",)


def _backbone(config: Fields) -> tuple[str, dict[str, Any]] | None:
    """The backbone's name and sizes; None of one that only its shapes describe."""
    if not config.has("model", "backbone"):
        return None
    table = config.inner("model", "backbone")
    kind = type_of(table.values)
    if kind == "MixVisionTransformer":
        own = table.read(_MIT)
        return "mit", {
            "embed_dims": tuple(own["embed_dims"] * heads for heads in own["num_heads"]),
            "depths": own["num_layers"],
            "heads": own["num_heads"],
            "mlp_ratios": (own["mlp_ratio"],) * 4,
            **{key: own[key] for key in ("sr_ratios", "patch_sizes", "strides", "drop_path_rate")},
        }
    if kind == "SwinTransformer":
        own = table.read(_SWIN)
        return "swin", {
            "channels": own["embed_dims"],
            "window": own["window_size"],
            "heads": own["num_heads"],
            **{key: own[key] for key in ("depths", "mlp_ratio", "drop_path_rate")},
        }
    if kind == "ResNet":
        own = table.read(_RESNET)
        depths = _RESNET_DEPTHS.get(own["depth"])
        if depths is None:
            raise table.error("depth", f"{own['depth']}: only {', '.join(map(str, _RESNET_DEPTHS))} can be loaded here")
        norm = table.values.get("norm_cfg")
        frozen = isinstance(norm, dict) and norm.get("requires_grad") is False
        return "resnet", {"depths": depths, "stem_channels": own["base_channels"], "frozen_norms": frozen}
    return None


def _counts(table: Fields, **wanted: tuple[str, ...]) -> dict[str, int]:
    """Of each name the first of these fields that is a count, where there is one."""
    found = {}
    for name, keys in wanted.items():
        values = [table.values.get(key) for key in keys]
        counts = [value for value in values if type(value) is int and value >= 0]
        if counts:
            found[name] = counts[0]
    return found


def _layers(head: Fields, name: str, *place: str) -> dict[str, int]:
    return _counts(head.inner(*place), **{name: ("num_layers",)}) if head.has(*place) else {}


def _attention(head: Fields) -> dict[str, int]:
    """The heads of both decoders' attention, and the points of the deformable one. Raises CheckpointError where the
    decoders differ in their heads."""
    deformable = _tables(head, "pixel_decoder", "encoder")
    queries = _tables(head, "transformer_decoder")
    heads = {table["num_heads"] for table in (*deformable, *queries) if type(table.get("num_heads")) is int}
    points = [table["num_points"] for table in deformable if type(table.get("num_points")) is int]
    if len(heads) > 1:
        raise head.error("num_heads", f"{sorted(heads)}: only one number for both decoders can be loaded here")
    found = {"decoder_heads": [*heads], "points": points}
    return {key: values[0] for key, values in found.items() if values}


def _tables(head: Fields, *place: str) -> list[dict[str, Any]]:
    """The tables of attention in a decoder, which versions 2 and 3 of mmdetection call otherwise."""
    found = []
    for words in (
        ("transformerlayers", "attn_cfgs"), ("layer_cfg", "self_attn_cfg"), ("layer_cfg", "cross_attn_cfg")
    ):  # fmt: skip
        if head.has(*place, words[0]):
            table = head.inner(*place, words[0]).values.get(words[1])
            found += [
                part for part in (table if isinstance(table, list | tuple) else [table]) if isinstance(part, dict)
            ]
    return found


def _labels(config: Fields, outputs: int | None) -> str | LabelSet | None:
    """The classes that a configuration lists, or else those of its dataset, where they are as many as the outputs."""
    places = [config.values]
    for keys in (("data", "test"), ("data", "val"), ("test_dataloader", "dataset"), ("val_dataloader", "dataset")):
        if config.has(*keys):
            places.append(config.inner(*keys).values)
    places += [found for place in places if isinstance(found := place.get("metainfo"), dict)]
    for place in places:
        for key in ("classes", "CLASSES"):
            names = place.get(key)
            if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
                return _coloured(named_labels(names, f"{config.title} ({key})"), place)
    kinds = [type_of(place) for place in places] + [str(config.values.get("dataset_type", ""))]
    known = next((_DATASETS[kind] for kind in kinds if kind in _DATASETS), None)
    counted = labels_of(known)
    return known if counted is not None and len(counted) == outputs else None


def _coloured(labels: str | LabelSet, place: Mapping[str, Any]) -> str | LabelSet:
    """With the colours beside the names, where there are as many."""
    try:
        palette = np.array(place.get("palette", place.get("PALETTE")), np.uint8)
    except (TypeError, ValueError, OverflowError):
        return labels
    if isinstance(labels, LabelSet) and palette.shape == labels.palette.shape:
        return LabelSet(labels.names, palette, labels.things, labels.ids)
    return labels

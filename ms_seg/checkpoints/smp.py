"""segmentation_models.pytorch's config.json, and albumentations' configuration of how pictures are prepared beside it.

Sources: segmentation_models.pytorch 0.5 (base/hub_mixin.py, decoders/segformer) and what it published as smp-hub's;
albumentations' save_pretrained.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convert import CheckpointError
from convert.reading.folder import described_file, read_json
from ms_seg.checkpoints.fields import Fields, brief
from ms_seg.checkpoints.notes import Notes
from ms_seg.presets import MAX_SIDE, PRESETS

CONFIG, PICTURES = "config.json", "albumentations_config_eval.json"

_SEGFORMER = {
    "encoder_depth": (5, 5),
    "in_channels": (3, 3),
    "upsampling": (4, 4),
    "decoder_segmentation_channels": (256, None),
    "classes": (1, None),
}
_LINEAR = 1  # cv2's number of it


def read_smp(folder: Path) -> Notes | None:
    """What its JSON files say in a folder; None where there are none, and for another program's.

    Raises CheckpointError for a model that is none of ours, and for what cannot be used.
    """
    path = described_file(folder, CONFIG)
    values = read_json(path) if path else {}
    if "encoder_name" not in values:
        return None
    config = Fields(str(path), values)
    kind = values.get("_model_class", "Segformer")
    if kind != "Segformer":
        raise config.error(
            "_model_class", f"{brief(kind)}: of segmentation_models.pytorch only Segformer can be loaded"
        )
    encoder = str(values["encoder_name"])
    row = PRESETS.get(f"segformer_{encoder.removeprefix('mit_')}_ade20k") if encoder.startswith("mit_") else None
    if row is None:
        raise config.error("encoder_name", f"{brief(encoder)}: only mit_b0 to mit_b5 can be loaded here")
    if values.get("activation") not in (None, "identity"):
        raise config.error("activation", f"{brief(values['activation'])}: only None can be loaded here")
    own = config.read(_SEGFORMER)
    fields, lines = _pictures(folder)
    return Notes(
        str(path),
        "segformer",
        fields={"logits_via_input": True, "align_corners": True, "window": None, **fields},
        backbone=row.backbone,
        arguments={"num_classes": own["classes"], "head_width": own["decoder_segmentation_channels"]},
        lines=lines,
    )


def _pictures(folder: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Fields of the preset's preprocessing, and what is not done as the file says, in sentences."""
    path = described_file(folder, PICTURES)
    if path is None:
        return {}, (
            f"there is no {PICTURES} beside the weights: pictures are prepared as for the nearest published model",
        )
    whole = Fields(str(path), read_json(path))
    steps = whole.inner("transform").values.get("transforms")
    fields: dict[str, Any] = {"resize": "shrink", "short_side": MAX_SIDE, "long_side": MAX_SIDE, "pad_multiple": 1}
    fields |= {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    lines: list[str] = []
    for step in steps if isinstance(steps, list) else []:
        kind = str(step.get("__class_fullname__")).rpartition(".")[2] if isinstance(step, dict) else ""
        if kind == "Resize" and step.get("interpolation", _LINEAR) == _LINEAR:
            sides = [step.get(key) for key in ("height", "width")]
            if not all(type(side) is int and 1 <= side <= MAX_SIDE for side in sides):
                raise CheckpointError(f"{path} resizes to {brief(sides)}: sides must be of 1 to {MAX_SIDE} pixels.")
            fields |= {"resize": "stretch_cv2", "short_side": sides[0], "long_side": sides[1]}
        elif kind == "Normalize" and step.get("normalization", "standard") == "standard":
            fields |= _values(step, path)
        elif not kind.startswith("ToTensor"):
            lines.append(f"{path}: its step {brief(kind)} is not followed")
    return fields, tuple(lines)


def _values(step: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Mean and deviation of pixels of 0..255; they are parts of max_pixel_value."""
    scale, found = step.get("max_pixel_value", 255.0), {}
    for key in ("mean", "std"):
        values = step.get(key)
        numbers = [*values, scale] if isinstance(values, list) and len(values) == 3 else []
        if not numbers or not all(type(v) in (int, float) and abs(v) < 1e6 for v in numbers) or scale <= 0:
            raise CheckpointError(f"{path} normalises by {key}={brief(values)}: it must be three numbers.")
        found[key] = tuple(float(v * scale) for v in numbers[:3])
    if min(found["std"]) <= 0:
        raise CheckpointError(f"{path} normalises by std={brief(step['std'])}: it must be above 0.")
    return found

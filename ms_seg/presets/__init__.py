"""The published models, one row each: sizes, arithmetic, preprocessing, labels, where the weights come from.

Nothing else in the package knows a size. A row says which of the published arithmetics it follows;
`Preset.override` changes single fields of a row, as `create_model("segformer_b0_ade20k", num_classes=21)` does.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from typing import Any

from ms_seg.presets import lseg, mask2former, segformer
from ms_seg.presets.preset import (
    ASSETS,
    IMAGENET_MEAN,
    IMAGENET_STD,
    RESIZES,
    TASKS,
    Preprocessing,
    Preset,
    nearest,
)

__all__ = [
    "ASSETS", "IMAGENET_MEAN", "IMAGENET_STD", "PRESETS", "RESIZES", "TASKS",
    "Preprocessing", "Preset", "find_preset", "list_models", "preset_for",
]  # fmt: skip

PRESETS: dict[str, Preset] = {row.name: row for row in (*segformer.rows(), *lseg.rows(), *mask2former.rows())}


def list_models(pattern: str = "*") -> list[str]:
    """Names of the published models that match a shell-style pattern, such as "segformer*"."""
    return fnmatch.filter(PRESETS, pattern)


def find_preset(name: str) -> Preset:
    """The preset of that name; ValueError with the nearest names if there is none."""
    if name not in PRESETS:
        raise ValueError(f"there is no model {name!r}{nearest(name, list(PRESETS))}")
    return PRESETS[name]


# What a number of outputs says of an unnamed checkpoint's classes.
_LABEL_SETS = {150: "ade20k", 171: "cocostuff164k", 172: "cocostuff164k"}


# What systems call the sizes of a backbone that has others' names in them.
_BACKBONE_ARGUMENTS = {
    "mit": {"embed_dims": "mit_channels", "depths": "mit_depths"},
    "resnet": {"depths": "resnet_depths"},
}


def _flat(system: str, backbone: tuple[str, Mapping[str, Any]] | None) -> dict[str, Any]:
    kind, sizes = backbone or ("", {})
    names = {} if system == "segformer" else _BACKBONE_ARGUMENTS.get(kind, {})
    return {names.get(key, key): value for key, value in sizes.items()}


def preset_for(
    system: str | None,
    arguments: Mapping[str, Any],
    name: str | None = None,
    backbone: tuple[str, Mapping[str, Any]] | None = None,
) -> Preset:
    """The published model of this structure, `num_classes` aside, which is taken from the arguments.

    Without a system it may be of any: systems share backbones, and what their arguments are called. Of several (they
    differ in what they were trained on) it is the one of that name, else the one whose number of classes is nearest,
    else the first of the table: of LSeg's, lang-seg's own. Raises ValueError when none has this structure.
    """
    structure = {key: value for key, value in arguments.items() if key != "num_classes"}
    rows = [
        row
        for row in PRESETS.values()
        if system in (None, row.system)
        and {**structure, **_flat(row.system, backbone)}.items() <= row.arguments.items()
    ]
    if not rows:
        has = ", ".join(f"{key}={value}" for key, value in {**arguments, **_flat(system or "", backbone)}.items())
        raise ValueError(f"no published {system or 'model'} has {has}")
    classes = arguments.get("num_classes", 0)
    closest = min(rows, key=lambda row: (row.name != name, abs(row.arguments.get("num_classes", 0) - classes)))
    if classes in (0, closest.arguments.get("num_classes")):
        return closest
    return closest.override(num_classes=classes, label_set=_LABEL_SETS.get(classes))

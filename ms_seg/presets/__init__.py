"""The published models, one row each: sizes, arithmetic, preprocessing, labels, recipe, where the weights come from.

Nothing else in the package knows a size. A row says which of the published arithmetics it follows;
`Preset.override` changes single fields of a row, as `create_model("segformer_b0_ade20k", num_classes=21)` does.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ms_seg.presets import lseg, mask2former, segformer, vit_adapter
from ms_seg.presets.preset import (
    ASSETS,
    IMAGENET_MEAN,
    IMAGENET_STD,
    MAX_SIDE,
    RESAMPLES,
    RESIZES,
    TASKS,
    Preprocessing,
    Preset,
    Published,
    Window,
    nearest,
)
from ms_seg.presets.recipe import Recipe
from ms_seg.presets.starting import STARTING_WEIGHTS, StartingWeights

__all__ = [
    "ASSETS", "IMAGENET_MEAN", "IMAGENET_STD", "MAX_SIDE", "PRESETS", "RESAMPLES", "RESIZES", "STARTING_WEIGHTS",
    "TASKS", "Preprocessing", "Preset", "Published", "Recipe", "StartingWeights", "Window", "find_preset",
    "list_models", "nearest_preset", "preset_for", "starting_weights", "title_of",
]  # fmt: skip

PRESETS: dict[str, Preset] = {
    row.name: row for rows in (segformer, lseg, mask2former, vit_adapter) for row in rows.rows()
}


def list_models(pattern: str = "*") -> list[str]:
    """Names of the published models that match a shell-style pattern, such as "segformer*"."""
    return fnmatch.filter(PRESETS, pattern)


def find_preset(name: str) -> Preset:
    """The preset of that name; ValueError with the nearest names if there is none."""
    if name not in PRESETS:
        raise ValueError(f"there is no model {name!r}{nearest(name, list(PRESETS))}")
    return PRESETS[name]


def title_of(preset: Preset) -> str:
    """A model's name, and whether it has other sizes or classes than the published one of that name."""
    row = PRESETS.get(preset.name, preset)
    told = {key for key in preset.sizes if key not in ("num_classes", "dropout_rate", "drop_path_rate")}
    sizes = preset.backbone[0] != row.backbone[0] or any(preset.sizes[key] != row.sizes.get(key) for key in told)
    classes = (preset.num_classes, preset.label_set) != (row.num_classes, row.label_set)
    others = [word for word, other in (("sizes", sizes), ("classes", classes)) if other]
    return f"{preset.name} with other {' and '.join(others)}" if others else preset.name


def starting_weights(preset: Preset) -> list[StartingWeights]:
    """Published weights of a part of a model, such as its backbone, that a training of it can begin with."""
    return [row for row in STARTING_WEIGHTS if _part_of(find_preset(row.model), row.part) == _part_of(preset, row.part)]


_STRUCTURE = {  # sizes that must be equal for weights of a part to fit
    "backbone": ("embed_dims", "channels", "depths", "depth", "heads", "patch"),
    "text": ("text_width", "text_layers", "vocabulary"),
}


def _part_of(preset: Preset, part: str) -> tuple[Any, ...]:
    kind = preset.backbone[0] if part == "backbone" else preset.output
    return kind, *(preset.sizes.get(key) for key in _STRUCTURE[part])


# Arguments of systems that a checkpoint's shapes tell, and that nothing else depends on.
_TOLD_BY_SHAPES = ("head_width", "queries", "pixel_layers", "pixel_hidden", "query_layers", "query_hidden")
# What a number of outputs says of an unnamed checkpoint's classes.
_LABEL_SETS = {150: "ade20k", 171: "cocostuff164k", 172: "cocostuff164k"}


def preset_for(
    system: str,
    backbone: tuple[str, Mapping[str, Any]] | None,
    arguments: Mapping[str, Any],
    name: str = "",
    part: str = "",
    found_at: tuple[str, ...] = (),
) -> Preset:
    """The published model of this structure, `num_classes` aside, which is taken from the arguments.

    Args:
        system, backbone, arguments: as a checkpoint's shapes tell them; what they cannot tell is left out. "" for any
            system, of a part that several share.
        name: what the file calls itself, if it does, which decides between several.
        part: what the checkpoint is where it is a part alone, such as a backbone, in which models of one structure are
            alike.
        found_at: where files like this one are published, the beginnings of "hub/name".

    Of several, one that is published there is meant, and one with as many classes; for a person's own classes the
    first, with its preprocessing and tasks. Raises ValueError when none has this structure, and where several are left
    that would not give the same answers, naming them; for a person's own classes, that would not compute the same.
    """
    structure = {key: value for key, value in arguments.items() if key != "num_classes"}
    known = [row for row in PRESETS.values() if system in ("", row.system)]
    rows = [row for row in known if _fits(row, backbone, structure)]
    told: dict[str, Any] = {}
    if not rows:  # what follows from the shapes alone may be any number
        told = {key: value for key, value in structure.items() if key in _TOLD_BY_SHAPES}
        rest = {key: value for key, value in structure.items() if key not in told}
        rows = [row for row in known if _fits(row, backbone, rest)]
    if not rows:
        kind, sizes = backbone or ("an unknown backbone", {})
        has = ", ".join([kind, *(f"{key}={value}" for key, value in {**sizes, **arguments}.items())])
        if part:
            raise ValueError(f"the file holds {part}, {has}, as no published model has it: name the model that it is "
                             f"meant for, and its backbone={(kind, dict(sizes))!r}")  # fmt: skip
        raise ValueError(f"no published {system or 'model'} has {has}")
    rows = [row for row in rows if row.name == name] or [row for row in rows if _is_found(row, found_at)] or rows
    classes = arguments.get("num_classes", 0)
    published = [row for row in rows if row.num_classes == classes]
    rows = published or rows
    alike = _answering if published or not classes else _computing
    if not part and len({alike(row) for row in rows}) > 1:
        names = ", ".join(row.name for row in rows)
        raise ValueError(f"the file can be any of {names}, which its shapes cannot tell apart: name the one that it is")
    first = rows[0].override(**told) if told else rows[0]
    if published or not classes:
        return first
    return first.override(num_classes=classes, label_set=_LABEL_SETS.get(classes))


def nearest_preset(system: str, backbone: str, sizes: Mapping[str, Any]) -> Preset:
    """The published model of a system that comes nearest to a backbone of that name and to these sizes and arguments,
    for a model that has them instead of its own."""
    rows = [row for row in PRESETS.values() if row.system == system and row.embedded is None]
    structure = {key: value for key, value in sizes.items() if key != "num_classes"}

    def distance(row: Preset) -> tuple[bool, int, bool]:
        others = sum(row.sizes.get(key) != value for key, value in structure.items())
        return row.backbone[0] != backbone, others, row.num_classes != sizes.get("num_classes")

    return min(rows, key=distance)


def _fits(row: Preset, backbone: tuple[str, Mapping[str, Any]] | None, arguments: Mapping[str, Any]) -> bool:
    """Whether a model of this row can have these sizes, as far as they are known."""
    if not arguments.items() <= row.arguments.items():
        return False
    return backbone is None or (row.backbone[0] == backbone[0] and backbone[1].items() <= row.backbone[1].items())


def _is_found(row: Preset, places: tuple[str, ...]) -> bool:
    """Whether the model is published at one of these places."""
    return any(f"{entry.hub}/{entry.id}".startswith(places) for entry in row.published)


def _computing(row: Preset) -> str:
    """What of a row decides its network's numbers, beside the shapes of its weights."""
    return repr([(key, row.sizes.get(key)) for key in row.arithmetic])


def _answering(row: Preset) -> str:
    """What of a row decides its answers. Two rows alike in it can stand for each other."""
    arguments = {**row.arguments, "num_classes": 0}
    alike = replace(row, arguments=arguments, name="", licence="", published=(), score="", label_set=None)
    return repr(replace(alike, recipe=Recipe()))

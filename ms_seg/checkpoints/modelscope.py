"""ModelScope's configuration.json: which published model a folder holds, what it is asked for, and its classes."""

from __future__ import annotations

from pathlib import Path

from convert.reading.folder import described_file, read_json
from ms_seg.checkpoints.metadata import named_labels
from ms_seg.checkpoints.notes import Notes

FILE = "configuration.json"

# What it calls models whose weights look like others'.
_TYPES = {
    "text-driven-segmentation": "lseg_vitl16_text_driven",
    "vitadapter-semantic-segmentation": "vit_adapter_beit_l_cocostuff164k",
}
# Those that are asked for less than others of the same weights.
_TASKS = {"swinL-semantic-segmentation": ("semantic",)}


def read_modelscope(folder: Path) -> Notes | None:
    """What the configuration of a folder says; None where there is none. Raises CheckpointError for what is no JSON."""
    path = described_file(folder, FILE)
    if path is None:
        return None
    config = read_json(path)
    model, names = config.get("model"), config.get("CLASSES")
    kind = str(model.get("type")) if isinstance(model, dict) else ""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        names = []
    return Notes(
        str(path),
        model=_TYPES.get(kind, ""),
        fields={"tasks": _TASKS[kind]} if kind in _TASKS else {},
        labels=named_labels(names, f"{path} (CLASSES)") if names else None,
    )

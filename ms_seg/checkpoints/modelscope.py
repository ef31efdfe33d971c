"""ModelScope's configuration.json: which published model a folder holds, what it is asked for, and its classes; and the
configuration of the network, which is a part of EasyCV's, and of others a Python file beside it."""

from __future__ import annotations

from pathlib import Path

from convert.reading.folder import described_file, read_json
from ms_seg.checkpoints.metadata import named_labels
from ms_seg.checkpoints.notes import Notes
from ms_seg.checkpoints.openmmlab.config import read_config, read_openmmlab

FILE = "configuration.json"

# What it calls models whose weights look like others'.
_TYPES = {
    "text-driven-segmentation": "lseg_vitl16_text_driven",
    "vitadapter-semantic-segmentation": "vit_adapter_beit_l_cocostuff164k",
}
# Those that are asked for less than others of the same weights.
_TASKS = {"swinL-semantic-segmentation": ("semantic",)}


def read_modelscope(folder: Path) -> Notes | None:
    """What the configurations of a folder say; None where there are none.

    Raises CheckpointError for what cannot be read, and for a network that ours cannot be.
    """
    network = read_openmmlab(folder)
    path = described_file(folder, FILE)
    if path is None:
        return network
    config = read_json(path)
    network = network or read_config(config, str(path)) or Notes()
    model, names = config.get("model"), config.get("CLASSES")
    kind = str(model.get("type")) if isinstance(model, dict) else ""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        names = []
    # Of a model that is known by its type, whose arithmetic no configuration tells, the row says the rest.
    notes = network if kind not in _TYPES else network.having(backbone=None, arguments={})
    return notes.having(
        title=network.title or str(path),
        model=_TYPES.get(kind, ""),
        fields={**notes.fields, **({"tasks": _TASKS[kind]} if kind in _TASKS else {})},
        labels=named_labels(names, f"{path} (CLASSES)") if names else notes.labels,
    )

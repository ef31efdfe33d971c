"""A model as a folder that transformers opens: weights, config.json and preprocessor_config.json."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from convert.plan import find_layout
from convert.reading import Entry
from convert.reading.entry import ArrayEntry
from convert.recognition import recognise
from convert.writing import write_checkpoint
from ms_seg.checkpoints.transformers.config import CONFIG, write_config
from ms_seg.checkpoints.transformers.image_processor import FILE, write_image_processor
from ms_seg.presets import Preset

WEIGHTS = "model.safetensors"
NO_OBJECT_WEIGHT = 0.1  # of the loss, in all published configurations
_SWIN = "model.pixel_level_module.encoder.encoder.layers."


def write_pretrained(folder: str | os.PathLike[str], preset: Preset, parameters: Mapping[str, Entry]) -> None:
    """Write a model as a folder of transformers; it appears when it is whole.

    parameters: by our names. Raises ValueError for a folder that is not empty, and for a network that transformers does
    not have: another system, another backbone, another arithmetic.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is there already: choose the name of a new folder")
    if not folder.absolute().parent.is_dir():
        raise ValueError(f"{folder} can't be written: there is no folder {folder.absolute().parent}")
    config = write_config(preset)
    processor, lines = write_image_processor(preset.preprocessing, preset.system, preset.label_values)
    for line in lines:
        logging.getLogger("ms_seg").warning("%s: %s", folder / FILE, line)
    tensors = recognise(parameters).plan_back(find_layout("hf", preset.system)).apply(parameters)
    draft = folder.absolute().with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        draft.mkdir()
        write_checkpoint(draft / WEIGHTS, {**tensors, **_buffers(preset, tensors)}, metadata={"format": "pt"})
        for name, content in ((CONFIG, config), (FILE, processor)):
            (draft / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _buffers(preset: Preset, tensors: Mapping[str, Entry]) -> dict[str, Entry]:
    """What transformers keeps in a file and we do not need: it would be left without numbers there."""
    if preset.system != "mask2former":
        return {}
    loss = np.ones((preset.num_classes or 0) + 1, np.float32)
    loss[-1] = NO_OBJECT_WEIGHT
    buffers: dict[str, Entry] = {"criterion.empty_weight": ArrayEntry(loss)}
    for name in tensors:
        if name.startswith(_SWIN) and name.endswith("relative_position_bias_table"):
            index = _relative_position_index(preset.backbone[1]["window"])
            buffers[name.removesuffix("bias_table") + "index"] = ArrayEntry(index)
    return buffers


def _relative_position_index(window: int) -> np.ndarray:
    """(window^2, window^2) int64: the row of the table of relative positions for a query and a key."""
    rows, columns = np.divmod(np.arange(window * window), window)
    down, across = rows[:, None] - rows + window - 1, columns[:, None] - columns + window - 1
    return (down * (2 * window - 1) + across).astype(np.int64)

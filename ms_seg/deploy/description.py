"""The JSON file beside an exported graph: what it takes and gives, and how a picture becomes its input.

format          "ms_seg graph", and the number of this layout of the file
file, sha256    the graph that it describes, by its name and its content
model, task, tasks, output, inside, precision
                which network it is, what it answers, what comes out ("logits", "queries", "scores", "label_map"),
                which of `parts.PARTS` are in the graph, and what convolutions and products are computed in
inputs, outputs each tensor's name, shape, dtype and the order of its axes
preprocessing   the fields of `Preprocessing`, channel_order, and fit, one of FITS: how a picture comes to the
                graph's size
labels          [name, "#rrggbb"] for each class; where things are told from stuff also whether it is a thing, and
                what annotations call it
window          how far windows move, where a picture is seen in windows
checkpoint, made_with
                the file of the weights and its sha256; the versions
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from convert import CheckpointError
from convert.atomic import whole_file
from ms_seg.checkpoints.metadata import (
    describe,
    noted_labels,
    noted_preprocessing,
    noted_tasks,
    noted_window,
)
from ms_seg.deploy.parts import PARTS
from ms_seg.deploy.pictures import FITS
from ms_seg.label_sets import labels_of
from ms_seg.presets import Preset, find_preset

FORMAT = ["ms_seg graph", 1]
OUTPUTS = ("logits", "queries", "scores", "label_map")
_MAX_BYTES = 8 << 20
_NOTED = ("preprocessing", "tasks", "window", "labels", "ask_task")


@dataclass(frozen=True)
class TensorNote:
    """An input or an output. axes: such as "N C H W"."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    axes: str


@dataclass(frozen=True)
class Description:
    """An exported graph.

    preset: of the network, as pictures are prepared for the graph. size: (height, width) of the graph's input. fit: how
    a picture comes to it, see `pictures.choose_fit`. inside: of PARTS. precision: of convolutions and products. origin:
    what made it, for a person to read.
    """

    preset: Preset
    size: tuple[int, int]
    batch: int
    fit: str
    inside: tuple[str, ...]
    precision: str
    inputs: tuple[TensorNote, ...]
    outputs: tuple[TensorNote, ...]
    origin: Mapping[str, Any]

    @property
    def output(self) -> str:
        """What comes out, one of OUTPUTS."""
        if "argmax" in self.inside:
            return "label_map"
        if "semantic" in self.inside:
            return "scores"
        return "queries" if self.preset.output == "queries" else "logits"  # of words too


def beside(graph: str | os.PathLike[str]) -> Path:
    """The file that describes a graph."""
    graph = Path(graph)
    return graph.with_name(f"{graph.name}.json")


def write_description(path: Path, graph: Path, own: Description) -> None:
    """Write the file of a graph that lies under its name or will do so."""
    known = labels_of(own.preset.label_set)
    notes = {key: json.loads(text) for key, text in describe(replace(own.preset, label_set=known)).items()
             if key in _NOTED}  # fmt: skip
    content = {
        "format": FORMAT,
        "file": graph.name,
        "sha256": file_digest(graph),
        "model": own.preset.name,
        "task": own.preset.tasks[0],
        "output": own.output,
        "inside": list(own.inside),
        "precision": own.precision,
        "inputs": [vars(note) for note in own.inputs],
        "outputs": [vars(note) for note in own.outputs],
        **notes,
        "preprocessing": {**notes["preprocessing"], "channel_order": "RGB", "fit": own.fit},
        **own.origin,
    }
    with whole_file(path) as draft:
        draft.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_description(graph: str | os.PathLike[str]) -> Description:
    """What lies beside a graph. Raises ValueError where that is not there, is another graph's, or is none."""
    graph, path = Path(graph), beside(graph)
    if not graph.is_file():
        raise ValueError(f"there is no file {graph}")
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES)
    except OSError as error:
        raise ValueError(
            f"{path}, which says what {graph.name} takes and gives, can't be read: {error.strerror}"
        ) from None
    try:
        content = json.loads(text)
        digest, own = content["sha256"], _described(content)
    except CheckpointError as error:
        raise ValueError(f"{path}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ValueError(f"{path} is no description of a graph that ms_seg exported ({error})") from None
    if digest != file_digest(graph):
        raise ValueError(f"{path} describes another graph than {graph}: export both together")
    return own


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _described(content: Any) -> Description:
    """Raises whatever is wrong."""
    if content["format"] != FORMAT:
        raise ValueError(f"its format is {content['format']!r} and not {FORMAT!r}")
    steps = dict(content["preprocessing"])
    fit, order = steps.pop("fit"), steps.pop("channel_order")
    inside, output = tuple(content["inside"]), content["output"]
    if fit not in FITS or order != "RGB" or output not in OUTPUTS or not set(inside) <= set(PARTS):
        raise ValueError("its fit, channel_order, output or inside is unknown")
    inputs, outputs = (tuple(map(_tensor, content[key])) for key in ("inputs", "outputs"))
    if not inputs or not outputs or len(inputs[0].shape) != 4:
        raise ValueError("it names no images that go in, or nothing that comes out")
    noted = {key: json.dumps(content[key]) for key in _NOTED if key in content} | {"preprocessing": json.dumps(steps)}
    table = find_preset(content["model"])
    labels = noted_labels(noted, None)
    classes = _classes(table, output, outputs)
    arguments = dict(table.arguments) if classes is None else {**table.arguments, "num_classes": classes}
    preset = replace(
        table,
        arguments=arguments,
        preprocessing=replace(table.preprocessing, **noted_preprocessing(noted)),
        label_set=labels,
        output="logits" if output == "label_map" else output,
        **noted_tasks(noted),
        **noted_window(noted),
    )
    shape = inputs[0].shape
    size = (shape[1], shape[2]) if "normalize" in inside else (shape[2], shape[3])
    origin = {key: content[key] for key in ("checkpoint", "made_with", "verified") if key in content}
    return Description(preset, size, shape[0], fit, inside, content["precision"], inputs, outputs, origin)


def _classes(table: Preset, output: str, outputs: tuple[TensorNote, ...]) -> int | None:
    """How many classes the graph tells apart, where its outputs say it."""
    if output == "label_map":
        return table.num_classes  # None for words
    return outputs[0].shape[2] - 1 if output == "queries" else outputs[0].shape[1]


def _tensor(content: Any) -> TensorNote:
    shape = tuple(content["shape"])
    if not shape or not all(type(side) is int and side > 0 for side in shape):
        raise ValueError(f"a shape in it is {shape}")
    return TensorNote(str(content["name"]), shape, str(content["dtype"]), str(content["axes"]))

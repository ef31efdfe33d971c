"""What a training begins with: a model by its name or its file, and the weights."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ms_seg.hub import address_of_model, find_address, on_this_machine
from ms_seg.presets import Preset, find_preset, starting_weights


@dataclass(frozen=True)
class Beginning:
    """What a training begins with. preset: of the model, without a person's overrides. model, first: what
    `create_model` is told. others: files that each hold a part. set, drop: see `create_model`. of_run: whether the
    weights are those of the run that goes on. vocabulary_beside: the file that a vocabulary may lie beside. lines: to
    be printed.
    """

    preset: Preset
    model: str
    first: str | os.PathLike[str] | None
    others: Sequence[str | os.PathLike[str]] = ()
    set: str = ""
    drop: Sequence[str] = ()
    of_run: bool = False
    vocabulary_beside: str | os.PathLike[str] | None = None
    lines: list[str] = field(default_factory=list)


def find_beginning(options: argparse.Namespace, begun: Mapping[str, Any] | None) -> Beginning:
    """The model and its weights: the run's own, or what a person named. Raises ValueError where that is not clear."""
    from ms_seg.checkpoints.loading import Choice, preset_of
    from ms_seg.training.checkpoints import MODEL, Checkpoints

    newest = Checkpoints(options.output, 1).newest() if begun else None
    if begun and newest:
        beside = next((path for path in options.checkpoint if os.path.exists(path)), newest / MODEL)
        return Beginning(find_preset(begun["model"]), "auto", newest / MODEL, of_run=True, vocabulary_beside=beside)
    name, checkpoints = _named(options.model, options.checkpoint)
    found = [on_this_machine(name, checkpoint) for checkpoint in checkpoints]
    files = [file for _, file in found]
    name = next((known for known, _ in found if name == "auto" and known != "auto"), name)
    choice = Choice(options.weights, tuple(options.drop))
    preset = find_preset(preset_of(files[0], choice).name if name == "auto" else name)
    first, others = files[0] if files else None, files[1:]
    lines = [] if files else [_fresh(preset)]
    return Beginning(preset, name, first, others, options.weights, options.drop, vocabulary_beside=first, lines=lines)


def _named(name: str | None, checkpoints: list[str]) -> tuple[str, list[str]]:
    """The model's name, or "auto", and its weights; a hub's name is both. Raises ValueError where nothing is named."""
    address = address_of_model(name) if name else None
    if address is not None:
        assert name is not None
        return address.model, [name, *checkpoints]
    if name in (None, "auto") and not checkpoints:
        raise ValueError("the model is not named: pass --model (see `models`), or --checkpoint, which says it")
    return name or "auto", checkpoints


def _fresh(preset: Preset) -> str:
    """That nothing is learned yet, and what a training could begin with."""
    line = f"no --checkpoint: all weights of {preset.name} are randomly initialised"
    parts = [f"{row.passed_as} ({row.part})" for row in starting_weights(preset)]
    whole = [name for entry in preset.published for name in (entry.id, entry.file) if name and find_address(name)]
    if not parts and not whole:
        return line
    return f"{line}; published ones to begin with: {', '.join([*parts, *(f'{name} (all)' for name in whole[:1])])}"

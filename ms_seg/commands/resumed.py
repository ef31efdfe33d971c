"""A run that goes on: by the options that it was begun with, which need not be repeated."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ms_seg.data.datasets import DRAWN
from ms_seg.data.numbering import from_record
from ms_seg.data.readings import LabelOptions
from ms_seg.presets import PRESETS
from ms_seg.presets.recipe import Recipe


def find_run(options: argparse.Namespace) -> dict[str, Any] | None:
    """What the run that goes on was begun with, which also becomes what a person left out; None for a new one.

    Raises ValueError for a folder that holds a run that is not to go on, for other options than it has, and where a new
    run's are missing.
    """
    from ms_seg.training.record import holds_a_run, read_record, refuse_others

    begun = read_record(options.output)
    if begun is None:
        if not options.dataset:
            why = f"{options.output} holds no run to go on with" if options.resume else "the dataset is not named"
            raise ValueError(f"{why}: pass --dataset, and --model or --checkpoint, to begin one")
        return None
    if not options.resume:
        raise holds_a_run(options.output)
    named = [Path(file).name for file in options.checkpoint]
    _fill(options, begun)
    if named and named != [Path(file).name for file in _all(begun.get("checkpoint"))]:
        raise ValueError(f"{options.output} was begun with checkpoint {begun.get('checkpoint')}, not {named[0]}")
    asked = {**recorded(options), "recipe": begun["recipe"]}
    refuse_others(options.output, begun, asked | ({"model": options.model} if options.model in PRESETS else {}))
    return begun


def _fill(options: argparse.Namespace, begun: Mapping[str, Any]) -> None:
    """Give options that a person left out the values of the run.

    Raises ValueError where its dataset is not recorded.
    """
    options.override = options.override or [(name, as_tuple(value)) for name, value in begun["overrides"].items()]
    for name in ("dataset", "data", "checkpoint", "drop", "allow"):
        setattr(options, name, getattr(options, name) or _all(begun.get(name)))
    for name in ("pictures", "vocab", "weights", "skip_damaged"):
        setattr(options, name, getattr(options, name) or begun.get(name))
    if not options.dataset:
        raise ValueError(f"{options.output} was begun by train() in Python: go on there, or pass --dataset too")


def refuse_moved(options: argparse.Namespace, begun: Mapping[str, Any]) -> None:
    """Raise ValueError where a run's pictures have gone from where they were."""
    for folder in options.data:
        if folder in _all(begun.get("data")) and not os.path.isdir(folder):
            where = f"the pictures of {options.output} were in {folder}, which is not there"
            raise ValueError(f"{where}: pass --data with where they are")


def known_labels(begun: Mapping[str, Any] | None, said: LabelOptions) -> LabelOptions:
    """What the label files of a run that goes on hold is known, unless a person says it again, to be compared."""
    values = begun and not said and begun.get("label_values")
    return replace(said, numbering=from_record(values)) if values else said


def find_finished(options: argparse.Namespace, recipe: Recipe) -> str:
    """That a run is finished, if it is, and what comes after it; else nothing."""
    from ms_seg.training.checkpoints import AVERAGE, MODEL, Checkpoints

    run, checkpoints = options.output, Checkpoints(options.output, recipe.keep)
    newest = checkpoints.newest()
    progress = checkpoints.progress(newest) if newest else None
    if newest is None or progress is None or progress.step < recipe.steps or progress.validation_due:
        return ""
    best = newest if progress.best_step is None else newest.with_name(f"{progress.best_step:08}")
    file = best / (AVERAGE if recipe.ema else MODEL)
    score = progress.best_score
    figure = "" if score is None else f" with {progress.best_figure or 'the best score'} {score:.4f}"
    name = options.dataset[0]  # which is validated on
    data = ["--dataset", name, *(["--data", options.data[0]] if name not in DRAWN else [])]
    return "\n".join(
        (
            f"{run} is finished, {recipe.steps} steps. The best weights{figure}, of step {int(best.name)}: {file}",
            f"  to score them: {_command('evaluate', '--checkpoint', str(file), *data, '--output', f'{run}/scores')}",
            f"  to use them: {_command('segment', 'PICTURE', '--checkpoint', str(file))}",
            "  to train further: begin another run with that --checkpoint",
        )
    )


def _command(*words: str) -> str:
    return shlex.join(("python", "-m", "ms_seg", *words))


def recorded(options: argparse.Namespace) -> dict[str, Any]:
    """The options that a run which is resumed must have been begun with, beside the recipe, and where its files are."""
    return {
        "overrides": dict(options.override),
        "pictures": options.pictures,
        "dataset": _one_or_all(options.dataset),
        "data": _one_or_all([os.path.abspath(folder) for folder in options.data]),
        "checkpoint": _one_or_all([os.path.abspath(f) if os.path.exists(f) else f for f in options.checkpoint]),
        "vocab": os.path.abspath(options.vocab) if options.vocab else None,
        "weights": options.weights,
        "drop": options.drop,
        "allow": options.allow,
        "skip_damaged": options.skip_damaged,
    }


def _one_or_all(values: list[str]) -> str | list[str] | None:
    """What an option that may stand several times is recorded as."""
    return values if len(values) > 1 else values[0] if values else None


def _all(recorded: str | list[str] | None) -> list[str]:
    """The values of an option that was recorded."""
    return recorded if isinstance(recorded, list) else [recorded] if recorded else []


def as_tuple(value: Any) -> Any:
    """JSON has no tuples."""
    return tuple(value) if isinstance(value, list) else value

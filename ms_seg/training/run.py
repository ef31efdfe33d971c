"""A training run: a folder with what it was begun with, which one process at a time trains in.

RUN/options.json holds the options of the run and its recipe; they are compared when it is resumed. See `checkpoints`
and `journal` for what else is in the folder.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from convert.atomic import whole_file
from ms_seg.data.semantic import own_label_values
from ms_seg.distributed import World
from ms_seg.presets.former_names import FORMER_FIELDS, FORMER_RECIPE
from ms_seg.presets.recipe import Recipe
from ms_seg.systems import Model
from ms_seg.training.checkpoints import Checkpoints
from ms_seg.training.journal import check_tensorboard
from ms_seg.training.optimizer import layers_of
from ms_seg.training.tasks import task_for, training_task
from ms_seg.training.trainer import Trainer

OPTIONS = "options.json"
LABEL_VALUES = "label_values"


def train(
    model: Model,
    datasets: Sequence[Any],
    validation: Any,
    recipe: Recipe,
    run: str | os.PathLike[str],
    *,
    world: World | None = None,
    workers: int = 0,
    resume: bool = False,
    tensorboard: bool = False,
    vocab: str | os.PathLike[str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Train a model by a recipe, in place, and keep checkpoints and the log in a folder.

    Args:
        model: what `create_model(..., fine_tune=True)` gives, for the classes of the datasets.
        datasets: what it learns from, see `ms_seg.data.datasets`: one, or several for a model that takes words. A model
            that learns several tasks, such as Mask2Former, learns the first that the dataset has the truth of.
        validation: the dataset that it is scored on.
        recipe: such as `replace(model.preset.recipe, steps=4000)`.
        run: the run's folder, made if missing; see docs/fine_tuning.md for what it holds.
        world: the processes of the run, see `ms_seg.distributed.start`; None for this one alone.
        workers: processes that load pictures; with 0 a thread of this one does.
        resume: go on with the run in the folder, from its newest checkpoint, to the same numbers.
        tensorboard: write for TensorBoard too.
        vocab: of a model that takes words, see `text.vocabulary.find_vocabulary`.
        options: what else a run that is resumed must have in common with this one, ready for JSON.

    Raises: ValueError, in one sentence, for what the model cannot learn from, for a folder that holds a run and is not
        to be resumed, holds a run with another recipe or options, or belongs to another process now, and for a picture
        or label file that cannot be read; RuntimeError when the loss is not finite.
    """
    run, world = Path(run), world or World(0, 1, [])
    if not datasets:
        raise ValueError("there is no dataset to train on: pass at least one")
    task = training_task(model.preset, task_for(model.preset, datasets[0]))
    datasets = [task.learnable(dataset) for dataset in datasets]
    if tensorboard:
        check_tensorboard()
    vocabulary = task.find_vocabulary(model.preset, model.checkpoint, vocab)
    task.check(model.preset, datasets, recipe)
    layers_of(model, recipe)  # for what it raises, before there is a folder
    label_values = own_label_values(datasets[0]) if len(datasets) == 1 else None
    model.preset = model.preset.override(label_values=label_values)  # its checkpoints record it
    record = {"model": model.preset.name, **(options or {}), LABEL_VALUES: label_values}
    with opened(run, record, recipe, world, resume):
        trainer = Trainer(model, task.loss(model, recipe), recipe, run, world, tensorboard)
        if resume:
            trainer.resume()
        batches = task.batches(model, datasets, recipe, world, workers, vocabulary)
        trainer.train(batches, task.validation(model, validation, world, vocabulary))


@contextmanager
def opened(run: Path, options: Mapping[str, Any], recipe: Recipe, world: World, resume: bool) -> Iterator[None]:
    """Hold a run's folder for the block, with its options recorded, or compared with those that it was begun with.

    Where the block fails before the first checkpoint, over a broken picture, say, the run may be begun again.
    Raises ValueError as `train` does.
    """
    _record(run, {**options, "recipe": asdict(recipe)}, world, resume)
    with _locked(run) if world.rank == 0 else nullcontext():
        try:
            yield
        except BaseException as error:
            newest = Checkpoints(run, recipe.keep).newest()
            if not newest:
                (run / OPTIONS).unlink(missing_ok=True)
            if isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt(_stopped(run, newest, recipe)) from error
            raise


def _stopped(run: Path, newest: Path | None, recipe: Recipe) -> str:
    """What Ctrl-C left, and how to go on."""
    if newest is None:
        return "stopped before the first checkpoint: nothing is kept"
    go_on = shlex.join(["python", "-m", "ms_seg", "train", "--output", str(run), "--resume"])
    return f"stopped: step {int(newest.name)} of {recipe.steps} is kept. To go on: {go_on}"


def _record(run: Path, record: Mapping[str, Any], world: World, resume: bool) -> None:
    text = json.dumps(record, indent=1)
    path = run / OPTIONS
    begun = path.is_file()
    world.barrier()  # nobody writes before all have looked
    if begun:
        if not resume:
            raise ValueError(f"{run} holds a run: go on with --resume, or choose another folder")
        before, now = _flat(json.loads(path.read_text())), _flat(json.loads(text))
        before.setdefault(LABEL_VALUES, now[LABEL_VALUES])  # it was not recorded once
        other = [
            f"{key} {_shown(before.get(key))}, not {_shown(now[key])}" for key in now if before.get(key) != now[key]
        ]
        if other:
            raise ValueError(f"{run} was begun with {'; '.join(other)}")
    elif world.rank == 0:
        run.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as draft:
            draft.write_text(text + "\n")
    world.barrier()


def _shown(value: Any) -> Any:
    """A recorded value in a sentence; of a numbering the rule in words."""
    return value.get("meaning", value) if isinstance(value, dict) else value


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    """Options and recipe by today's names. What did not exist when the run was begun has its default."""
    defaults = json.loads(json.dumps(asdict(Recipe())))  # as they are recorded
    recipe = _renamed(record.pop("recipe"), FORMER_RECIPE)
    overrides = _renamed(record.pop("overrides", {}), FORMER_FIELDS)
    return {"overrides": overrides, **defaults, **recipe, **record}


def _renamed(values: Mapping[str, Any], former: Mapping[str, str]) -> dict[str, Any]:
    return {former.get(key, key): value for key, value in values.items()}


@contextmanager
def _locked(run: Path) -> Iterator[None]:
    """Hold the folder until the block, or the process, ends. Raises ValueError if another process holds it."""
    with (run / OPTIONS).open() as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another process is training the run in {run}") from None
        yield

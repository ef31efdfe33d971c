"""A training run: a folder with what it was begun with, which one process at a time trains in.

See `record`, `checkpoints` and `journal` for what is in the folder.
"""

from __future__ import annotations

import fcntl
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from ms_seg.data.semantic import own_label_values
from ms_seg.distributed import World
from ms_seg.presets.recipe import Recipe, check_warmup
from ms_seg.systems import Model
from ms_seg.training.checkpoints import Checkpoints
from ms_seg.training.journal import check_tensorboard
from ms_seg.training.memory import ending_before_memory_does
from ms_seg.training.optimizer import freeze, layers_of
from ms_seg.training.record import LABEL_VALUES, OPTIONS, files_of, record_of
from ms_seg.training.tasks import task_for, training_task
from ms_seg.training.tasks.row import check_figure
from ms_seg.training.trainer import Trainer


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
        resume: go on with the run in the folder, from its newest checkpoint, to the same numbers. Its pictures may lie
            elsewhere now.
        tensorboard: write for TensorBoard too.
        vocab: of a model that takes words, see `text.vocabulary.find_vocabulary`.
        options: what else is recorded, ready for JSON; but for `record.NOT_COMPARED`, a run that is resumed must have
            it in common with this one.

    Raises: ValueError, in one sentence, for what the model cannot learn from, for a folder that holds a run and is not
        to be resumed, holds a run with another recipe, options or pictures, or belongs to another process now, and for
        a picture or label file that cannot be read; RuntimeError when the loss is not finite. Where memory is at its
        end the process ends, with a sentence that names the numbers of the recipe that bound it.
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
    check_figure(task, validation, recipe)
    layers_of(model, recipe)  # for what it raises, before there is a folder
    freeze(model, recipe)
    if not resume:
        check_warmup(recipe)
    label_values = own_label_values(datasets[0]) if len(datasets) == 1 else None
    model.preset = model.preset.override(label_values=label_values)  # its checkpoints record it
    record = {"model": model.preset.name, **(options or {}), LABEL_VALUES: label_values}
    record["files"] = files_of(datasets, validation)
    with opened(run, record, recipe, world, resume):
        trainer = Trainer(model, task.loss(model, recipe), recipe, run, world, tensorboard)
        if resume:
            trainer.resume()
        batches = task.batches(model, datasets, recipe, world, workers, vocabulary)
        with ending_before_memory_does(recipe, world.size, last=partial(_forget_unless_begun, run, recipe)):
            trainer.train(batches, task.validation(model, validation, world, vocabulary))


@contextmanager
def opened(run: Path, options: Mapping[str, Any], recipe: Recipe, world: World, resume: bool) -> Iterator[None]:
    """Hold a run's folder for the block, with its options recorded, or compared with those that it was begun with.

    Where the block fails before the first checkpoint, over a broken picture, say, the run may be begun again.
    Raises ValueError as `train` does.
    """
    record_of(run, {**options, "recipe": asdict(recipe)}, world, resume)
    with _locked(run) if world.rank == 0 else nullcontext():
        try:
            yield
        except BaseException as error:
            newest = _forget_unless_begun(run, recipe)
            if isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt(_stopped(run, newest, recipe, "dataset" in options)) from error
            raise


def _forget_unless_begun(run: Path, recipe: Recipe) -> Path | None:
    """The newest checkpoint; where there is none, the folder may be begun in again."""
    newest = Checkpoints(run, recipe.keep).newest()
    if not newest:
        (run / OPTIONS).unlink(missing_ok=True)
    return newest


def _stopped(run: Path, newest: Path | None, recipe: Recipe, by_command: bool) -> str:
    """What Ctrl-C left, and how to go on."""
    if newest is None:
        return "stopped before the first checkpoint: nothing is kept"
    command = shlex.join(["python", "-m", "ms_seg", "train", "--output", str(run), "--resume"])
    go_on = command if by_command else "train(..., resume=True)"
    return f"stopped: step {int(newest.name)} of {recipe.steps} is kept. To go on: {go_on}"


@contextmanager
def _locked(run: Path) -> Iterator[None]:
    """Hold the folder until the block, or the process, ends. Raises ValueError if another process holds it."""
    with (run / OPTIONS).open() as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another process is training the run in {run}") from None
        yield

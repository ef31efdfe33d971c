"""The loop that every model trains in."""

from __future__ import annotations

import io
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from mindspore import Tensor, nn, ops
from PIL import Image

from convert.progress import ProgressBar, progress_bar
from ms_seg.cells.interrupts import Held, hold
from ms_seg.checkpoints.metadata import describe
from ms_seg.distributed import World
from ms_seg.presets.recipe import Recipe
from ms_seg.systems import Model
from ms_seg.training.checkpoints import AVERAGE, MODEL, OPTIMIZER, Checkpoints, Progress
from ms_seg.training.journal import Journal
from ms_seg.training.schedule import learning_rate
from ms_seg.training.seen import draw_seen
from ms_seg.training.step import Batch, TrainStep

Batches = Callable[[int, int], Iterable[Batch]]  # from a step up to another: this process's share of each step's batch


@dataclass(frozen=True)
class Scores:
    """What a validation measured.

    metrics: by name; monitor: the name of the one by which the best weights are chosen, the higher the better, unless
    the recipe's `save_best` names another, or one of `classes`: figures of one class each, such as "IoU.road".
    picture: predictions beside the truth. table: the figures of each class as text. Both on rank 0 alone.
    """

    metrics: Mapping[str, float]
    monitor: str
    picture: Image.Image | None = None
    classes: Mapping[str, float] = field(default_factory=dict)
    table: str = ""


_RECENT = 20  # steps of which the bar tells how long they waited for data
_SHORT_TABLE = 32  # lines of a table of classes that is shown, and not kept in a file alone

Validate = Callable[[], Scores]  # of the model as it is now


class Trainer:
    """Trains a model by a recipe, and keeps checkpoints and the journal in a run folder.

    model: as `create_model` gives it; it is trained in place. loss: a cell over that model, of what `batches` yields.
    tensorboard: whether the journal is written for TensorBoard too.
    """

    def __init__(self, model: Model, loss: nn.Cell, recipe: Recipe, run: Path, world: World, tensorboard: bool = False):
        self.model, self.recipe, self.run, self.world, self.tensorboard = model, recipe, run, world, tensorboard
        self.checkpoints = Checkpoints(run, recipe.keep)
        self.progress, self.validating, self.compiled = Progress(), False, False
        self.recent: deque[tuple[float, float]] = deque(maxlen=_RECENT)  # seconds of steps: waiting, and in all
        parameters = {parameter.name: parameter for parameter in model.get_parameters()}
        self.step = TrainStep(loss, recipe, world)
        self.files = {MODEL: parameters, OPTIMIZER: {state.name: state for state in self.step.optimizer.state}}
        if recipe.ema:
            averages = {t.name: a for t, a in zip(self.step.trained, self.step.averages, strict=True)}
            self.files[AVERAGE] = {**parameters, **averages}

    def resume(self) -> None:
        """Go on from the newest whole checkpoint, if there is one; before the first step."""
        newest = self.checkpoints.newest()
        if newest:
            self.progress = self.checkpoints.load(newest, self.files)
            self.step.scale = self.progress.loss_scale or self.step.scale

    def train(self, batches: Batches, validate: Validate) -> None:
        """Take the steps that are left. The process may be killed at any moment: another one can `resume`.

        Ctrl-C is waited for to the end of a step, after which there is a checkpoint; a validation is ended at once, and
        repeated by who resumes. A second Ctrl-C ends the step too, without a checkpoint. Raises KeyboardInterrupt then,
        and RuntimeError if the processes of the run do not begin with the same parameters.
        """
        self._check_equal()
        first = self.world.rank == 0
        stream = sys.stderr if first else io.StringIO()  # one process speaks for all
        with ExitStack() as stack:
            journal = stack.enter_context(Journal(self.run, self.progress.step, self.tensorboard)) if first else None
            bar = stack.enter_context(progress_bar(self.recipe.steps, "training", stream, self.progress.step))
            stop = stack.enter_context(hold(self._stop_validating, say=lambda: self._say_stopping(bar)))
            if self.progress.step:
                bar.note(f"going on from step {self.progress.step} of {self.recipe.steps}")
            if self.progress.validation_due:
                self._validate_and_save(journal, bar, validate, stop)
            if self.progress.step < self.recipe.steps:
                bar.note("compiling the training step")
            asked = time.perf_counter()
            for batch in self._read(batches, bar):
                waited = time.perf_counter() - asked
                if journal and not self.progress.step:
                    journal.show_seen(draw_seen(batch, self.model.preset))
                line = self._train_step(batch, waited)
                bar(1, self._said_of(line))
                if journal:
                    journal.write(step=self.progress.step, **line)
                self._validate_and_save(journal, bar, validate, stop)
                asked = time.perf_counter()

    def _said_of(self, line: Mapping[str, float]) -> str:
        waited, seconds = map(sum, zip(*self.recent, strict=True))
        speed = f"{line['images_per_second']:.1f}/s, {waited / seconds:.0%} of the time waiting for data"
        return f"loss {line['loss']:.4f}, lr {line['learning_rate']:.2e}, {speed}"

    def _read(self, batches: Batches, bar: ProgressBar) -> Iterator[Batch]:
        """The batches of the steps that are left. Where one cannot be read, the steps before it are kept."""
        begun = self.progress.step
        try:
            yield from batches(begun, self.recipe.steps)
        except Exception:
            if self.world.rank == 0 and self.progress.step > begun:
                self._save()
                bar.note(f"step {self.progress.step} of {self.recipe.steps} is kept, from which --resume goes on")
            raise

    def _save(self) -> None:
        self.checkpoints.save(self.progress, self.files, describe(self.model.preset))

    def _stop_validating(self) -> None:
        """Answer the first Ctrl-C. Processes that count a validation together end it together."""
        if self.validating and self.world.size == 1:
            raise KeyboardInterrupt

    def _say_stopping(self, bar: ProgressBar) -> None:
        """In another thread."""
        if not self.validating:
            when = "after this step" if self.compiled else "after the first step, once that is compiled"
            bar.note(f"stopping {when} (Ctrl-C again: at once, without a checkpoint)")

    def _train_step(self, batch: Batch, waited: float) -> dict[str, float]:
        """The line of the log; waited: seconds, for the batch."""
        begun, step, before = time.perf_counter(), self.progress.step, self.step.scale
        loss = self.step(step, batch)
        self.compiled = True
        after = self.step.scale
        skipped = before is not None and after is not None and after.value < before.value
        if skipped and after is not None and after.value < 1:
            remedy = "try precision bfloat16 or float32, a lower learning rate or clip_norm"
            raise RuntimeError(f"step {step + 1} overflows float16, as those before at any loss scale from 1: {remedy}")
        if not np.isfinite(loss) and not skipped:
            raise RuntimeError(f"the loss of step {step + 1} is {loss}: try a lower learning rate or clip_norm")
        self.progress = replace(self.progress, step=step + 1, loss_scale=after)
        seconds = time.perf_counter() - begun
        self.recent.append((waited, waited + seconds))
        line = {
            "loss": loss,
            "learning_rate": learning_rate(self.recipe, step),
            "images_per_second": self.recipe.batch_size / seconds,
            "waiting_for_data": waited / (waited + seconds),
        }
        return line if before is None else {**line, "loss_scale": before.value}

    def _validate_and_save(self, journal: Journal | None, bar: ProgressBar, validate: Validate, stop: Held) -> None:
        """Validate, draw and save where it is due, and where it was asked to stop. Raises KeyboardInterrupt then."""
        step, last = self.progress.step, self.progress.step == self.recipe.steps
        validating = last or step % self.recipe.validate_every == 0
        if validating:
            self.progress = replace(self.progress, validation_due=True)
            if not self._asked(stop):
                self._score(journal, bar, validate, stop)
        stopped = self._asked(stop)
        due = last or stopped or step % self.recipe.keep_every == 0 or step == self.progress.best_step
        if due and self.world.rank == 0:
            self._save()
        if due or validating:
            self.world.barrier()  # MindSpore's collectives would not wait for rank 0
        if stopped and not (last and not self.progress.validation_due):
            raise KeyboardInterrupt

    def _score(self, journal: Journal | None, bar: ProgressBar, validate: Validate, stop: Held) -> None:
        """Validate, unless that is stopped, and keep what it measured."""
        step, self.validating = self.progress.step, True
        try:
            scores = self._validate(validate)
        except KeyboardInterrupt:
            if stop.signal is None:
                raise
            return
        finally:
            self.validating = False
        monitor, best = self.recipe.save_best or scores.monitor, self.progress.best_score
        score = {**scores.classes, **scores.metrics}[monitor]
        if not np.isnan(score) and (best is None or score > best):
            self.progress = replace(self.progress, best_score=score, best_step=step, best_figure=monitor)
        self.progress = replace(self.progress, validation_due=False)
        if journal:
            said = f"step {step}: " + ", ".join(f"{key} {value:.4f}" for key, value in scores.metrics.items())
            journal.write(step=step, **scores.metrics, classes=scores.classes)
            if scores.picture:
                journal.show(step, scores.picture, said)
            if scores.table:
                said += f", by class in {journal.keep_table(step, scores.table)}"
            journal.draw(self.progress.best_step, self.model.preset.name, self.progress.best_figure)
            bar.note(f"{scores.table}\n{said}" if 0 < scores.table.count("\n") <= _SHORT_TABLE else said)

    def _asked(self, stop: Held) -> bool:
        """Whether any process of the run was asked to stop."""
        return bool(self.world.sum(np.array(stop.signal is not None, np.int64)))

    def _validate(self, validate: Validate) -> Scores:
        """Score the average of the weights where the recipe keeps one, else the weights themselves."""
        pairs = list(zip(self.step.trained, self.step.averages, strict=False))
        weights = [trained.asnumpy().copy() for trained, _ in pairs]
        for trained, average in pairs:
            ops.assign(trained, average)
        try:
            self.model.set_train(False)
            return validate()
        finally:
            self.model.set_train(True)
            for (trained, _), weight in zip(pairs, weights, strict=True):
                ops.assign(trained, Tensor(weight))

    def _check_equal(self) -> None:
        for name, parameter in self.files[MODEL].items():
            if not self.world.same(parameter.asnumpy()):
                raise RuntimeError(f"the processes begin with different values of {name}")

"""The loop that every system trains in."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from mindspore import nn

from convert.atomic import whole_file
from convert.progress import progress_bar
from ms_seg.distributed import World
from ms_seg.loading import describe
from ms_seg.training.checkpoints import AVERAGE, MODEL, OPTIMIZER, Checkpoints, Progress
from ms_seg.training.journal import Journal
from ms_seg.training.recipe import Recipe, learning_rate
from ms_seg.training.step import Batch, TrainStep

Batches = Callable[[int, int], Iterable[Batch]]  # from a step up to another: this process's share of each step's batch
Validate = Callable[[nn.Cell, Path], Mapping[str, float]]  # measures the model and may leave pictures in a folder


class Trainer:
    """Trains a model by its recipe, and keeps everything of it in a run folder.

    model: as `create_model` gives it; it is trained in place. loss: of that model, over what `batches` yields.
    """

    def __init__(self, model: nn.Cell, loss: nn.Cell, recipe: Recipe, run: Path, world: World):
        self.model, self.recipe, self.run, self.world = model, recipe, run, world
        self.checkpoints = Checkpoints(run, recipe.keep)
        parameters = {parameter.name: parameter for parameter in model.get_parameters()}
        share = recipe.batch_size // world.size
        self.step = TrainStep(loss.set_train(True), recipe, share // recipe.accumulate)
        self.files = {MODEL: parameters, OPTIMIZER: {moment.name: moment for moment in self.step.optimizer.moments}}
        if recipe.ema:
            averages = {t.name: a for t, a in zip(self.step.trained, self.step.averages, strict=True)}
            self.files[AVERAGE] = {**parameters, **averages}
        self.progress = Progress()

    def resume(self) -> None:
        """Go on from the newest whole checkpoint, if there is one."""
        newest = self.checkpoints.newest()
        if newest:
            self.progress = self.checkpoints.load(newest, self.files)

    def train(self, batches: Batches, validate: Validate) -> None:
        """Train up to the recipe's last step; the process may be killed at any moment."""

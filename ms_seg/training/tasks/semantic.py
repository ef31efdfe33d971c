"""A semantic model on a dataset: what the trainer needs to know of both."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from mindspore import nn
from PIL import Image

from ms_seg.answers import Answer
from ms_seg.answers.drawing.panels import joined
from ms_seg.answers.drawing.semantic import draw_comparison
from ms_seg.data.samples import TrainingSamples
from ms_seg.data.semantic import SemanticDataset
from ms_seg.distributed import World
from ms_seg.evaluation.evaluator import evaluate
from ms_seg.evaluation.predictions import CachedPredictions
from ms_seg.evaluation.semantic.predictions import ModelLabelMaps
from ms_seg.evaluation.semantic.tally import SemanticTally
from ms_seg.inference.segmenter import Segmenter
from ms_seg.presets.recipe import Recipe
from ms_seg.training.feeding import batches
from ms_seg.training.losses.cross_entropy import SemanticLoss
from ms_seg.training.trainer import Scores, Trainer

SHOWN = 4  # pictures of the validation split that a run draws


def train_semantic(
    model: nn.Cell,
    training: SemanticDataset,
    validation: SemanticDataset,
    recipe: Recipe,
    run: Path,
    world: World,
    workers: int = 0,
    resume: bool = False,
    tensorboard: bool = False,
) -> None:
    """Train a semantic model by its recipe; see `Trainer` for what the run folder holds."""
    rule = model.preset.preprocessing
    samples = TrainingSamples(training, recipe, rule.mean, rule.std)
    trainer = Trainer(model, SemanticLoss(model), recipe, run, world, tensorboard)
    if resume:
        trainer.resume()
    feed = partial(batches, samples, batch_size=recipe.batch_size, rank=world.rank, ranks=world.size, workers=workers)
    trainer.train(feed, Validation(Segmenter(model), validation, world))


class Validation:
    """Scores a model on the validation split, each process on its share, and draws the first few pictures."""

    def __init__(self, segment: Callable[[np.ndarray], Answer], dataset: SemanticDataset, world: World):
        """segment: with the model that is trained, as `Segmenter` does."""
        self.segment, self.dataset, self.world = segment, dataset, world

    def __call__(self, model: nn.Cell) -> Scores:
        predictions = CachedPredictions(ModelLabelMaps(self.segment, self.dataset))
        tally = evaluate(self.dataset, predictions, SemanticTally.of(self.dataset), self.world)
        return Scores({"mIoU": tally.matrix.miou}, "mIoU", None if self.world.rank else self._draw())

    def _draw(self) -> Image.Image:
        """Some pictures with the truth and the prediction beside them, one below the other."""
        panels = []
        for index in range(min(SHOWN, len(self.dataset))):
            picture, truth = self.dataset.picture(index), self.dataset.label_map(index)
            panels.append(draw_comparison(picture, truth, self.segment(picture).label_map, self.dataset.label_set))
        return joined(panels, axis=0)

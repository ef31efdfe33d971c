"""A model of queries on a panoptic dataset: what the trainer needs to know of both."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from mindspore import nn
from PIL import Image

from ms_seg.answers import PanopticAnswer
from ms_seg.answers.drawing.panels import joined
from ms_seg.answers.drawing.segments import draw_panoptic_comparison
from ms_seg.data.augmentation.lsj import masks_of
from ms_seg.data.panoptic import PanopticDataset
from ms_seg.data.samples import PanopticSamples
from ms_seg.distributed import World
from ms_seg.evaluation.evaluator import evaluate
from ms_seg.evaluation.panoptic.predictions import ModelPanopticMaps
from ms_seg.evaluation.panoptic.tally import PanopticTally
from ms_seg.evaluation.predictions import CachedPredictions
from ms_seg.inference.segmenter import Segmenter
from ms_seg.presets.recipe import Recipe
from ms_seg.training.feeding import batches
from ms_seg.training.losses.masks import MaskLoss
from ms_seg.training.step import Batch
from ms_seg.training.tasks.semantic import SHOWN
from ms_seg.training.trainer import Scores, Trainer


def train_panoptic(
    model: nn.Cell,
    training: PanopticDataset,
    validation: PanopticDataset,
    recipe: Recipe,
    run: Path,
    world: World,
    workers: int = 0,
    resume: bool = False,
    tensorboard: bool = False,
) -> None:
    """Train a model of queries by its recipe; see `Trainer` for what the run folder holds."""
    rule = model.preset.preprocessing
    samples = PanopticSamples(training, recipe, rule.mean, rule.std)
    trainer = Trainer(model, MaskLoss(model, recipe), recipe, run, world, tensorboard)
    if resume:
        trainer.resume()
    sharing = {"batch_size": recipe.batch_size, "rank": world.rank, "ranks": world.size, "workers": workers}
    validate = PanopticValidation(Segmenter(model, task="panoptic"), validation, world)
    trainer.train(partial(batches_with_masks, samples, **sharing), validate)


def batches_with_masks(
    samples: PanopticSamples, start_step: int, stop_step: int, **sharing: int
) -> Generator[Batch, None, None]:
    """What `batches` yields, with a mask (n, M, s, s) uint8 for each target in the place of whose each pixel is.

    Masks are made here, for workers would have to send a hundred megabytes a picture. sharing: the other arguments of
    `batches`.
    """
    with closing(batches(samples, start_step, stop_step, **sharing)) as feed:
        for images, labels, targets in feed:
            yield images, labels, masks_of(targets, labels.shape[1])


class PanopticValidation:
    """Scores a model on the validation split, each process on its share, and draws the first few pictures."""

    def __init__(self, segment: Callable[[Any], PanopticAnswer], dataset: PanopticDataset, world: World):
        """segment: with the model that is trained, as `Segmenter` does."""
        self.predictions, self.dataset, self.world = ModelPanopticMaps(segment, dataset), dataset, world

    def __call__(self, model: nn.Cell) -> Scores:
        tally = PanopticTally.of(self.dataset)
        tally = evaluate(self.dataset, CachedPredictions(self.predictions), tally, self.world)
        quality = tally.quality
        figures = {"PQ": quality.average().pq, "SQ": quality.average().sq, "RQ": quality.average().rq}
        figures |= {"PQ_things": quality.average(things=True).pq, "PQ_stuff": quality.average(things=False).pq}
        return Scores(figures, "PQ", None if self.world.rank else self._draw())

    def _draw(self) -> Image.Image:
        """Some pictures with the true segments and the predicted ones beside them, one below the other."""
        dataset = self.dataset
        panels = [
            draw_panoptic_comparison(
                dataset.picture(index), dataset.panoptic(index), self.predictions[index], dataset.label_set
            )
            for index in range(min(SHOWN, len(dataset)))
        ]
        return joined(panels, axis=0)

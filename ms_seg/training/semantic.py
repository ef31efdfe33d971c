"""A semantic model on a dataset: what the trainer needs to know of both."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from mindspore import nn
from PIL import Image

from convert.atomic import whole_file
from ms_seg.data.order import TrainingSamples
from ms_seg.data.semantic import SemanticDataset
from ms_seg.distributed import World
from ms_seg.evaluation.semantic import ConfusionMatrix
from ms_seg.inference.drawing import draw_comparison
from ms_seg.inference.segmenter import Segmenter
from ms_seg.training.feeding import batches
from ms_seg.training.losses import SemanticLoss
from ms_seg.training.recipe import Recipe
from ms_seg.training.trainer import Trainer

SHOWN = 4  # pictures of the validation split that a run draws


def train_semantic(
    model: nn.Cell,
    training: SemanticDataset,
    validation: SemanticDataset,
    recipe: Recipe,
    run: Path,
    world: World,
    workers: int = 2,
    resume: bool = False,
) -> None:
    """Train a semantic model by its recipe; see `Trainer` for what the run folder holds."""
    rule = model.preset.preprocessing
    samples = TrainingSamples(training, recipe, rule.mean, rule.std)
    trainer = Trainer(model, SemanticLoss(model), recipe, run, world)
    if resume:
        trainer.resume()
    feed = partial(batches, samples, batch_size=recipe.batch_size, rank=world.rank, ranks=world.size, workers=workers)
    trainer.train(feed, Validation(model, validation, run, world))


class Validation:
    """Scores a model on the validation split, each process on its share, and draws the first few pictures."""

    def __init__(self, model: nn.Cell, dataset: SemanticDataset, run: Path, world: World):
        self.dataset, self.folder, self.world = dataset, run / "validation", world
        self.segmenter = Segmenter(model)

    def __call__(self, model: nn.Cell, step: int) -> dict[str, float]:
        matrix = ConfusionMatrix(len(self.dataset.label_set))
        for index in range(self.world.rank, len(self.dataset), self.world.size):
            answer = self.segmenter(self.dataset.picture(index))
            matrix.update(answer.label_map, self.dataset.labels(index))
        matrix.counts = self.world.sum(matrix.counts)
        if self.world.rank == 0:
            self._draw(step)
        return {"score": matrix.miou, "mIoU": matrix.miou}

    def _draw(self, step: int) -> None:
        """Some pictures with the truth and the prediction beside them, one below the other."""
        panels = []
        for index in range(min(SHOWN, len(self.dataset))):
            picture, truth = self.dataset.picture(index), self.dataset.labels(index)
            panels.append(draw_comparison(picture, truth, self.segmenter(picture).label_map, self.dataset.label_set))
        tops = np.cumsum([0, *(panel.height for panel in panels)]).tolist()
        canvas = Image.new("RGB", (max(panel.width for panel in panels), tops[-1]), "white")
        for panel, top in zip(panels, tops, strict=False):
            canvas.paste(panel, (0, top))
        self.folder.mkdir(exist_ok=True)
        with whole_file(self.folder / f"{step:08}.png") as draft:
            canvas.save(draft, "PNG")

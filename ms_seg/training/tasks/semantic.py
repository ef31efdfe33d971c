"""Logits of classes, learned from label maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mindspore import nn
from PIL import Image

from ms_seg.answers.drawing.semantic import draw_comparison
from ms_seg.data.preflight import preflight
from ms_seg.data.samples import SemanticSamples
from ms_seg.data.semantic import SemanticDataset
from ms_seg.distributed import World
from ms_seg.evaluation.predictions import Predictions
from ms_seg.evaluation.semantic.tally import SemanticTally
from ms_seg.inference.segmenter import Segmenter
from ms_seg.label_sets import LabelSet
from ms_seg.presets import Preset
from ms_seg.presets.recipe import Recipe
from ms_seg.systems import Model
from ms_seg.training.loader import Loader
from ms_seg.training.losses.cross_entropy import SemanticLoss
from ms_seg.training.tasks.row import TrainingTask, classes_of, no_vocabulary, one_dataset
from ms_seg.training.trainer import Batches, Validate
from ms_seg.training.validation import make_validation


def _overrides(preset: Preset, label_set: LabelSet, recipe: Recipe) -> Mapping[str, Any]:
    """Pictures are validated at the scale that they are trained at."""
    return {**classes_of(preset, label_set), "short_side": recipe.short_side, "long_side": recipe.long_side}


def _preflight(dataset: SemanticDataset, preset: Preset, learned: bool, allowed: Sequence[str]) -> list[str]:
    return preflight(dataset, preset.num_classes or 0, learned=learned, allowed=allowed, table=learned)


def _check(preset: Preset, datasets: Sequence[SemanticDataset], recipe: Recipe) -> None:
    one_dataset(preset, datasets, recipe)
    outputs, weights = classes_of(preset, datasets[0].label_set)["num_classes"], len(recipe.ce_class_weight)
    if weights not in (0, outputs):
        raise ValueError(
            f"ce_class_weight must be {outputs} numbers, one for each output of the model: {weights} are not"
        )


def _loss(model: Model, recipe: Recipe) -> nn.Cell:
    return SemanticLoss(model, recipe)


def _batches(
    model: Model,
    datasets: Sequence[SemanticDataset],
    recipe: Recipe,
    world: World,
    workers: int,
    vocabulary: Path | None,
) -> Batches:
    """Images (n, 3, s, s) float32 and labels (n, s, s) int32."""
    (dataset,), rule = datasets, model.preset.preprocessing
    samples = SemanticSamples(dataset, recipe, rule.mean, rule.std)
    return Loader(samples, recipe.batch_size, world.rank, world.size, workers).batches


def _validation(model: Model, dataset: SemanticDataset, world: World, vocabulary: Path | None) -> Validate:
    dataset, segment = Segmenter(model, task="semantic").for_dataset(dataset)
    names = dataset.label_set.names
    return make_validation(
        segment, dataset, world, "semantic", metrics, "mIoU", draw, lambda tally: class_figures(tally, names)
    )


def metrics(tally: SemanticTally) -> dict[str, float]:
    return {"mIoU": tally.matrix.miou, "mAcc": tally.matrix.macc, "aAcc": tally.matrix.aacc}


def class_figures(tally: SemanticTally, names: Sequence[str]) -> dict[str, float]:
    """IoU and accuracy of each class, as mmsegmentation calls them."""
    matrix = tally.matrix
    return {
        f"{kind}.{name}": value
        for kind, values in (("IoU", matrix.per_class_iou), ("Acc", matrix.per_class_accuracy))
        for name, value in zip(names, values.tolist(), strict=True)
    }


def figures(dataset: SemanticDataset) -> list[str]:
    nothing = SemanticTally.of(dataset)
    return [*metrics(nothing), *class_figures(nothing, dataset.label_set.names)]


def draw(dataset: SemanticDataset, predictions: Predictions[np.ndarray], index: int) -> Image.Image:
    truth, prediction = dataset.label_map(index), predictions[index]
    return draw_comparison(dataset.picture(index), truth, prediction, dataset.label_set)


SEMANTIC_LOGITS = TrainingTask(
    learns="semantic",
    find_vocabulary=no_vocabulary,
    check=_check,
    overrides=_overrides,
    preflight=_preflight,
    loss=_loss,
    batches=_batches,
    validation=_validation,
    figures=figures,
)

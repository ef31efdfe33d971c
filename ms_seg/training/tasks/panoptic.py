"""Classes and masks of queries, learned from panoptic maps."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from mindspore import nn
from PIL import Image

from ms_seg.answers.drawing.segments import draw_panoptic_comparison
from ms_seg.cells import native
from ms_seg.data.panoptic import PanopticDataset, PanopticMap
from ms_seg.data.preflight import preflight_panoptic
from ms_seg.data.samples import PanopticSamples
from ms_seg.data.targets import masks_of
from ms_seg.distributed import World
from ms_seg.evaluation.panoptic.tally import PanopticTally
from ms_seg.evaluation.predictions import Predictions
from ms_seg.inference.segmenter import Segmenter
from ms_seg.label_sets import LabelSet
from ms_seg.presets import Preset
from ms_seg.presets.recipe import Recipe
from ms_seg.systems import Model
from ms_seg.training.loader import Loader
from ms_seg.training.losses.masks import GraphMaskLoss, MaskLoss, RecomputedMaskLoss
from ms_seg.training.step import Batch
from ms_seg.training.tasks.row import TrainingTask, classes_of, no_vocabulary, one_dataset
from ms_seg.training.trainer import Batches, Validate
from ms_seg.training.validation import make_validation


def _overrides(preset: Preset, label_set: LabelSet, recipe: Recipe) -> Mapping[str, Any]:
    """Whatever its weights were trained for before, the model answers all tasks again."""
    return {**classes_of(preset, label_set), "tasks": preset.tasks}


def _preflight(dataset: PanopticDataset, preset: Preset, learned: bool, allowed: Sequence[str]) -> list[str]:
    return preflight_panoptic(dataset, preset.num_classes or 0)


def mask_loss(model: Model, recipe: Recipe) -> nn.Cell:
    if native.available():
        return GraphMaskLoss(model, recipe)
    return (RecomputedMaskLoss if recipe.recompute else MaskLoss)(model, recipe)


def _batches(
    model: Model,
    datasets: Sequence[PanopticDataset],
    recipe: Recipe,
    world: World,
    workers: int,
    vocabulary: Path | None,
) -> Batches:
    (dataset,), rule = datasets, model.preset.preprocessing
    samples = PanopticSamples(dataset, recipe, rule.mean, rule.std)
    return with_masks(Loader(samples, recipe.batch_size, world.rank, world.size, workers))


def with_masks(loader: Loader) -> Batches:
    """Batches of `PanopticSamples` or `ClassMaskSamples`, with a mask for each target instead of their index map.

    They hold images (n, 3, s, s) float32, labels (n, M) int32 and masks (n, M, s, s) uint8 of 0 and 1. Masks are made
    here because workers would have to send a hundred megabytes a picture.
    """

    def batches(start_step: int, stop_step: int) -> Generator[Batch, None, None]:
        with closing(loader.batches(start_step, stop_step)) as loaded:
            for images, labels, targets in loaded:
                yield images, labels, masks_of(targets, labels.shape[1])

    return batches


def _validation(model: Model, dataset: PanopticDataset, world: World, vocabulary: Path | None) -> Validate:
    dataset, segment = Segmenter(model, task="panoptic").for_dataset(dataset)
    return make_validation(segment, dataset, world, "panoptic", _metrics, "PQ", _draw, _class_figures)


def _metrics(tally: PanopticTally) -> dict[str, float]:
    everything, quality = tally.quality.average(), tally.quality
    metrics = {"PQ": everything.pq, "SQ": everything.sq, "RQ": everything.rq}
    return {**metrics, "PQ_things": quality.average(things=True).pq, "PQ_stuff": quality.average(things=False).pq}


def _class_figures(tally: PanopticTally) -> dict[str, float]:
    quality = tally.quality
    return {
        f"{kind}.{name}": value
        for place, kind in enumerate(("PQ", "SQ", "RQ"))
        for name, value in zip(quality.label_set.names, quality.per_class[:, place].tolist(), strict=True)
    }


def _figures(dataset: PanopticDataset) -> list[str]:
    nothing = PanopticTally.of(dataset)
    return [*_metrics(nothing), *_class_figures(nothing)]


def _draw(dataset: PanopticDataset, predictions: Predictions[PanopticMap], index: int) -> Image.Image:
    truth, prediction = dataset.panoptic(index), predictions[index]
    return draw_panoptic_comparison(dataset.picture(index), truth, prediction, dataset.label_set)


PANOPTIC_QUERIES = TrainingTask(
    learns="panoptic",
    find_vocabulary=no_vocabulary,
    check=one_dataset,
    overrides=_overrides,
    preflight=_preflight,
    loss=mask_loss,
    batches=_batches,
    validation=_validation,
    figures=_figures,
)

"""Classes and masks of queries, learned from things that are told apart one by one and may overlap."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ms_seg.answers.drawing.segments import draw_panoptic_comparison
from ms_seg.data.coco.codecs import decode_mask
from ms_seg.data.instance import InstanceDataset
from ms_seg.data.panoptic import PanopticMap, Segment
from ms_seg.data.preflight import preflight_instance
from ms_seg.data.samples import InstanceSamples
from ms_seg.data.targets import unpacked
from ms_seg.distributed import World
from ms_seg.evaluation.instance.average_precision import Detection
from ms_seg.evaluation.instance.scores import SCORED
from ms_seg.evaluation.instance.tally import InstanceTally
from ms_seg.evaluation.predictions import Predictions
from ms_seg.inference.segmenter import Segmenter
from ms_seg.label_sets import LabelSet
from ms_seg.presets import Preset
from ms_seg.presets.recipe import Recipe
from ms_seg.systems import Model
from ms_seg.training.loader import Loader
from ms_seg.training.step import Batch
from ms_seg.training.tasks.panoptic import PANOPTIC_QUERIES
from ms_seg.training.tasks.row import classes_of
from ms_seg.training.trainer import Batches, Validate
from ms_seg.training.validation import make_validation

_MEASURED = ("AP", "AP50")
_SHOWN = 0.5  # the score from which on a thing is drawn


def _overrides(preset: Preset, label_set: LabelSet, recipe: Recipe) -> Mapping[str, Any]:
    """Who learns things alone answers with things alone."""
    return {**classes_of(preset, label_set), "tasks": ("instance",)}


def _preflight(dataset: InstanceDataset, preset: Preset, learned: bool, allowed: Sequence[str]) -> list[str]:
    return preflight_instance(dataset, preset.num_classes or 0)


def _batches(
    model: Model,
    datasets: Sequence[InstanceDataset],
    recipe: Recipe,
    world: World,
    workers: int,
    vocabulary: Path | None,
) -> Batches:
    """Images (n, 3, h, w) float32, labels (n, M) int32 and masks (n, M, h, w) uint8 of 0 and 1."""
    (dataset,), rule = datasets, model.preset.preprocessing
    samples = InstanceSamples(dataset, recipe, rule.mean, rule.std)
    loader = Loader(samples, recipe.batch_size, world.rank, world.size, workers)

    def batches(start_step: int, stop_step: int) -> Generator[Batch, None, None]:
        with closing(loader.batches(start_step, stop_step)) as loaded:
            for images, labels, packed in loaded:
                yield images, labels, unpacked(packed, images.shape[-1])

    return batches


def _validation(model: Model, dataset: InstanceDataset, world: World, vocabulary: Path | None) -> Validate:
    dataset, segment = Segmenter(model, task="instance").for_dataset(dataset)

    def metrics(tally: InstanceTally) -> dict[str, float]:
        scored = tally.scored(dataset)
        return {
            f"{kind}_{name}": scored[kind].figures[name] for kind in SCORED[dataset.scored_by] for name in _MEASURED
        }

    def classes(tally: InstanceTally) -> dict[str, float]:
        scored = tally.scored(dataset)
        pairs = ((kind, zip(names, found.per_class.tolist(), strict=True)) for kind, found in scored.items())
        return {f"{kind}_AP.{name}": value for kind, of_classes in pairs for name, value in of_classes}

    names = dataset.label_set.names
    return make_validation(segment, dataset, world, "instance", metrics, "mask_AP", _draw, classes)


def _figures(dataset: InstanceDataset) -> list[str]:
    kinds = SCORED[dataset.scored_by]
    return [
        *(f"{kind}_{name}" for kind in kinds for name in _MEASURED),
        *(f"{kind}_AP.{name}" for kind in kinds for name in dataset.label_set.names),
    ]


def _draw(dataset: InstanceDataset, predictions: Predictions[Sequence[Detection]], index: int) -> Image.Image:
    labels, masks = dataset.targets(index)
    found = sorted(
        (d for d in predictions[index] if d.mask and d.score >= _SHOWN), key=lambda detection: detection.score
    )
    truth = _painted(masks, labels.tolist(), dataset.size(index))
    guess = _painted([decode_mask(d.mask) for d in found if d.mask], [d.label for d in found], dataset.size(index))
    return draw_panoptic_comparison(dataset.picture(index), truth, guess, dataset.label_set)


def _painted(masks: Sequence[np.ndarray], labels: Sequence[int], size: tuple[int, int]) -> PanopticMap:
    """Masks (H, W) bool over each other, the last on top."""
    ids = np.zeros(size, np.int32)
    for number, mask in enumerate(masks, start=1):
        ids[mask] = number
    return PanopticMap(ids, tuple(Segment(number, label, False, 0) for number, label in enumerate(labels, start=1)))


INSTANCE_QUERIES = replace(
    PANOPTIC_QUERIES,
    learns="instance",
    learnable=lambda dataset: dataset.with_things(),
    overrides=_overrides,
    preflight=_preflight,
    batches=_batches,
    validation=_validation,
    figures=_figures,
)

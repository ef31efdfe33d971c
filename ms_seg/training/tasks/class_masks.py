"""Classes and masks of queries, learned from label maps: a mask for each class that a picture shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ms_seg.data.samples import ClassMaskSamples
from ms_seg.data.semantic import SemanticDataset
from ms_seg.distributed import World
from ms_seg.label_sets import LabelSet
from ms_seg.presets import Preset
from ms_seg.presets.recipe import Recipe
from ms_seg.systems import Model
from ms_seg.training.loader import Loader
from ms_seg.training.tasks.panoptic import mask_loss, with_masks
from ms_seg.training.tasks.row import one_dataset
from ms_seg.training.tasks.semantic import SEMANTIC_LOGITS
from ms_seg.training.trainer import Batches


def _check(preset: Preset, datasets: Sequence[SemanticDataset], recipe: Recipe) -> None:
    one_dataset(preset, datasets, recipe)
    if preset.window and preset.window.exact and recipe.crop != (preset.window.crop,) * 2:
        raise ValueError(
            f"crop_size of {preset.name} must be {preset.window.crop}, the one size that it can be shown: "
            f"{recipe.crop_width or recipe.crop_size} is not"
        )


def _overrides(preset: Preset, label_set: LabelSet, recipe: Recipe) -> Mapping[str, Any]:
    """Who learns no things apart answers semantic segmentation alone."""
    return {**SEMANTIC_LOGITS.overrides(preset, label_set, recipe), "tasks": (SEMANTIC_LOGITS.learns,)}


def _batches(
    model: Model,
    datasets: Sequence[SemanticDataset],
    recipe: Recipe,
    world: World,
    workers: int,
    vocabulary: Path | None,
) -> Batches:
    """See `with_masks`."""
    (dataset,), rule = datasets, model.preset.preprocessing
    samples = ClassMaskSamples(dataset, recipe, rule.mean, rule.std)
    return with_masks(Loader(samples, recipe.batch_size, world.rank, world.size, workers))


SEMANTIC_QUERIES = replace(SEMANTIC_LOGITS, check=_check, overrides=_overrides, loss=mask_loss, batches=_batches)

"""What a row of the table of training tasks says, and what rows of models with classes of their own share."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindspore import nn

from ms_seg.distributed import World
from ms_seg.label_sets import LabelSet, labels_of
from ms_seg.presets import Preset
from ms_seg.presets.preset import nearest
from ms_seg.presets.recipe import Recipe
from ms_seg.systems import Model
from ms_seg.training.trainer import Batches, Validate

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class TrainingTask:
    """How one kind of model learns.

    learns: the task of the datasets that it learns from.
    learnable: dataset -> the pictures of it that there is something to learn from.
    find_vocabulary: (preset, checkpoint or None, what a person gave or None) -> the model's vocabulary, None if it has
        none. Raises ValueError where one is missing or was given in vain.
    check: (preset, training datasets, recipe) raises ValueError for what the model cannot learn from.
    overrides: (preset, the dataset's classes, recipe) -> fields of the model's preset that follow from them.
    preflight: (dataset, preset, learned, allowed) -> lines about a dataset's files, see `data.preflight`, which raises
        as it does.
    loss: (model, recipe) -> a cell over the model, of the batches.
    batches: (model, training datasets, recipe, world, workers, vocabulary) -> the batches; once the model's weights are
        those that the run starts from.
    validation: (model, dataset, world, vocabulary) -> what scores the model on that dataset.
    figures: dataset -> the names of what a validation on it measures, over all classes and of each.
    """

    learns: str
    find_vocabulary: Callable[[Preset, StrPath | None, StrPath | None], Path | None]
    check: Callable[[Preset, Sequence[Any], Recipe], None]
    overrides: Callable[[Preset, LabelSet, Recipe], Mapping[str, Any]]
    preflight: Callable[[Any, Preset, bool, Sequence[str]], list[str]]
    loss: Callable[[Model, Recipe], nn.Cell]
    batches: Callable[[Model, Sequence[Any], Recipe, World, int, Path | None], Batches]
    validation: Callable[[Model, Any, World, Path | None], Validate]
    figures: Callable[[Any], Sequence[str]]
    learnable: Callable[[Any], Any] = lambda dataset: dataset


def no_vocabulary(preset: Preset, checkpoint: StrPath | None, vocab: StrPath | None) -> None:
    """Raise ValueError if a vocabulary is given."""
    if vocab is not None:
        raise ValueError(f"{preset.name} has classes of its own: a vocabulary is {_FOR_WORDS}")


def one_dataset(preset: Preset, datasets: Sequence[Any], recipe: Recipe) -> None:
    """Raise ValueError unless there is one dataset."""
    if len(datasets) != 1:
        raise ValueError(f"{preset.name} has classes of its own: {len(datasets)} datasets are {_FOR_WORDS}")


def check_figure(task: TrainingTask, validation: Any, recipe: Recipe) -> None:
    """Raise ValueError unless the recipe's `save_best` is something that a validation measures."""
    known = task.figures(validation)
    if recipe.save_best and recipe.save_best not in known:
        near = nearest(recipe.save_best, known)
        raise ValueError(f"save_best must be a figure of the validation: {recipe.save_best!r} is not{near}")


def classes_of(preset: Preset, label_set: LabelSet) -> dict[str, Any]:
    """num_classes and label_set of a model for the classes of a dataset: its own if it was published for them."""
    published = labels_of(preset.label_set)
    if published and published.names == label_set.names:
        return {"num_classes": preset.num_classes, "label_set": preset.label_set}
    return {"num_classes": len(label_set), "label_set": label_set}


_FOR_WORDS = "for a model that takes words, as lseg_*"

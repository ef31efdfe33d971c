"""Logits of words, learned from label maps of datasets that each have their own names.

Each step's batch comes from one of the datasets and is compared with the names of its classes; for each number of names
the step is compiled once. The text transformer is frozen, and reads them once, unless the recipe trains it: then they
are read in every step.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from mindspore import nn

from ms_seg.data.preflight import preflight
from ms_seg.data.samples import MixedSamples
from ms_seg.data.semantic import SemanticDataset
from ms_seg.distributed import World
from ms_seg.inference.networks import WordsNetwork
from ms_seg.inference.segmenter import Segmenter
from ms_seg.inference.words import WordReader
from ms_seg.label_sets import LabelSet
from ms_seg.presets import Preset
from ms_seg.presets.recipe import Recipe
from ms_seg.systems import Model
from ms_seg.systems.lseg import MAX_STRIDE, GivenWords
from ms_seg.text import Tokenizer
from ms_seg.text.vocabulary import find_vocabulary
from ms_seg.training.loader import Loader
from ms_seg.training.losses.cross_entropy import WordLoss
from ms_seg.training.step import Batch, Replicated
from ms_seg.training.tasks.row import StrPath, TrainingTask
from ms_seg.training.tasks.semantic import class_figures, draw, figures, metrics
from ms_seg.training.trainer import Batches, Scores, Validate
from ms_seg.training.validation import make_validation


def _find_vocabulary(preset: Preset, checkpoint: StrPath | None, vocab: StrPath | None) -> Path:
    return find_vocabulary(vocab, checkpoint, preset.embedded)


def _check(preset: Preset, datasets: Sequence[SemanticDataset], recipe: Recipe) -> None:
    if recipe.crop_size % MAX_STRIDE:
        raise ValueError(f"crop_size of {preset.name} must be a multiple of {MAX_STRIDE}: {recipe.crop_size} is not")
    if recipe.crop_size == MAX_STRIDE and recipe.batch_size == recipe.accumulate:
        raise ValueError(f"crops of {MAX_STRIDE} leave batch norm one value of each picture: take two or larger")
    for dataset in datasets:
        if len(dataset.label_set) < 2:
            name = dataset.label_set.names[0]
            raise ValueError(f"a dataset must have two classes or more: one has {name!r} alone")


def _overrides(preset: Preset, label_set: LabelSet, recipe: Recipe) -> Mapping[str, Any]:
    return {}


def _preflight(dataset: SemanticDataset, preset: Preset, learned: bool, allowed: Sequence[str]) -> list[str]:
    dataset = dataset.in_words()
    return preflight(dataset, len(dataset.label_set), learned=learned, allowed=allowed, table=learned)


def _loss(model: Model, recipe: Recipe) -> nn.Cell:
    for parameter in model.text.get_parameters():
        parameter.requires_grad = recipe.text_multiplier > 0
    return WordLoss(model if recipe.text_multiplier else GivenWords(model))


def _batches(
    model: Model,
    datasets: Sequence[SemanticDataset],
    recipe: Recipe,
    world: World,
    workers: int,
    vocabulary: Path | None,
) -> Batches:
    datasets, rule = [dataset.in_words() for dataset in datasets], model.preset.preprocessing
    samples = MixedSamples(datasets, recipe, rule.mean, rule.std)
    reader = WordReader(model.text, Tokenizer(vocabulary))
    read = reader.tokens if recipe.text_multiplier else lambda names: reader.features(names).asnumpy()
    words = [read(dataset.label_set.names) for dataset in datasets]
    return with_words(Loader(samples, recipe.batch_size, world.rank, world.size, workers), samples, words)


def with_words(loader: Loader, samples: MixedSamples, words: Sequence[np.ndarray]) -> Batches:
    """Batches of images (n, 3, s, s) float32, labels (n, s, s) int32, and the words of the step's dataset.

    words: of each dataset, the features of its class names (K, D) float32, or their tokens (K, L) int32.
    """

    def batches(start_step: int, stop_step: int) -> Generator[Batch, None, None]:
        with closing(loader.batches(start_step, stop_step)) as loaded:
            for step, (images, labels) in enumerate(loaded, start_step):
                yield images, labels, Replicated(words[samples.dataset_of(step)])

    return batches


def _validation(model: Model, dataset: SemanticDataset, world: World, vocabulary: Path | None) -> Validate:
    segmenter = Segmenter(model, vocab=vocabulary, task="semantic")
    dataset, segment = segmenter.for_dataset(dataset)
    names, network = dataset.label_set.names, segmenter.network
    score = make_validation(
        segment, dataset, world, "semantic", metrics, "mIoU", draw, lambda tally: class_figures(tally, names)
    )
    assert isinstance(network, WordsNetwork)

    def validate() -> Scores:
        network.reader.forget()  # the text transformer may have learned since
        return score()

    return validate


SEMANTIC_WORDS = TrainingTask(
    learns="semantic",
    find_vocabulary=_find_vocabulary,
    check=_check,
    overrides=_overrides,
    preflight=_preflight,
    loss=_loss,
    batches=_batches,
    validation=_validation,
    figures=lambda dataset: figures(dataset.in_words()),
)

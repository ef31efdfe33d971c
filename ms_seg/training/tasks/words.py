"""A model that takes words, on datasets that each have their own: what the trainer needs to know of both."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
from mindspore import nn

from ms_seg.data.samples import MixedSamples
from ms_seg.data.semantic import SemanticDataset
from ms_seg.distributed import World
from ms_seg.inference.segmenter import Segmenter
from ms_seg.inference.words import WordReader
from ms_seg.presets.recipe import Recipe
from ms_seg.systems.lseg import MAX_STRIDE, GivenWords
from ms_seg.text import Tokenizer
from ms_seg.text.vocabulary import find_vocabulary
from ms_seg.training.feeding import batches
from ms_seg.training.losses.cross_entropy import WordLoss
from ms_seg.training.step import Batch, Shared
from ms_seg.training.tasks.semantic import Validation
from ms_seg.training.trainer import Scores, Trainer


def train_on_words(
    model: nn.Cell,
    datasets: Sequence[SemanticDataset],
    validation: SemanticDataset,
    recipe: Recipe,
    run: Path,
    world: World,
    vocab: str | os.PathLike[str] | None = None,
    workers: int = 0,
    resume: bool = False,
    tensorboard: bool = False,
) -> None:
    """Train an LSeg by its recipe; see `Trainer` for what the run folder holds.

    Each step's batch comes from one of the datasets and is compared with the names of its classes; for each number of
    names the step is compiled once. The text transformer is left as it is, and they go through it once, unless the
    recipe trains it: then they are read in every step.

    vocab: see `find_vocabulary`. Raises ValueError for a dataset of a single class, names that the model cannot take,
    and crops that it cannot.
    """
    if recipe.crop_size % MAX_STRIDE:
        raise ValueError(f"crop_size is {recipe.crop_size}: {model.preset.name} takes multiples of {MAX_STRIDE}")
    if recipe.crop_size == MAX_STRIDE and recipe.batch_size == recipe.accumulate:
        raise ValueError(f"crops of {MAX_STRIDE} leave batch norm one value of each picture: take two or larger")
    for dataset in datasets:
        if len(dataset.label_set) < 2:
            raise ValueError(f"a dataset has the class {dataset.label_set.names[0]!r} alone: there is nothing to tell")
    for parameter in model.text.get_parameters():
        parameter.requires_grad = recipe.text_multiplier > 0
    rule, vocabulary = model.preset.preprocessing, find_vocabulary(vocab, model.checkpoint, model.preset.embedded)
    samples = MixedSamples(datasets, recipe, rule.mean, rule.std)
    loss = WordLoss(model if recipe.text_multiplier else GivenWords(model))
    trainer = Trainer(model, loss, recipe, run, world, tensorboard)
    if resume:
        trainer.resume()
    reader = WordReader(model.text, Tokenizer(vocabulary))  # after resuming, which may replace it
    read = reader.tokens if recipe.text_multiplier else lambda names: reader.features(names).asnumpy()
    words = [read(dataset.label_set.names) for dataset in datasets]
    sharing = {"batch_size": recipe.batch_size, "rank": world.rank, "ranks": world.size, "workers": workers}
    segmenter = Segmenter(model, vocab=vocabulary)
    validation, segment = segmenter.for_dataset(validation)
    score = Validation(segment, validation, world)

    def validate(cell: nn.Cell) -> Scores:
        segmenter.network.reader.forget()
        return score(cell)

    trainer.train(partial(batches_with_words, samples, words, **sharing), validate)


def batches_with_words(
    samples: MixedSamples, words: Sequence[np.ndarray], start_step: int, stop_step: int, **sharing: int
) -> Generator[Batch, None, None]:
    """What `batches` yields, and as a third the words (K, D) float32 of the labels of the step's dataset.

    words: of each dataset, or their tokens (K, L) int32. sharing: the other arguments of `batches`.
    """
    with closing(batches(samples, start_step, stop_step, **sharing)) as feed:
        for step, (images, labels) in enumerate(feed, start_step):
            yield images, labels, Shared(words[samples.dataset_of(step)])

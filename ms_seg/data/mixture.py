"""Several datasets in one training, each with its own labels: a step's pictures come from one of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ms_seg.data.augmentation import Triple
from ms_seg.data.order import LATEST, EpochOrder, TrainingSamples, stream
from ms_seg.data.semantic import SemanticDataset

if TYPE_CHECKING:
    from ms_seg.training.recipe import Recipe

_TURNS = 3  # what randomness is for: see `stream`


class MixedSamples:
    """Position in the run -> an augmented sample. Position p belongs to step p // batch_size, of one dataset.

    Each dataset has its epochs as in `TrainingSamples`, whose samples these are where there is one dataset.

    Args:
        datasets: at least one.
        recipe, mean, std: as of `TrainingSamples`.
    """

    columns = TrainingSamples.columns

    def __init__(self, datasets: Sequence[SemanticDataset], recipe: Recipe, mean: Triple, std: Triple):
        self._batch_size = recipe.batch_size
        self._samples = [TrainingSamples(dataset, recipe, mean, std) for dataset in datasets]
        self._orders = [EpochOrder(recipe.seed, len(dataset), number) for number, dataset in enumerate(datasets)]
        self._turns = Turns(recipe.seed, [-(-len(dataset) // recipe.batch_size) for dataset in datasets])

    def __len__(self) -> int:
        return len(self._samples[0])

    def __getitem__(self, position: int) -> tuple[np.ndarray, ...]:
        """The image (3, crop, crop) float32 and its labels (crop, crop) int32."""
        step, place = divmod(position, self._batch_size)
        number, earlier = self._turns[step]
        index = self._orders[number][earlier * self._batch_size + place]
        return self._samples[number].sample(index, position)

    def dataset_of(self, step: int) -> int:
        """Which of the datasets a step's samples come from."""
        return self._turns[step][0]


class Turns:
    """Step -> the number of the dataset whose turn it is, and how many turns it had before.

    A round is as many steps as the datasets' epochs have together, in an order of its own: so each dataset has its part
    in proportion to its size, neither by chance more nor less.

    epochs: how many steps each dataset's epoch has.
    """

    def __init__(self, seed: int, epochs: Sequence[int]):
        self._seed, self._epochs = seed, epochs
        self._of_round = lru_cache(LATEST)(self._turns)

    def __getitem__(self, step: int) -> tuple[int, int]:
        round_, place = divmod(step, sum(self._epochs))
        numbers, earlier = self._of_round(round_)
        return int(numbers[place]), int(earlier[place])

    def _turns(self, round_: int) -> tuple[np.ndarray, np.ndarray]:
        numbers = np.repeat(np.arange(len(self._epochs)), self._epochs)
        numbers = stream(self._seed, _TURNS, round_).permutation(numbers)
        earlier = np.empty_like(numbers)
        for number, epoch in enumerate(self._epochs):
            earlier[numbers == number] = round_ * epoch + np.arange(epoch)
        return numbers, earlier

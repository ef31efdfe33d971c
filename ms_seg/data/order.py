"""The samples of a run, each known from the run's seed and the sample's position in the run alone.

So the order of the pictures and what chance does to each are the same for any number of worker processes, devices and
interruptions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ms_seg.data.augmentation import Triple, augment
from ms_seg.data.semantic import SemanticDataset
from ms_seg.presets import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from ms_seg.training.recipe import Recipe

_SHUFFLING, _AUGMENTATION = 0, 1  # what randomness is for: streams of one seed that have nothing in common


class TrainingSamples:
    """Position in the run -> an augmented sample. Position p belongs to step p // batch_size.

    Every epoch goes through all pictures, in an order of its own.

    Args:
        dataset: its pictures and labels; what is wrong with a file is raised when it is read.
        recipe: steps, batch_size, seed and the numbers of the augmentation.
        mean, std: of the normalisation; those of the model.
    """

    def __init__(
        self, dataset: SemanticDataset, recipe: Recipe, mean: Triple = IMAGENET_MEAN, std: Triple = IMAGENET_STD
    ):
        self.dataset, self.recipe, self.mean, self.std = dataset, recipe, mean, std
        self._order = EpochOrder(recipe.seed, len(dataset))

    def __len__(self) -> int:
        return self.recipe.steps * self.recipe.batch_size

    def __getitem__(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        """The image (3, crop, crop) float32 and its labels (crop, crop) int32."""
        if not 0 <= position < len(self):
            raise IndexError(f"position {position} is outside the run's {len(self)}")
        index = self._order[position]
        rng = _random(self.recipe.seed, _AUGMENTATION, position)
        picture, labels = self.dataset.picture(index), self.dataset.labels(index)
        return augment(picture, labels, self.recipe, rng, self.mean, self.std)


class EpochOrder:
    """Position in the run -> index of a picture, for `count` pictures; without an end."""

    def __init__(self, seed: int, count: int):
        self._seed, self._count = seed, count
        self._epoch, self._permutation = -1, np.empty(0, int)  # the latest that was asked for

    def __getitem__(self, position: int) -> int:
        epoch, place = divmod(position, self._count)
        if epoch != self._epoch:
            self._permutation = _random(self._seed, _SHUFFLING, epoch).permutation(self._count)
            self._epoch = epoch
        return int(self._permutation[place])


def _random(seed: int, purpose: int, number: int) -> np.random.RandomState:
    """A stream of its own for each (seed, purpose, number); NumPy keeps RandomState's numbers for all versions."""
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed, spawn_key=(purpose, number))))

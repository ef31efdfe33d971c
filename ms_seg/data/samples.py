"""The samples of a training run, each determined by the run's seed and its position in the run alone.

So the order of the pictures and their random augmentation are the same for any number of worker processes, devices and
interruptions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence, Sized
from functools import lru_cache
from typing import Generic, TypeVar

import numpy as np

from ms_seg.data.augmentation import lang_seg, lsj, mmseg
from ms_seg.data.augmentation.mmseg import Triple
from ms_seg.data.instance import InstanceDataset, regions_of
from ms_seg.data.panoptic import PanopticDataset, target_map
from ms_seg.data.semantic import SemanticDataset
from ms_seg.data.targets import choose_masks, choose_targets, class_targets
from ms_seg.presets import IMAGENET_MEAN, IMAGENET_STD
from ms_seg.presets.recipe import Recipe

Pictures = TypeVar("Pictures", bound=Sized)

_AUGMENT: dict[str, Callable[..., tuple[np.ndarray, ...]]] = {
    "mmseg": mmseg.augment,
    "lang_seg": lang_seg.augment,
    "lsj": lsj.augment_label_map,
}
_SHUFFLING, _AUGMENTATION, _TURNS = 0, 1, 3  # what randomness is for: see `stream`
LATEST = 2  # orders cached: the thread that reads ahead may be in the next one already


class TrainingSamples(ABC, Generic[Pictures]):
    """Position in the run -> an augmented sample, an array for each of `columns`. Position p belongs to step
    p // batch_size.

    Each epoch goes through all pictures, in an order of its own.

    Args:
        dataset: whose files are read, and errors raised, when a sample is asked for.
        recipe: steps, batch_size, seed and the numbers of the augmentation.
        mean, std: the model's, for normalisation.

    Raises ValueError for an augmentation of another kind of dataset.
    """

    columns: tuple[str, ...]
    augmentations: tuple[str, ...]

    def __init__(self, dataset: Pictures, recipe: Recipe, mean: Triple = IMAGENET_MEAN, std: Triple = IMAGENET_STD):
        if recipe.augmentation not in self.augmentations:
            known = " or ".join(self.augmentations)
            raise ValueError(f"augmentation is {recipe.augmentation!r}: pictures of this kind of dataset take {known}")
        if not len(dataset):
            raise ValueError("there is no picture with anything to learn from")
        self.dataset, self.recipe, self.mean, self.std = dataset, recipe, mean, std
        self._order = EpochSampler(recipe.seed, len(dataset))

    def __len__(self) -> int:
        return self.recipe.steps * self.recipe.batch_size

    def __getitem__(self, position: int) -> tuple[np.ndarray, ...]:
        if not 0 <= position < len(self):
            raise IndexError(f"position {position} is outside the run's {len(self)}")
        return self.sample(self._order[position], position)

    @abstractmethod
    def sample(self, index: int, position: int) -> tuple[np.ndarray, ...]:
        """The picture at an index and its truth, augmented as at a position of the run."""


class SemanticSamples(TrainingSamples[SemanticDataset]):
    """The image (3, crop, crop) float32 and its label map (crop, crop) int32."""

    columns: tuple[str, ...] = ("image", "labels")
    augmentations = tuple(_AUGMENT)

    def sample(self, index: int, position: int) -> tuple[np.ndarray, ...]:
        rng = stream(self.recipe.seed, _AUGMENTATION, position)
        picture, label_map = self.dataset.picture(index), self.dataset.label_map(index)
        return _AUGMENT[self.recipe.augmentation](picture, label_map, self.recipe, rng, self.mean, self.std)


class ClassMaskSamples(SemanticSamples):
    """The image (3, crop, crop) float32, the classes in its label map (M,) int32, and their index map (crop, crop)
    uint16; see `targets.class_targets`.
    """

    columns = ("image", "labels", "targets")

    def sample(self, index: int, position: int) -> tuple[np.ndarray, ...]:
        image, label_map = super().sample(index, position)
        return image, *class_targets(label_map, self.recipe.max_targets)


class _SegmentSamples(TrainingSamples[Pictures]):
    """Of things and segments, which are told apart."""

    columns = ("image", "labels", "targets")
    augmentations = ("lsj", "mmseg")

    def __init__(self, dataset: Pictures, recipe: Recipe, mean: Triple = IMAGENET_MEAN, std: Triple = IMAGENET_STD):
        super().__init__(dataset, recipe, mean, std)
        if recipe.cat_max_ratio < 1:
            raise ValueError(f"cat_max_ratio must be 1, for it is of label maps: {recipe.cat_max_ratio} is not")


class PanopticSamples(_SegmentSamples[PanopticDataset]):
    """The image (3, h, w) float32, the targets' classes (M,) int32, and the targets' index map (h, w) uint16; see
    `panoptic.target_map`.

    With "mmseg", a thing is a target if one of its pixels is in the crop; with "lsj" as mmdetection has it.
    """

    def sample(self, index: int, position: int) -> tuple[np.ndarray, ...]:
        rng, recipe = stream(self.recipe.seed, _AUGMENTATION, position), self.recipe
        picture, panoptic = self.dataset.picture(index), self.dataset.panoptic(index)
        label_set = self.dataset.label_set
        if recipe.augmentation == "lsj":
            return lsj.augment(picture, panoptic, label_set, recipe, rng, self.mean, self.std)
        labels, targets = target_map(panoptic, label_set)
        image, targets = mmseg.augment_map(picture, targets, recipe, rng, self.mean, self.std)
        present = np.bincount(targets.ravel(), minlength=len(labels) + 1)[1:] > 0
        labels, targets = choose_targets(labels, targets, present, recipe.max_targets)
        padded = np.zeros(recipe.crop, np.uint16)
        padded[: targets.shape[0], : targets.shape[1]] = targets
        return image, labels, padded


class InstanceSamples(_SegmentSamples[InstanceDataset]):
    """The image (3, h, w) float32, the things' classes (M,) int32, and the masks of those with a pixel in the crop, in
    bits, (M, h, w / 8) uint8; see `targets.choose_masks`. Crowds are no targets.

    mmdetection takes another picture where nothing is left in the crop; here it has no target.
    """

    def sample(self, index: int, position: int) -> tuple[np.ndarray, ...]:
        rng, recipe = stream(self.recipe.seed, _AUGMENTATION, position), self.recipe
        picture, (labels, masks) = self.dataset.picture(index), self.dataset.targets(index)
        regions, members = regions_of(masks, (picture.shape[0], picture.shape[1]))
        augment = lsj.augment_regions if recipe.augmentation == "lsj" else mmseg.augment_map
        image, regions = augment(picture, regions, recipe, rng, self.mean, self.std)
        return image, *choose_masks(labels, regions, members, recipe.max_targets, recipe.crop)


class MixedSamples:
    """Position in the run -> an augmented sample. Position p belongs to step p // batch_size, of one dataset.

    Each dataset has epochs as in `TrainingSamples`; with a single dataset the samples are the same.

    Args:
        datasets: at least one.
        recipe, mean, std: as of `TrainingSamples`.
    """

    columns = SemanticSamples.columns

    def __init__(self, datasets: Sequence[SemanticDataset], recipe: Recipe, mean: Triple, std: Triple):
        self._batch_size = recipe.batch_size
        self._samples = [SemanticSamples(dataset, recipe, mean, std) for dataset in datasets]
        self._orders = [EpochSampler(recipe.seed, len(dataset), number) for number, dataset in enumerate(datasets)]
        self._turns = Turns(recipe.seed, [-(-len(dataset) // recipe.batch_size) for dataset in datasets])

    def __len__(self) -> int:
        return len(self._samples[0])

    def __getitem__(self, position: int) -> tuple[np.ndarray, ...]:
        """The image (3, crop, crop) float32 and its label map (crop, crop) int32."""
        step, place = divmod(position, self._batch_size)
        number, earlier = self._turns[step]
        index = self._orders[number][earlier * self._batch_size + place]
        return self._samples[number].sample(index, position)

    def dataset_of(self, step: int) -> int:
        """Which of the datasets a step's samples come from."""
        return self._turns[step][0]


class EpochSampler:
    """Position in the run -> index of a picture, for `count` pictures, endlessly.

    dataset: its number in the run; each dataset has its own orders.
    """

    def __init__(self, seed: int, count: int, dataset: int = 0):
        self._seed, self._count, self._key = seed, count, (dataset,) if dataset else ()
        self._of_epoch = lru_cache(LATEST)(self._permutation)

    def __getitem__(self, position: int) -> int:
        epoch, place = divmod(position, self._count)
        return int(self._of_epoch(epoch)[place])

    def _permutation(self, epoch: int) -> np.ndarray:
        return stream(self._seed, _SHUFFLING, epoch, *self._key).permutation(self._count)


class Turns:
    """Step -> the number of the dataset whose turn it is, and how many turns it had before.

    A round has as many steps as the epochs of all datasets together, in an order of its own. So each dataset has
    exactly its share, in proportion to its size.

    epochs: the steps in an epoch of each dataset.
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


def stream(seed: int, purpose: int, *numbers: int) -> np.random.RandomState:
    """An independent stream for each (seed, purpose, numbers), the same in all versions of NumPy.

    purpose: 0 orders pictures, 1 augments them, 2 is for dropping inside the network, 3 takes turns between datasets.
    """
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed, spawn_key=(purpose, *numbers))))

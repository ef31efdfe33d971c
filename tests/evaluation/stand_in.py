"""A dataset and predictions in memory."""

from __future__ import annotations

import numpy as np

from ms_seg.label_sets import LabelSet, numbered_labels


class InMemory:
    """Pictures whose label maps are drawn from a seed; every fifth pixel is to be ignored."""

    def __init__(self, count: int, num_classes: int = 4, size: tuple[int, int] = (12, 16)):
        rng = np.random.default_rng(count)
        self.label_set: LabelSet = numbered_labels(num_classes)
        self.pictures = rng.integers(0, 256, (count, *size, 3), np.uint8)
        self.truths = rng.integers(0, num_classes, (count, *size), np.uint8)
        self.truths[:, :, ::5] = 255

    def __len__(self) -> int:
        return len(self.pictures)

    def name(self, index: int) -> str:
        return f"picture_{index}"

    def picture(self, index: int) -> np.ndarray:
        return self.pictures[index]

    def label_map(self, index: int) -> np.ndarray:
        return self.truths[index]


class Guesses:
    """Predictions that are right in a share of the pixels, which grows with the index; `asked` lists the indices."""

    def __init__(self, dataset: InMemory):
        self.dataset, self.asked = dataset, []

    def __getitem__(self, index: int) -> np.ndarray:
        self.asked.append(index)
        rng = np.random.default_rng(index)
        truth = self.dataset.truths[index]
        right = rng.random(truth.shape) < (index + 1) / len(self.dataset)
        return np.where(right & (truth != 255), truth, rng.integers(0, len(self.dataset.label_set), truth.shape))

    def source(self, index: int) -> str:
        return f"guess {index}"


class OneByOne:
    """A model that answers pictures by a function, one after the other."""

    def __init__(self, answer):
        self.answer = answer

    def __call__(self, picture):
        return self.answer(picture)

    def stream(self, items, read, finish, name):
        for item in items:
            yield item, finish(item, self.answer(read(item)))

"""Weights of classes from how often they are met, so that rare ones are learned too."""

from __future__ import annotations

import numpy as np

from convert.progress import progress_bar
from ms_seg.data.numbering import IGNORED, value_counts
from ms_seg.data.semantic import SemanticDataset


def median_frequency(dataset: SemanticDataset, outputs: int) -> tuple[float, ...]:
    """A weight for each of a model's outputs: the median of the classes' frequencies divided by the class's own.

    A class's frequency is its share of the pixels of the pictures that show it (arXiv:1411.4734, section 4.2). What is
    ignored counts nowhere; a class that no picture shows, and an output without a class, weighs 1. Rounded to six
    digits, as a recipe records them.

    Reads all label maps, with a progress bar; raises as they do.
    """
    met, shown = np.zeros(outputs, np.int64), np.zeros(outputs, np.int64)
    with progress_bar(len(dataset), "counting classes", log="ms_seg") as bar:
        for index in range(len(dataset)):
            counts = value_counts(dataset.label_map(index))[:IGNORED][:outputs]
            counts = np.pad(counts, (0, outputs - len(counts)))
            met += counts
            shown += np.where(counts > 0, counts.sum(), 0)
            bar()
    there = met > 0
    frequencies = met[there] / shown[there]
    weights = np.ones(outputs)
    if there.any():
        weights[there] = np.median(frequencies) / frequencies
    return tuple(float(f"{weight:.6g}") for weight in weights)

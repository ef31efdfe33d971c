"""Scores predictions on a dataset: each process counts its share of the pictures, then the sums are added up."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from convert.progress import progress_bar
from ms_seg.distributed import World
from ms_seg.evaluation.predictions import CachedPredictions
from ms_seg.evaluation.results import WORST
from ms_seg.evaluation.tally import Tally, TallyFiles
from ms_seg.label_sets import LabelSet
from ms_seg.presets import PRESETS


def evaluate(
    dataset: Any, predictions: CachedPredictions, tally: Tally, world: World, kept: TallyFiles | None = None
) -> Tally:
    """Count every picture of a dataset once. Returns the tally of all pictures, the same on every rank.

    Rank 0 shows a progress bar with the figure of what it has counted itself.

    Args:
        dataset, predictions: of the kind that the tally counts. The predictions of the WORST pictures counted here are
            still cached afterwards.
        tally: an empty one, see `TASKS`.
        kept: where to continue from and save to; None begins anew and saves nothing.

    Raises ValueError or RuntimeError, in one sentence that names the file or the picture.
    """
    done = tally.done
    if kept:
        tally, done = kept.resume(tally, world)
    share = np.flatnonzero(~done)[world.rank :: world.size]

    def count(index: int) -> str:
        tally.count(index, dataset, predictions)
        predictions.keep_only(tally.worst(WORST))
        if kept:
            kept.save_now_and_then(tally, world.rank)
        return tally.text

    with open(os.devnull, "w") as nothing:
        stream = None if world.rank == 0 else nothing
        before = int(tally.done.sum())
        with progress_bar(before + len(share), _label(world), stream, before, log="ms_seg") as bar:
            for text in predictions.stream(share.tolist(), count):
                bar(text=text)
    if kept:
        kept.save(tally, world.rank)
    return tally.all_reduce(world)


def check_task(tasks: Sequence[str], task: str, name: str) -> None:
    """Raise ValueError unless the task is among those that the model called `name` answers."""
    if task not in tasks:
        raise ValueError(f"{name} cannot be asked for {task} segmentation, which the dataset is for")


def max_outputs(label_set: str, labels: LabelSet) -> int:
    """The most outputs that a published model of these classes has: some have one more than classes."""
    return max([len(labels), *(row.num_classes or 0 for row in PRESETS.values() if row.label_set == label_set)])


def _label(world: World) -> str:
    return "evaluating" if world.size == 1 else f"evaluating, rank 0 of {world.size}"

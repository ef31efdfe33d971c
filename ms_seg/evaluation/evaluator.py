"""Scores predictions on a dataset: each process on its share of the pictures, the sums over all."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from convert.progress import progress_bar
from ms_seg.distributed import World
from ms_seg.evaluation.semantic.predictions import Remembered
from ms_seg.evaluation.semantic.tally import SemanticTally
from ms_seg.evaluation.tally import Tally, TallyFiles
from ms_seg.label_sets import LabelSet
from ms_seg.presets import PRESETS

WORST = 6  # pictures that are drawn beside their truth


def evaluate(
    dataset: Any, predictions: Remembered, world: World, kept: TallyFiles | None = None, tally: Tally | None = None
) -> Tally:
    """Count every picture of a dataset once; the tally of all, the same on every rank.

    Rank 0 shows a progress bar with the figure of what it has counted itself.

    Args:
        dataset, predictions: of the kind that the tally counts. The predictions of the WORST pictures are still
            remembered afterwards, of the pictures counted here.
        kept: where to go on from, and to keep what is counted; None begins anew and keeps nothing.
        tally: an empty one; of label maps, unless another is given.

    Raises ValueError or RuntimeError, in one sentence that names the file or the picture.
    """
    tally = tally or SemanticTally(len(dataset), len(dataset.label_set))
    done = tally.done
    if kept:
        tally, done = kept.resume(tally, world)
    share = np.flatnonzero(~done)[world.rank :: world.size]
    with open(os.devnull, "w") as nothing:
        stream = None if world.rank == 0 else nothing
        before = int(tally.done.sum())
        with progress_bar(before + len(share), _label(world), stream, before, log="ms_seg") as bar:
            for index in share.tolist():
                tally.count(index, dataset, predictions)
                predictions.forget_all_but(worst_pictures(tally, WORST))
                if kept:
                    kept.save_now_and_then(tally, world.rank)
                bar(text=tally.text)
    if kept:
        kept.save(tally, world.rank)
    return tally.over(world)


def worst_pictures(tally: Tally, count: int) -> list[int]:
    """Indices of the pictures done with the lowest score, the lowest first, but those with nothing to count."""
    scores = tally.scores
    counted = np.flatnonzero(tally.done & ~np.isnan(scores))
    return counted[np.argsort(scores[counted], kind="stable")][:count].tolist()


def most_outputs(label_set: str, labels: LabelSet) -> int:
    """How many outputs a model of these classes may have: of the published ones, some have one more than classes."""
    return max([len(labels)] + [row.arguments["num_classes"] for row in PRESETS.values() if row.label_set == label_set])


def _label(world: World) -> str:
    return "evaluating" if world.size == 1 else f"evaluating, rank 0 of {world.size}"

"""Scores predictions on a dataset: each process on its share of the pictures, the sums over all."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from convert.progress import progress_bar
from ms_seg.data.labels import LabelSet, labels_of
from ms_seg.data.semantic import SemanticDataset
from ms_seg.distributed import World
from ms_seg.evaluation.predictions import Predictions, Remembered
from ms_seg.evaluation.tally import Tally, TallyFiles
from ms_seg.presets import PRESETS, Preset

WORST = 6  # pictures that are drawn beside their truth


def evaluate(dataset: SemanticDataset, predictions: Remembered, world: World, kept: TallyFiles | None = None) -> Tally:
    """Count every picture of a dataset once; the tally of all, the same on every rank.

    Rank 0 shows a progress bar with the mIoU of what it has counted itself.

    Args:
        predictions: those of the WORST pictures are still remembered afterwards, of the pictures counted here.
        kept: where to go on from, and to keep what is counted; None begins anew and keeps nothing.

    Raises ValueError or RuntimeError, in one sentence that names the file or the picture.
    """
    tally = Tally(len(dataset), len(dataset.label_set))
    done = tally.done
    if kept:
        tally, done = kept.resume(tally, world)
    share = np.flatnonzero(~done)[world.rank :: world.size]
    with open(os.devnull, "w") as nothing:
        stream = None if world.rank == 0 else nothing
        before = int(tally.done.sum())
        with progress_bar(before + len(share), _label(world), stream, before, log="ms_seg") as bar:
            for index in share.tolist():
                count_picture(tally, dataset, predictions, index)
                predictions.forget_all_but(worst_pictures(tally, WORST))
                if kept:
                    kept.save_now_and_then(tally, world.rank)
                bar(text=f"mIoU {tally.matrix.miou:.4f}")
    if kept:
        kept.save(tally, world.rank)
    return tally.over(world)


def count_picture(tally: Tally, dataset: SemanticDataset, predictions: Predictions, index: int) -> None:
    """Read the truth of a picture, ask for its prediction, and count. Raises as `evaluate` does."""
    truth, prediction = dataset.labels(index), predictions.label_map(index)
    if prediction.shape != truth.shape:
        sizes = ["{1}x{0}".format(*labels.shape) for labels in (prediction, truth)]
        raise ValueError(f"{predictions.source(index)} is {sizes[0]}, but the label map of the picture is {sizes[1]}")
    tally.add(index, prediction, truth)


def worst_pictures(tally: Tally, count: int) -> list[int]:
    """Indices of the pictures done with the lowest mIoU, the lowest first; those with nothing to count are left out."""
    counted = np.flatnonzero(tally.done & ~np.isnan(tally.ious))
    return counted[np.argsort(tally.ious[counted], kind="stable")][:count].tolist()


def check_labels(preset: Preset, dataset: SemanticDataset) -> None:
    """Raise ValueError unless a model's outputs mean the dataset's classes, or it takes them as words.

    A model may have outputs that no class has, as EasyCV's 172nd. One without names of its own must have as many
    outputs as there are classes.
    """
    if preset.takes_words:
        return
    outputs, labels = preset.arguments["num_classes"], dataset.label_set
    own = labels_of(preset.label_set)
    if own is None:
        if outputs != len(labels):
            raise ValueError(f"{preset.name} has {outputs} classes, and the dataset has {len(labels)}")
        return
    if own.names != labels.names:
        whose = f"{preset.label_set}'s {len(own)}" if isinstance(preset.label_set, str) else len(own)
        raise ValueError(
            f"{preset.name} tells {whose} classes apart ({_some(own.names)}), "
            f"and the dataset has {len(labels)} others ({_some(labels.names)}): choose the one that fits the other"
        )


def most_outputs(label_set: str, labels: LabelSet) -> int:
    """How many outputs a model of these classes may have: of the published ones, some have one more than classes."""
    return max([len(labels)] + [row.arguments["num_classes"] for row in PRESETS.values() if row.label_set == label_set])


def _label(world: World) -> str:
    return "evaluating" if world.size == 1 else f"evaluating, rank 0 of {world.size}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")

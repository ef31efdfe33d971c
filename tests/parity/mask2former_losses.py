"""mmdetection's losses of Mask2Former on the points that ours draws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from unittest import mock

import mask2former_reference
import numpy as np
import torch

from convert.reading.entry import ArrayEntry
from convert.recognition import recognise
from ms_seg.presets.recipe import Recipe
from ms_seg.training.losses.masks import PointSampler

Truth = list[torch.Tensor]  # of each picture


def reference_loss(
    model: torch.nn.Module,
    recipe: Recipe,
    positions: Sequence[int],
    images: np.ndarray,
    labels: Truth,
    masks: Truth,
    mean: float,
) -> torch.Tensor:
    """The sum of the losses of all predictions.

    labels: (K,) int64, and masks: (K, H, W) int64, of each picture. positions: the pictures' in the run. mean: what it
    is told of the number of masks, as if there were more processes.
    """
    metas, head = [{}] * len(images), mask2former_reference.head(model)
    predictions = list(zip(*mask2former_reference.all_layers(model, torch.from_numpy(images)), strict=True))
    counts = np.minimum([len(label) for label in labels], head.num_queries)
    points = _in_mmdetections_order(PointSampler(recipe), positions, counts, len(predictions[0]))
    module = "mmdet.models.dense_heads.mask2former_head"
    with (
        mock.patch.object(torch, "rand", lambda *shape, **_: next(points)),
        mock.patch(f"{module}.reduce_mean", lambda _: torch.tensor([float(mean)])),
    ):
        return sum(head.loss(*predictions, labels, masks, metas).values())


def in_our_names(tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """What the reference calls by its names, by ours."""
    entries = {name: ArrayEntry(tensor.detach().numpy().copy()) for name, tensor in tensors.items()}
    return {name: entry.numpy() for name, entry in recognise(entries).plan(None).apply(entries).items()}


def _in_mmdetections_order(
    draws: PointSampler, positions: Sequence[int], counts: Sequence[int], predictions: int
) -> Iterator[torch.Tensor]:
    """The points that ours draws for counts[i] pairs of the i-th picture, as mmdetection asks for them."""
    for prediction in range(predictions):
        yield from torch.from_numpy(draws.for_matching(positions, prediction)).unsqueeze(1)
        if sum(counts):
            for points in draws.for_loss(positions, counts, max(counts), prediction):
                of_pairs = points.reshape(len(counts), max(counts), -1, 2)
                yield torch.from_numpy(np.concatenate([of_pairs[i, :count] for i, count in enumerate(counts)]))

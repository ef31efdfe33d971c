"""Mask2Former's training step against mmdetection's: losses, gradients, parameters after three steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import drawn
import mask2former_reference
import mindspore as ms
import numpy as np
import pytest
import references
import torch
from errors import check_gradients, relative_error
from mask2former_losses import in_our_names, reference_loss

import ms_seg
from ms_seg.distributed import World
from ms_seg.presets import find_preset
from ms_seg.training.losses.masks import GraphMaskLoss
from ms_seg.training.schedule import learning_rate
from ms_seg.training.step import Batch, TrainStep

NAME, CLASSES = "mask2former_swin_l_coco_panoptic", 11
SMALL = {"num_classes": CLASSES, "queries": 9, "width": 64, "decoder_heads": 4, "pixel_layers": 1, "pixel_hidden": 48}
SMALL |= {"query_layers": 2, "query_hidden": 80}
SMALL |= {"channels": 16, "depths": (1, 1, 1, 1), "heads": (1, 2, 2, 4), "window": 2, "drop_path_rate": 0.0}
SIZE, TARGETS = 64, 12
RECIPE = replace(
    find_preset(NAME).recipe,
    steps=4, milestones=(0.5,), learning_rate=1e-3, batch_size=4, accumulate=2, points=112, max_targets=TARGETS,
)  # fmt: skip
PARTS = ((12, 4), (0, 9))  # numbers of targets


def batch(seed: int, counts: Sequence[int]) -> Batch:
    """Pictures with that many segments each: rectangles, which overlap."""
    generator = np.random.default_rng(seed)
    labels = np.full((len(counts), TARGETS), -1, np.int32)
    masks = np.zeros((len(counts), TARGETS, SIZE, SIZE), np.uint8)
    for i, count in enumerate(counts):
        labels[i, :count] = generator.integers(0, CLASSES, count)
        for mask in masks[i, :count]:
            (top, left), (height, width) = generator.integers(0, SIZE // 2, 2), generator.integers(9, SIZE // 2, 2)
            mask[top : top + height, left : left + width] = 1
    return drawn.images((len(counts), 3, SIZE, SIZE), seed), labels, masks


def loss_of(model: torch.nn.Module, positions: Sequence[int], part: Batch, mean: float) -> torch.Tensor:
    images, labels, masks = part
    counts = (labels >= 0).sum(1)
    truth = [torch.from_numpy(label[:count]).long() for label, count in zip(labels, counts, strict=True)]
    regions = [torch.from_numpy(mask[:count]).long() for mask, count in zip(masks, counts, strict=True)]
    return reference_loss(model, RECIPE, positions, images, truth, regions, mean)


def pairs(counts: Sequence[int]) -> int:
    """How many targets have a query, with so many in each picture."""
    return sum(min(count, SMALL["queries"]) for count in counts)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, TrainStep]:
    preset = find_preset(NAME).override(**SMALL)
    reference = references.draw_weights(mask2former_reference.build(preset, RECIPE), seed=3)
    path = references.save_checkpoint(reference, tmp_path_factory.mktemp("weights") / "model.pth")
    return reference, TrainStep(
        GraphMaskLoss(ms_seg.create_model(NAME, path, **SMALL), RECIPE), RECIPE, World(0, 1, [])
    )


@pytest.mark.parametrize("counts", [*PARTS, (0, 0)], ids=str)
def test_loss_and_every_gradient_equal_mmdetections(counts: Sequence[int], both):
    """With more targets than queries, with fewer, with none in a picture or in all."""
    reference, loss = both[0], both[1].loss.set_train(True)
    part, positions, matched = batch(0, counts), range(7, 9), pairs(counts)
    reference.zero_grad()
    total = loss_of(reference, positions, part, matched)
    total.backward()
    gradients = {key: parameter.grad for key, parameter in reference.named_parameters() if parameter.grad is not None}

    parameters, arrays = loss.trainable_params(), loss.prepare_batch(part, positions, World(0, 1, []))[:-1]
    inputs = (*arrays, np.float32(max(matched, 1)))
    ours, our_gradients = ms.jit(ms.value_and_grad(loss, None, parameters))(*map(ms.Tensor, inputs))
    assert float(ours) == pytest.approx(total.item(), rel=1e-5)
    theirs = in_our_names(gradients)
    for parameter, gradient in zip(parameters, our_gradients, strict=True):  # without a target, masks learn nothing
        assert theirs[parameter.name].any() or not gradient.asnumpy().any(), parameter.name
    learning = [pair for pair in zip(parameters, our_gradients, strict=True) if theirs[pair[0].name].any()]
    check_gradients(*zip(*learning, strict=True), theirs)


def test_parameters_after_three_steps_of_two_parts_equal_mmdetections(both):
    """mmdetection takes the parts as two processes would, and divides by the mean of their numbers of masks."""
    reference, step = both
    optimizer, matched = mask2former_reference.optimizer(reference), sum(map(pairs, PARTS)) / len(PARTS)
    for number in range(3):
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] / 1e-4 * learning_rate(RECIPE, number)
        optimizer.zero_grad()
        whole, losses = batch(number, sum(PARTS, ())), []
        for first in (0, 2):
            part, position = [array[first : first + 2] for array in whole], 4 * number + first
            losses.append(loss_of(reference, range(position, position + 2), part, matched) / 2)
            losses[-1].backward()
        assert torch.nn.utils.clip_grad_norm_(reference.parameters(), 0.01) > 1
        optimizer.step()
        assert step(number, whole) == pytest.approx(sum(losses).item(), rel=1e-5)
    theirs = in_our_names(reference.state_dict())
    for parameter in step.loss.model.get_parameters():
        name, value = parameter.name, parameter.asnumpy()
        if name.endswith("attn.qkv.bias"):  # softmax does not feel a bias of its keys: gradients of rounding alone
            value, theirs[name] = (np.delete(array.reshape(3, -1), 1, 0) for array in (value, theirs[name]))
        if not name.endswith("attn.k.bias"):
            assert relative_error(value, theirs[name]) <= 1e-4, name

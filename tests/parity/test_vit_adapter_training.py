"""A ViT-Adapter's training on label maps: losses, gradients, rates and weight decays against PyTorch's.

Its head and its losses are mmdetection's: modelscope's copy of the head cannot be trained. What of the original's
training is in no package is said here: its targets, and its optimiser's groups.
"""

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
from errors import check_gradients
from mask2former_losses import in_our_names, reference_loss

import ms_seg
from ms_seg.cells.device import recompute_blocks
from ms_seg.cells.norm import running_statistics
from ms_seg.data.targets import class_targets, masks_of
from ms_seg.distributed import World
from ms_seg.presets import find_preset
from ms_seg.training.losses.masks import MaskLoss, RecomputedMaskLoss
from ms_seg.training.step import Batch, TrainStep

NAME, CLASSES, DEPTH, SIZE = "mask2former_tiny_shapes", 7, 4, 64
# Of twenty, the weights under which no ReLU's input and no sampled place lies within 1e-5 of a kink: rounding takes it
# across, and the gradients of all that comes before it differ by some per cent (under seed 2, one ReLU's do).
SEED = 13
BACKBONE = {"channels": 32, "depth": DEPTH, "heads": 2, "grid": SIZE // 16, "deform_heads": 4, "prior_width": 8}
BACKBONE |= {"add_query": False}
SMALL = {"num_classes": CLASSES, "queries": 5, "width": 64, "decoder_heads": 4, "pixel_layers": 1, "pixel_hidden": 48}
SMALL |= {"query_layers": 2, "query_hidden": 80, "points": 4}
RECIPE = replace(find_preset("vit_adapter_beit_l_cocostuff164k_czczup").recipe, batch_size=2, points=112)


def label_maps(seed: int, classes: Sequence[int]) -> np.ndarray:
    """(2, SIZE, SIZE) int32: rectangles of the classes, and of what is ignored."""
    generator = np.random.default_rng(seed)
    maps = np.full((2, SIZE, SIZE), 255, np.int32)
    for label_map in maps:
        for label in classes:
            (top, left), (height, width) = generator.integers(0, SIZE // 2, 2), generator.integers(9, SIZE // 2, 2)
            label_map[top : top + height, left : left + width] = label
    return maps


def batch(seed: int, classes: Sequence[int]) -> Batch:
    """What ours learns from."""
    labels, targets = zip(*(class_targets(label_map, 16) for label_map in label_maps(seed, classes)), strict=True)
    return drawn.images((2, 3, SIZE, SIZE), seed), np.stack(labels), masks_of(np.stack(targets), 16)


def theirs(model: torch.nn.Module, position: int, seed: int, classes: Sequence[int]) -> tuple[torch.Tensor, int]:
    """The loss, and how many targets have a query. Each class in a map but 255 is a target: the original's ToMask."""
    labels, masks = [], []
    for label_map in torch.from_numpy(label_maps(seed, classes)):
        present = label_map.unique()
        labels.append(present[present != 255].long())
        masks.append(torch.stack([label_map == label for label in labels[-1]]).long())
    matched = sum(min(len(present), SMALL["queries"]) for present in labels)
    images, positions = drawn.images((2, 3, SIZE, SIZE), seed), range(position, position + 2)
    return reference_loss(model, RECIPE, positions, images, labels, masks, matched), matched


def layer(name: str) -> int:
    """The layer of a parameter by its published name, from 0 to DEPTH + 1."""
    head = ("mask_embed", "cls_embed", "level_embed", "query_embed", "query_feat")
    lowest = ("backbone.cls_token", "backbone.patch_embed.", *(f"decode_head.{part}." for part in head))
    if f"{name}.".startswith(lowest):
        return 0
    return int(name.split(".")[2]) + 1 if name.startswith("backbone.blocks.") else DEPTH + 1


def group(name: str, parameter: torch.nn.Parameter) -> dict:
    """One parameter in the original's optimiser: the rate times 0.9 for each layer above; vectors do not decay."""
    decays = parameter.ndim > 1 and not name.endswith(".bias")
    return {
        "params": [parameter],
        "multiplier": 0.9 ** (DEPTH + 1 - layer(name)),
        "weight_decay": RECIPE.weight_decay if decays else 0.0,
    }


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, TrainStep]:
    """The two, with the same weights, in training: batch norm takes the batch's statistics, nothing is dropped."""
    overrides = {"backbone": ("vit_adapter", BACKBONE), **SMALL}
    preset = find_preset(NAME).override(**overrides)
    reference = references.draw_weights(mask2former_reference.build(preset, RECIPE), seed=SEED).train()
    for module in reference.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    path = references.save_checkpoint(reference, tmp_path_factory.mktemp("weights") / "model.pth")
    return reference, TrainStep(MaskLoss(ms_seg.create_model(NAME, path, **overrides), RECIPE), RECIPE, World(0, 1, []))


@pytest.mark.parametrize(
    ("classes", "recompute"), [((3, 0, 6), False), (range(CLASSES), False), ((3, 0, 6), True)], ids=str
)
def test_loss_and_every_gradient_equal_pytorchs(classes: Sequence[int], recompute: bool, both):
    """With fewer classes in a map than queries, and with more; some pixels are ignored."""
    reference, loss = both[0], both[1].loss.set_train(True)
    reference.zero_grad()
    total, matched = theirs(reference, 7, 0, classes)
    total.backward()
    gradients = {key: parameter.grad for key, parameter in reference.named_parameters() if parameter.grad is not None}
    arrays = loss.prepare_batch(batch(0, classes), range(7, 9), World(0, 1, []))[:-1]
    parameters, inputs = loss.trainable_params(), tuple(map(ms.Tensor, (*arrays, np.float32(matched))))
    compute = ms.value_and_grad(loss, None, parameters)
    if recompute:
        statistics = [statistic.asnumpy().copy() for statistic in running_statistics(loss)]
        loss = RecomputedMaskLoss(loss.model, RECIPE).set_train(True)
        recompute_blocks(loss)
        inputs, compute = loss.prepare_part(*inputs), ms.jit(ms.value_and_grad(loss, None, parameters))
        for statistic, before in zip(running_statistics(loss), statistics, strict=True):
            assert (statistic.asnumpy() == before).all()
    ours, our_gradients = compute(*inputs)
    assert float(ours) == pytest.approx(total.item(), rel=1e-5)
    check_gradients(parameters, our_gradients, in_our_names(gradients))


def test_rates_and_weight_decays_are_the_originals(both):
    """Of every parameter: those of a layer, of what is above, and of the head's five that count to the first layer."""
    reference, ours = both[0], both[1].optimizer
    rules = {name: group(name, parameter) for name, parameter in reference.named_parameters()}
    rates, decays = (
        in_our_names(
            {name: torch.full_like(rule["params"][0], rule[key]) for name, rule in rules.items()}
            | {name: buffer for name, buffer in reference.named_buffers()}
        )
        for key in ("multiplier", "weight_decay")
    )
    found = set()
    for parameter, rate, decay in zip(ours.trained, ours.lr_multipliers, ours.weight_decays, strict=True):
        assert np.allclose(rates[parameter.name], rate, rtol=1e-6), parameter.name
        assert np.allclose(decays[parameter.name], decay, rtol=1e-6), parameter.name
        found.add(round(rate, 6))
    assert found == {round(0.9**power, 6) for power in range(DEPTH + 2)}

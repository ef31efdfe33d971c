"""SegFormer's training step against mmsegmentation and PyTorch: loss, gradients, parameters after three steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import drawn
import mindspore as ms
import numpy as np
import pytest
import references
import torch
from errors import check_gradients, relative_error

import ms_seg
from convert.reading.entry import ArrayEntry
from convert.recognition import recognise
from ms_seg.distributed import World
from ms_seg.presets import find_preset
from ms_seg.training.losses.cross_entropy import SemanticLoss
from ms_seg.training.schedule import learning_rate
from ms_seg.training.step import TrainStep

SMALL = {"embed_dims": (16, 32, 80, 128), "depths": (1, 2, 1, 1), "head_width": 24, "num_classes": 11}
STILL = {"drop_path_rate": 0.0, "dropout_rate": 0.0}
NAMES = ("segformer_b0_ade20k", "segformer_b0_ade20k_mmseg")
SIZE = 64


def batch(seed: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.random.default_rng(seed).integers(0, 11, (2, SIZE, SIZE)).astype(np.int32)
    labels[:, :5] = 255
    return drawn.images((2, 3, SIZE, SIZE), seed), labels


def reference_loss(model: torch.nn.Module, images: np.ndarray, labels: np.ndarray) -> torch.Tensor:
    """As mmsegmentation's decode head computes it: resized logits, mean over all pixels, ignored ones too."""
    x = torch.from_numpy(images)
    logits = model.decode_head(model.backbone(x)) if hasattr(model, "backbone") else model(pixel_values=x).logits
    logits = torch.nn.functional.interpolate(logits, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    losses = torch.nn.functional.cross_entropy(
        logits, torch.from_numpy(labels).long(), ignore_index=255, reduction="none"
    )
    return losses.mean()


def still(model: torch.nn.Module) -> torch.nn.Module:
    """In training mode, but nothing is dropped."""
    for module in model.train().modules():
        if isinstance(module, torch.nn.Dropout | torch.nn.Dropout2d):
            module.p = 0.0
        if hasattr(module, "drop_prob"):
            module.drop_prob = 0.0
    return model


def both(name: str, folder: Path) -> tuple[torch.nn.Module, ms.nn.Cell]:
    reference = references.build_reference(find_preset(name).override(**SMALL), seed=3)
    path = references.save_checkpoint(reference, folder / "model.pth")
    return still(reference), ms_seg.create_model(name, path, **SMALL, **STILL)


def in_our_names(tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    entries = {name: ArrayEntry(tensor.detach().numpy().copy()) for name, tensor in tensors.items()}
    return {name: entry.numpy() for name, entry in recognise(entries).plan(None).apply(entries).items()}


@pytest.mark.parametrize("name", NAMES)
def test_loss_and_every_gradient_equal_the_references(name: str, tmp_path: Path):
    reference, model = both(name, tmp_path)
    images, labels = batch(0)
    loss = reference_loss(reference, images, labels)
    loss.backward()
    theirs = in_our_names({key: parameter.grad for key, parameter in reference.named_parameters()})

    cell = SemanticLoss(model).set_train(True)
    parameters = cell.trainable_params()
    compute = ms.jit(ms.value_and_grad(cell, None, parameters))
    our_loss, gradients = compute(ms.Tensor(images), ms.Tensor(labels))
    assert float(our_loss) == pytest.approx(loss.item(), rel=1e-5)
    check_gradients(parameters, gradients, theirs)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_parameters_and_statistics_after_three_steps_equal_the_references(accumulate: int, tmp_path: Path):
    """With accumulation the statistics of batch norm are those of the parts, so the reference takes the parts too."""
    name = "segformer_b0_ade20k_mmseg"
    reference, model = both(name, tmp_path)
    recipe = model.preset.recipe
    recipe = replace(recipe, steps=10, warmup_steps=4, learning_rate=1e-3, batch_size=2, accumulate=accumulate)
    groups = []
    for key, parameter in reference.named_parameters():
        multiplier = 10.0 if "head" in key else 1.0
        decayed = "head" in key or "norm" not in key  # mmcv takes the first key that it finds in the name
        groups.append(
            {"params": [parameter], "multiplier": multiplier, "weight_decay": 0.01 if decayed else 0.0, "lr": 0.0}
        )
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.999))
    step = TrainStep(SemanticLoss(model), recipe, World(0, 1, []))
    for number in range(3):
        images, labels = batch(number)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, number) * group["multiplier"]
        optimizer.zero_grad()
        parts = zip(np.split(images, accumulate), np.split(labels, accumulate), strict=True)
        losses = [reference_loss(reference, *part) / accumulate for part in parts]
        for loss in losses:
            loss.backward()
        optimizer.step()
        assert step(number, (images, labels)) == pytest.approx(sum(loss.item() for loss in losses), rel=1e-5)
    theirs = in_our_names(reference.state_dict())
    for parameter in model.get_parameters():
        # Softmax does not feel a bias of its keys, and the last norm's shift is taken out by batch norm: gradients of
        # rounding alone, which Adam scales up to whole steps on both sides.
        if not parameter.name.endswith(("attn.kv.bias", "stages.3.norm.beta")):
            assert relative_error(parameter.asnumpy(), theirs[parameter.name]) <= 1e-4, parameter.name


def test_clipping_is_pytorchs(tmp_path: Path):
    reference, model = both(NAMES[1], tmp_path)
    recipe = replace(model.preset.recipe, steps=10, warmup_steps=0, batch_size=2, clip_norm=0.05)
    images, labels = batch(0)
    reference_loss(reference, images, labels).backward()
    norm = torch.nn.utils.clip_grad_norm_(reference.parameters(), 0.05)
    assert norm > 0.1  # or nothing is clipped here
    theirs = in_our_names({key: parameter.grad for key, parameter in reference.named_parameters()})
    step = TrainStep(SemanticLoss(model), recipe, World(0, 1, []))
    step(0, (images, labels))
    name = "decoder.classify.weight"
    moment = next(moment for moment in step.optimizer.first_moments if moment.name.endswith(name))
    assert relative_error(moment.asnumpy() / 0.1, theirs[name]) <= 1e-4  # the first step's moment is a tenth of it


@pytest.mark.parametrize("step", [0, 1, 700, 1499, 1500, 1501, 80_000, 159_999])
def test_the_schedule_is_mmcvs(step: int):
    references.import_mmseg()
    from mmcv.runner.hooks.lr_updater import PolyLrUpdaterHook

    recipe = find_preset("segformer_b0_ade20k_mmseg").recipe
    hook = PolyLrUpdaterHook(
        power=1.0, min_lr=0.0, by_epoch=False, warmup="linear", warmup_iters=1500, warmup_ratio=1e-6
    )

    class Runner:
        max_iters, iter = 160_000, step

    hook.regular_lr = [hook.get_lr(Runner, recipe.learning_rate)]
    theirs = hook.get_warmup_lr(step)[0] if step < 1500 else hook.regular_lr[0]
    assert learning_rate(recipe, step) == pytest.approx(theirs, rel=1e-12)

"""The optimisers against torch.optim's, and lang-seg's schedule against torch's."""

from __future__ import annotations

from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest
import references
import torch
import wheels
from errors import relative_error
from mindspore import Parameter, Tensor

from ms_seg.presets import find_preset
from ms_seg.presets.recipe import Recipe
from ms_seg.training.optimizer import make_optimizer
from ms_seg.training.schedule import learning_rate

NAMES = {"backbone.blocks.0.weight": 1, "decoder.head.weight": 10, "word_pixel.conv.weight": 10, "backbone.norm": 1}
RECIPE = Recipe(steps=20, learning_rate=0.03, weight_decay=0.1, no_weight_decay="norm", warmup_steps=0)
STEPS = 8


def theirs(optimizer: str, groups: list[dict]) -> torch.optim.Optimizer:
    if optimizer == "sgd":
        return torch.optim.SGD(groups, lr=0.0, momentum=0.9)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[optimizer](groups, lr=0.0, betas=(0.9, 0.999))


# MindSpore's kernel of Adam computes 1 - beta2 in float32, where 0.001 has four digits.
@pytest.mark.parametrize(("optimizer", "limit"), [("sgd", 1e-6), ("adam", 1e-5), ("adamw", 1e-5)])
def test_parameters_after_some_steps_are_torchs(optimizer: str, limit: float):
    rng = np.random.default_rng(0)
    start = {name: rng.standard_normal((40, 30)).astype(np.float32) for name in NAMES}
    recipe = replace(RECIPE, optimizer=optimizer)
    ours = make_optimizer([Parameter(Tensor(value), name=name) for name, value in start.items()], recipe)
    update = ms.jit(ours.construct)
    parameters = {name: torch.nn.Parameter(torch.from_numpy(value.copy())) for name, value in start.items()}
    reference = theirs(
        optimizer,
        [
            {"params": [parameter], "multiplier": NAMES[name], "weight_decay": 0.0 if "norm" in name else 0.1}
            for name, parameter in parameters.items()
        ],
    )
    for step in range(STEPS):
        rate = learning_rate(recipe, step)
        gradients = [rng.standard_normal((40, 30)).astype(np.float32) for _ in NAMES]
        for parameter, gradient in zip(parameters.values(), gradients, strict=True):
            parameter.grad = torch.from_numpy(gradient)
        for group in reference.param_groups:
            group["lr"] = rate * group["multiplier"]
        reference.step()
        scalars = [Tensor(value, ms.float32) for value in (rate, *ours.bias_corrections(step))]
        update(tuple(Tensor(gradient) for gradient in gradients), *scalars)
    for parameter in ours.trained:
        moved = parameters[parameter.name].detach().numpy() - start[parameter.name]
        assert relative_error(parameter.asnumpy() - start[parameter.name], moved) <= limit, parameter.name


def test_what_sgd_remembers_is_what_torch_remembers():
    parameter, reference = Parameter(Tensor(np.ones(5, np.float32)), name="w"), torch.nn.Parameter(torch.ones(5))
    ours = make_optimizer([parameter], replace(RECIPE, optimizer="sgd"))
    optimizer = torch.optim.SGD([reference], lr=0.1, momentum=0.9, weight_decay=0.1)
    for step in range(3):
        gradient = np.arange(5, dtype=np.float32) * (step - 1)
        reference.grad = torch.from_numpy(gradient)
        optimizer.step()
        ours((Tensor(gradient),), Tensor(0.1, ms.float32), *ours.bias_corrections(step))
    (moment,) = ours.state
    assert np.allclose(moment.asnumpy(), optimizer.state[reference]["momentum_buffer"].numpy(), rtol=1e-6)


@pytest.mark.parametrize("epochs", [3, 240])
def test_the_rate_falls_once_an_epoch_as_lang_segs(epochs: int):
    of_an_epoch = 7
    recipe = replace(RECIPE, steps=epochs * of_an_epoch, decay_every=of_an_epoch, power=0.9, learning_rate=0.00025)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.00025)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: pow(1.0 - epoch / epochs, 0.9))
    for epoch in range(epochs):
        (theirs,) = schedule.get_last_lr()
        for step in (0, 3, of_an_epoch - 1):
            assert learning_rate(recipe, epoch * of_an_epoch + step) == pytest.approx(theirs, rel=1e-14)
        optimizer.step()
        schedule.step()


def test_the_recipe_of_lseg_is_lang_segs_train_sh():
    recipe = find_preset("lseg_vitl16_ade20k").recipe
    assert (recipe.optimizer, recipe.momentum, recipe.weight_decay, recipe.head_multiplier) == ("sgd", 0.9, 1e-4, 10)
    assert learning_rate(recipe, 0) == learning_rate(recipe, recipe.decay_every - 1) == 0.004 * 1 / 16
    assert recipe.steps == 240 * recipe.decay_every == 240 * 20210 // (1 * 2)  # batches of one, two of them a step
    assert (recipe.batch_size, recipe.accumulate, recipe.no_weight_decay, recipe.clip_norm) == (2, 2, "", 0)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mask2former_r50_coco_panoptic", "mask2former_r50_lsj_8x2_50e_coco-panoptic.py"),
        ("mask2former_swin_t_coco_panoptic", "mask2former_swin-t-p4-w7-224_lsj_8x2_50e_coco-panoptic.py"),
        ("mask2former_swin_l_coco_panoptic", "mask2former_swin-l-p4-w12-384-in21k_lsj_16x1_100e_coco-panoptic.py"),
    ],
)
def test_the_recipe_of_mask2former_is_mmdetections_configuration(name: str, file: str):
    references.import_mmdet()
    from mmcv import Config

    theirs = Config.fromfile(str(wheels.unpacked(*references.MMDET) / "mmdet/.mim/configs/mask2former" / file))
    ours, head = find_preset(name).recipe, theirs.model.panoptic_head
    assert ours.steps == theirs.max_iters
    assert (ours.learning_rate, ours.weight_decay) == (theirs.optimizer.lr, theirs.optimizer.weight_decay)
    assert (ours.beta1, ours.beta2) == theirs.optimizer.get("betas", (0.9, 0.999))
    assert ours.backbone_multiplier == theirs.optimizer.paramwise_cfg.custom_keys.backbone.lr_mult
    assert ours.clip_norm == theirs.optimizer_config.grad_clip.max_norm
    assert (theirs.lr_config.policy, theirs.lr_config.warmup_ratio) == ("step", 1.0)
    for passed, step in enumerate(theirs.lr_config.step):
        rates = [learning_rate(ours, step - 1), learning_rate(ours, step)]
        assert rates == pytest.approx(
            [1e-4 * theirs.lr_config.gamma**passed, 1e-4 * theirs.lr_config.gamma ** (passed + 1)]
        )
    assert (ours.crop_size,) * 2 == (ours.short_side, ours.long_side) == theirs.image_size
    resize = next(step for step in theirs.train_pipeline if step.type == "Resize")
    assert (ours.scale_min, ours.scale_max) == resize.ratio_range
    assert (ours.points, ours.oversample, ours.importance) == (
        theirs.model.train_cfg.num_points,
        theirs.model.train_cfg.oversample_ratio,
        theirs.model.train_cfg.importance_sample_ratio,
    )
    assert (ours.class_weight, ours.mask_weight, ours.dice_weight) == (
        head.loss_cls.loss_weight,
        head.loss_mask.loss_weight,
        head.loss_dice.loss_weight,
    )
    assert ours.no_object_weight == head.loss_cls.class_weight[-1]

"""Every number of a training run, and the published recipes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ms_seg.presets import Preset


@dataclass(frozen=True)
class Recipe:
    """The numbers of one run, each an option of `python -m ms_seg train`.

    steps: optimiser steps of the whole run. batch_size: pictures of one optimiser step, over all processes.
    accumulate: forward and backward passes that make one optimiser step, to save memory.

    crop_size: side of the square crop, pixels. short_side, long_side, scale_min, scale_max: a picture is first resized
    to fit into (long_side, short_side) times a ratio drawn between the two, keeping its own. cat_max_ratio: a crop is
    drawn again, ten times at most, while one class covers more than this share. flip: probability of a mirror image.
    photometric: whether brightness, contrast, saturation and hue are disturbed.

    learning_rate, beta1, beta2, weight_decay: AdamW's. warmup_steps: the rate grows linearly from warmup_ratio of its
    value; power: of its polynomial fall to zero at the last step. head_multiplier: of the decoder's learning rate.
    undecayed: a regular expression; parameters in whose names it is found are not decayed.
    clip_norm: the gradients' global norm is cut to this; 0 leaves it.
    ema: the share of its old value that the average of the weights keeps in each step; 0 keeps no average.

    validate_every, keep_every: steps between validations and between checkpoints; keep: newest checkpoints that stay.
    seed: of the order of pictures, the augmentation, dropout and fresh weights.
    """

    steps: int = 160_000
    batch_size: int = 16
    accumulate: int = 1
    crop_size: int = 512
    short_side: int = 512
    long_side: int = 2048
    scale_min: float = 0.5
    scale_max: float = 2.0
    cat_max_ratio: float = 0.75
    flip: float = 0.5
    photometric: bool = True
    learning_rate: float = 6e-5
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.01
    warmup_steps: int = 1500
    warmup_ratio: float = 1e-6
    power: float = 1.0
    head_multiplier: float = 10.0
    undecayed: str = ""
    clip_norm: float = 0.0
    ema: float = 0.0
    validate_every: int = 16_000
    keep_every: int = 1000
    keep: int = 3
    seed: int = 0


# SegFormer. mmsegmentation's rule exempts parameters that have "norm" in their name, which its stage-final norms
# (`layers.0.2`) and batch norms (`bn`) have not; in the original's names the stage-final norms have it too.
_MMSEG = Recipe(undecayed=r"patch_embed\.norm|norm1|norm2|sr_norm")
_ORIGINAL = replace(_MMSEG, undecayed=_MMSEG.undecayed + r"|stages\.\d\.norm\.")
# EasyCV's configuration nests the multipliers where its optimiser reads them as a parameter's name: none has effect.
_EASYCV = replace(_MMSEG, undecayed="", head_multiplier=1.0)
_SHAPES = Recipe(
    steps=1200, batch_size=8, crop_size=128, short_side=160, long_side=640, scale_min=0.75, scale_max=1.5,
    learning_rate=1e-3, warmup_steps=100, head_multiplier=1.0, undecayed="norm", validate_every=300, keep_every=100,
)  # fmt: skip


def recipe_for(preset: Preset) -> Recipe:
    """The published recipe of a model."""
    if preset.label_set == "shapes":
        return _SHAPES
    family = preset.name.split("_", 2)[-1]
    recipe = {"cocostuff164k": _EASYCV, "ade20k": _ORIGINAL, "ade20k_mmseg": _MMSEG}[family]
    side = preset.preprocessing.short_side
    return replace(recipe, crop_size=side, short_side=side)


def learning_rate(recipe: Recipe, step: int) -> float:
    """The learning rate of a step, counted from 0: polynomial decay under a linear warm-up.

    As mmcv's PolyLrUpdaterHook: the warm-up scales the decayed rate, not the base rate.
    """
    rate = recipe.learning_rate * (1 - step / recipe.steps) ** recipe.power
    if step < recipe.warmup_steps:
        rate *= 1 - (1 - step / recipe.warmup_steps) * (1 - recipe.warmup_ratio)
    return rate

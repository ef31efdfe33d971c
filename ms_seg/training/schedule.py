"""The learning rate of each step."""

from __future__ import annotations

from ms_seg.presets.recipe import Recipe


def learning_rate(recipe: Recipe, step: int) -> float:
    """The learning rate of a step, counted from 0: polynomial decay, or that of the milestones, under a linear warm-up.

    As mmcv's PolyLrUpdaterHook and StepLrUpdaterHook: the warm-up scales the decayed rate, not the base rate. Steps
    that float16's loss scale skips count like the others. With `decay_every` the steps of an epoch, the polynomial is
    lang-seg's LambdaLR.
    """
    if recipe.schedule == "step":
        passed = sum(step >= round(share * recipe.steps) for share in recipe.milestones)
        rate = recipe.learning_rate * recipe.gamma**passed
    else:
        begun = step - step % recipe.decay_every
        rate = recipe.learning_rate * (1 - begun / recipe.steps) ** recipe.power
    if step < recipe.warmup_steps:
        rate *= 1 - (1 - step / recipe.warmup_steps) * (1 - recipe.warmup_ratio)
    return rate

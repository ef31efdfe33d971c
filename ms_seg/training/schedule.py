"""What changes from step to step by rule: the learning rate, and the loss scale of float16."""

from __future__ import annotations

from dataclasses import dataclass

from ms_seg.presets.recipe import Recipe

INTERVAL = 2000  # steps with finite gradients after which the loss scale is doubled


def learning_rate(recipe: Recipe, step: int) -> float:
    """The learning rate of a step, counted from 0: polynomial decay or milestones, under a linear warm-up.

    As mmcv's PolyLrUpdaterHook and StepLrUpdaterHook: the warm-up scales the decayed rate, not the base rate. Steps
    that float16's loss scale skips count like the others. With `decay_every` the steps of an epoch, the polynomial is
    lang-seg's LambdaLR.
    """
    if recipe.schedule == "step":
        passed = sum(step >= round(milestone * recipe.steps) for milestone in recipe.milestones)
        rate = recipe.learning_rate * recipe.gamma**passed
    else:
        decayed = step - step % recipe.decay_every
        rate = recipe.learning_rate * (1 - decayed / recipe.steps) ** recipe.power
    if step < recipe.warmup_steps:
        rate *= 1 - (1 - step / recipe.warmup_steps) * (1 - recipe.warmup_ratio)
    return rate


@dataclass(frozen=True)
class LossScale:
    """What the loss is multiplied by, as in torch.amp.GradScaler (arXiv:1710.03740): float16 would round small
    gradients to 0.

    value: a power of two, so that dividing by it rounds nothing. good_steps: steps with finite gradients since the
    value last changed.
    """

    value: float = 2.0**16
    good_steps: int = 0

    def after(self, finite: bool) -> LossScale:
        """The scale of the next step: half after gradients that are not finite, twice after INTERVAL finite ones."""
        if not finite:
            return LossScale(self.value / 2)
        if self.good_steps + 1 == INTERVAL:
            return LossScale(self.value * 2)
        return LossScale(self.value, self.good_steps + 1)

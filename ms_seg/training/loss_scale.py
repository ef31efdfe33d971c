"""Dynamic loss scaling (arXiv:1710.03740), for gradients that float16 has no numbers for."""

from __future__ import annotations

from dataclasses import dataclass

INTERVAL = 2000


@dataclass(frozen=True)
class LossScale:
    """What the loss is multiplied by, as torch.amp.GradScaler has it: small gradients would be 0 in float16.

    value: a power of two, so that dividing by it rounds nothing. good_steps: those with finite gradients since the
    value last changed.
    """

    value: float = 2.0**16
    good_steps: int = 0

    def after(self, finite: bool) -> LossScale:
        """The scale of the next step: half after gradients that are not finite, twice after 2000 steps that were."""
        if not finite:
            return LossScale(self.value / 2)
        if self.good_steps + 1 == INTERVAL:
            return LossScale(self.value * 2)
        return LossScale(self.value, self.good_steps + 1)

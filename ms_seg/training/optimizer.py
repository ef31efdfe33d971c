"""AdamW with PyTorch's arithmetic, on MindSpore's fused kernel."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from ms_seg.training.recipe import Recipe


@dataclass(frozen=True)
class Group:
    """How one parameter is trained: its learning rate as a multiple of the run's, and its weight decay."""

    parameter: Parameter
    lr_multiplier: float
    weight_decay: float


def groups(parameters: Sequence[Parameter], recipe: Recipe) -> list[Group]:
    """The recipe's multipliers for each parameter, told by its name."""
    kept = re.compile(recipe.undecayed) if recipe.undecayed else None
    return [
        Group(
            parameter,
            recipe.head_multiplier if parameter.name.startswith("decoder.") else 1.0,
            0.0 if kept and kept.search(parameter.name) else recipe.weight_decay,
        )
        for parameter in parameters
    ]


class AdamW(nn.Cell):
    """Decoupled weight decay (arXiv:1711.05101), number for number as torch.optim.AdamW.

    MindSpore's kernel knows no bias correction; scaling its learning rate, epsilon and decay brings it in.
    """

    def __init__(self, parameter_groups: Sequence[Group], beta1: float, beta2: float, epsilon: float = 1e-8):
        super().__init__()
        self.trained = ParameterTuple(group.parameter for group in parameter_groups)
        self.first_moments = self.trained.clone("adam.first", "zeros")
        self.second_moments = self.trained.clone("adam.second", "zeros")
        self.lr_multipliers = tuple(group.lr_multiplier for group in parameter_groups)
        self.weight_decays = tuple(group.weight_decay for group in parameter_groups)
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.update = ops.AdamWeightDecay()

    @property
    def moments(self) -> list[Parameter]:
        return [*self.first_moments, *self.second_moments]

    def corrections(self, step: int) -> tuple[float, float]:
        """Bias corrections of a step counted from 0: of the first moment, and the square root of the second's."""
        return 1 - self.beta1 ** (step + 1), (1 - self.beta2 ** (step + 1)) ** 0.5

    def construct(self, gradients: tuple[Tensor, ...], lr: Tensor, first: Tensor, second: Tensor) -> None:
        """lr: scalar float32; first, second: the step's corrections, scalars float32."""
        for i in range(len(self.trained)):
            self.update(
                self.trained[i],
                self.first_moments[i],
                self.second_moments[i],
                lr * self.lr_multipliers[i] * second / first,
                self.beta1,
                self.beta2,
                self.epsilon * second,
                self.weight_decays[i] * first / second,
                gradients[i],
            )

"""AdamW, Adam and SGD with PyTorch's arithmetic, on MindSpore's fused kernels.

An optimiser is a cell from gradients and the step's numbers to changed parameters. Its door: `trained`, the parameters;
`moments`, what it remembers of earlier steps, for a checkpoint; `corrections(step)`, the numbers of a step that are
beside the learning rate, and as many scalars of `construct`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from ms_seg.presets.recipe import Recipe

_BACKBONE = "backbone."
_FRESH = ("decoder.", "word_pixel.", "pixel_decoder.", "query_decoder.")  # what no pretrained file fills
_TEXT = "text."


@dataclass(frozen=True)
class Group:
    """How one parameter is trained: its learning rate as a multiple of the run's, and its weight decay."""

    parameter: Parameter
    lr_multiplier: float
    weight_decay: float


def groups(parameters: Sequence[Parameter], recipe: Recipe) -> list[Group]:
    """The recipe's multipliers for each parameter, told by its name."""
    kept = re.compile(recipe.no_weight_decay) if recipe.no_weight_decay else None
    return [
        Group(
            parameter,
            _multiplier(parameter.name, recipe),
            0.0 if kept and kept.search(parameter.name) else recipe.weight_decay,
        )
        for parameter in parameters
    ]


def _multiplier(name: str, recipe: Recipe) -> float:
    if name.startswith(_TEXT):
        return recipe.text_multiplier
    if name.startswith(_BACKBONE):
        return recipe.backbone_multiplier
    return recipe.head_multiplier if name.startswith(_FRESH) else 1.0


def make_optimizer(parameters: Sequence[Parameter], recipe: Recipe) -> Adam | SGD:
    """The recipe's optimiser of these parameters."""
    parameter_groups = groups(parameters, recipe)
    if recipe.optimizer == "sgd":
        return SGD(parameter_groups, recipe.momentum)
    return Adam(parameter_groups, recipe.beta1, recipe.beta2, decoupled=recipe.optimizer == "adamw")


class Adam(nn.Cell):
    """Number for number as torch.optim.AdamW, whose weight decay is decoupled (arXiv:1711.05101), or torch.optim.Adam.

    MindSpore's kernel knows no bias correction; scaling its learning rate, epsilon and decay brings it in.
    """

    def __init__(
        self,
        parameter_groups: Sequence[Group],
        beta1: float,
        beta2: float,
        decoupled: bool = True,
        epsilon: float = 1e-8,
    ):
        """decoupled: whether weights decay beside the gradient's step, and not through the gradient."""
        super().__init__()
        self.trained = ParameterTuple(group.parameter for group in parameter_groups)
        self.first_moments = self.trained.clone("adam.first", "zeros")
        self.second_moments = self.trained.clone("adam.second", "zeros")
        self.lr_multipliers = tuple(group.lr_multiplier for group in parameter_groups)
        decays, none = tuple(group.weight_decay for group in parameter_groups), (0.0,) * len(parameter_groups)
        self.weight_decays, self.gradient_decays = (decays, none) if decoupled else (none, decays)
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.of_each = ops.HyperMap()

    @property
    def moments(self) -> list[Parameter]:
        return [*self.first_moments, *self.second_moments]

    def corrections(self, step: int) -> tuple[float, float]:
        """Bias corrections of a step counted from 0: of the first moment, and the square root of the second's."""
        return 1 - self.beta1 ** (step + 1), (1 - self.beta2 ** (step + 1)) ** 0.5

    def construct(self, gradients: tuple[Tensor, ...], lr: Tensor, first: Tensor, second: Tensor) -> None:
        """lr: scalar float32; first, second: the step's corrections, scalars float32."""
        update = ops.partial(_adam, lr, first, second, self.beta1, self.beta2, self.epsilon)
        moments = (self.first_moments, self.second_moments)
        multipliers = (self.lr_multipliers, self.weight_decays, self.gradient_decays)
        self.of_each(update, gradients, self.trained, *moments, *multipliers)


class SGD(nn.Cell):
    """Stochastic gradient descent with momentum, number for number as torch.optim.SGD: no dampening, not Nesterov's."""

    def __init__(self, parameter_groups: Sequence[Group], momentum: float):
        super().__init__()
        self.trained = ParameterTuple(group.parameter for group in parameter_groups)
        self.sums = self.trained.clone("sgd.momentum", "zeros")
        self.lr_multipliers = tuple(group.lr_multiplier for group in parameter_groups)
        self.gradient_decays = tuple(group.weight_decay for group in parameter_groups)
        self.momentum = momentum
        self.of_each = ops.HyperMap()

    @property
    def moments(self) -> list[Parameter]:
        return [*self.sums]

    def corrections(self, step: int) -> tuple[()]:
        """None: all steps are alike, for the sums begin at zero."""
        return ()

    def construct(self, gradients: tuple[Tensor, ...], lr: Tensor) -> None:
        """lr: scalar float32."""
        update = ops.partial(_sgd, lr, self.momentum)
        self.of_each(update, gradients, self.trained, self.sums, self.lr_multipliers, self.gradient_decays)


# Of one parameter, for HyperMap: a loop over the 661 of Swin-L goes deeper than MindSpore's compiler follows.
_adam = ops.MultitypeFuncGraph("adam")
_sgd = ops.MultitypeFuncGraph("sgd")
_adam_weight_decay, _apply_momentum = ops.AdamWeightDecay(), ops.ApplyMomentum()


@_adam.register(*["Tensor"] * 3, *["Number"] * 3, *["Tensor"] * 4, *["Number"] * 3)
def _adam_one(
    lr: Tensor,
    first: Tensor,
    second: Tensor,
    beta1: float,
    beta2: float,
    epsilon: float,
    gradient: Tensor,
    parameter: Parameter,
    first_moment: Parameter,
    second_moment: Parameter,
    lr_multiplier: float,
    weight_decay: float,
    gradient_decay: float,
) -> bool:
    _adam_weight_decay(
        parameter,
        first_moment,
        second_moment,
        lr * lr_multiplier * second / first,
        beta1,
        beta2,
        epsilon * second,
        weight_decay * first / second,
        _with_decay(gradient, parameter, gradient_decay),
    )
    return True


@_sgd.register("Tensor", "Number", *["Tensor"] * 3, *["Number"] * 2)
def _sgd_one(
    lr: Tensor,
    momentum: float,
    gradient: Tensor,
    parameter: Parameter,
    total: Parameter,
    lr_multiplier: float,
    gradient_decay: float,
) -> bool:
    _apply_momentum(parameter, total, lr * lr_multiplier, _with_decay(gradient, parameter, gradient_decay), momentum)
    return True


def _with_decay(gradient: Tensor, parameter: Parameter, weight_decay: float) -> Tensor:
    """The gradient of the loss and of half the squared weights, times weight_decay."""
    return gradient + parameter * weight_decay if weight_decay else gradient

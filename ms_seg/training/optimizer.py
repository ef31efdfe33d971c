"""AdamW, Adam and SGD with PyTorch's arithmetic, on MindSpore's fused kernels.

An optimiser is a cell that updates parameters by gradients and the step's scalars. Its interface: `trained`, the
parameters; `state`, what it remembers of earlier steps, for a checkpoint; `bias_corrections(step)`, the scalars of a
step that `construct` takes after the learning rate.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from ms_seg.cells.sums import ScaledSum
from ms_seg.presets.recipe import Recipe

_BACKBONE = "backbone."
_HEAD = ("decoder.", "word_pixel.", "pixel_decoder.", "query_decoder.")  # what no pretrained backbone fills
_TEXT = "text."
_NOISE = "noise."  # no weights, see `cells.drop`
# ViT-Adapter's original learns these as slowly as a backbone's first layer: they were in its list of names for it.
_FIRST_LAYER = tuple(
    f"query_decoder.{name}" for name in ("mask_embed", "class_embed", "level_embed", "query_embed", "query_feat")
)

Layers = tuple[tuple[str, ...], ...]  # see `layers_of`


@dataclass(frozen=True)
class Group:
    """How one parameter is trained: its learning rate as a multiple of the run's, and its weight decay."""

    parameter: Parameter
    lr_multiplier: float
    weight_decay: float


def layers_of(model: nn.Cell, recipe: Recipe) -> Layers:
    """What the names of parameters in each layer of a model's backbone begin with, from its input to its output.

    The backbone says so by its `layer_prefixes`. What no layer has, such as a decoder, lies above the last one.

    Raises ValueError if it has none, and the recipe decays learning rates by layers.
    """
    if recipe.layer_decay == 1:
        return ()
    backbones = [cell for name, cell in model.cells_and_names() if f"{name.rpartition('.')[2]}." == _BACKBONE]
    prefixes = next((cell.layer_prefixes for cell in backbones if hasattr(cell, "layer_prefixes")), ())
    if not prefixes:
        kind = type(backbones[0]).__name__ if backbones else "the model"
        raise ValueError(f"layer_decay must be 1 for {kind}, which does not divide into layers: {recipe.layer_decay}")
    return tuple(tuple(_BACKBONE + prefix for prefix in layer) for layer in prefixes)


def freeze(model: nn.Cell, recipe: Recipe) -> list[nn.Cell]:
    """Let the parameters that the recipe's `frozen` matches stay as they are.

    Returns: the outermost cells of which all parameters are frozen. They are to stay in evaluation mode, as
    mmsegmentation's frozen stages do: their batch norms keep their statistics, and they drop nothing.

    Raises ValueError where the pattern matches no parameter, or leaves none to be trained.
    """
    if not recipe.frozen:
        return []
    parameters = list(model.get_parameters())
    stay = [parameter for parameter in parameters if re.search(recipe.frozen, parameter.name)]
    for parameter in stay:
        parameter.requires_grad = False
    if not stay or not model.trainable_params():
        what = "leaves none to be trained" if stay else "matches none of the model's parameters"
        raise ValueError(f"frozen {recipe.frozen!r} {what}, such as {parameters[0].name} and {parameters[-1].name}")
    found: list[nn.Cell] = []
    _collect_frozen(model, re.compile(recipe.frozen), found)
    return found


def _collect_frozen(cell: nn.Cell, pattern: re.Pattern[str], found: list[nn.Cell]) -> None:
    names = [parameter.name for parameter in cell.get_parameters() if not parameter.name.startswith(_NOISE)]
    if names and all(pattern.search(name) for name in names):
        found.append(cell)
        return
    for part in cell.cells():
        _collect_frozen(part, pattern, found)


def groups(parameters: Sequence[Parameter], recipe: Recipe, layers: Layers = ()) -> list[Group]:
    """The recipe's learning rate multiplier and weight decay of each parameter, by its name; see `layers_of`."""
    no_decay = re.compile(recipe.no_weight_decay) if recipe.no_weight_decay else None
    return [
        Group(
            parameter,
            _lr_multiplier(parameter.name, recipe) * recipe.layer_decay ** _layers_above(parameter.name, layers),
            0.0 if no_decay and no_decay.search(parameter.name) else recipe.weight_decay,
        )
        for parameter in parameters
    ]


def _lr_multiplier(name: str, recipe: Recipe) -> float:
    if name.startswith(_TEXT):
        return recipe.text_multiplier
    if name.startswith(_BACKBONE):
        return recipe.backbone_multiplier
    return recipe.head_multiplier if name.startswith(_HEAD) else 1.0


def _layers_above(name: str, layers: Layers) -> int:
    layer = next((number for number, prefixes in enumerate(layers) if name.startswith(prefixes)), len(layers))
    return len(layers) - (0 if name.startswith(_FIRST_LAYER) else layer)


def make_optimizer(parameters: Sequence[Parameter], recipe: Recipe, layers: Layers = ()) -> Adam | SGD:
    """The recipe's optimiser of these parameters; see `groups`."""
    parameter_groups = groups(parameters, recipe, layers)
    if recipe.optimizer == "sgd":
        return SGD(parameter_groups, recipe.momentum)
    return Adam(parameter_groups, recipe.beta1, recipe.beta2, decoupled=recipe.optimizer == "adamw")


class Adam(nn.Cell):
    """torch.optim.AdamW, whose weight decay is decoupled (arXiv:1711.05101), or torch.optim.Adam, with their numbers.

    MindSpore's kernel has no bias correction; scaling its learning rate, epsilon and decay has the same effect.
    """

    def __init__(
        self,
        parameter_groups: Sequence[Group],
        beta1: float,
        beta2: float,
        decoupled: bool = True,
        epsilon: float = 1e-8,
    ):
        """decoupled: whether the weight decay is applied to the weights, rather than added to the gradient."""
        super().__init__()
        self.trained = ParameterTuple(group.parameter for group in parameter_groups)
        self.first_moments = self.trained.clone("adam.first", "zeros")
        self.second_moments = self.trained.clone("adam.second", "zeros")
        self.lr_multipliers = tuple(group.lr_multiplier for group in parameter_groups)
        decays, none = tuple(group.weight_decay for group in parameter_groups), (0.0,) * len(parameter_groups)
        self.weight_decays, self.gradient_decays = (decays, none) if decoupled else (none, decays)
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.for_each, self.add_decay = ops.HyperMap(), ScaledSum()

    @property
    def state(self) -> list[Parameter]:
        return [*self.first_moments, *self.second_moments]

    def bias_corrections(self, step: int) -> tuple[float, float]:
        """Of a step counted from 0: that of the first moment, and the square root of that of the second."""
        return 1 - self.beta1 ** (step + 1), (1 - self.beta2 ** (step + 1)) ** 0.5

    def construct(self, gradients: tuple[Tensor, ...], lr: Tensor, first: Tensor, second: Tensor) -> None:
        """lr: scalar float32; first, second: the step's bias corrections, scalars float32."""
        update = ops.partial(_adam, lr, first, second, self.beta1, self.beta2, self.epsilon)
        moments = (self.first_moments, self.second_moments)
        gradients = self.for_each(self.add_decay, gradients, self.trained, self.gradient_decays)
        self.for_each(update, gradients, self.trained, *moments, self.lr_multipliers, self.weight_decays)


class SGD(nn.Cell):
    """torch.optim.SGD with momentum, with its numbers: no dampening, no Nesterov momentum."""

    def __init__(self, parameter_groups: Sequence[Group], momentum: float):
        super().__init__()
        self.trained = ParameterTuple(group.parameter for group in parameter_groups)
        self.momentum_buffers = self.trained.clone("sgd.momentum", "zeros")
        self.lr_multipliers = tuple(group.lr_multiplier for group in parameter_groups)
        self.gradient_decays = tuple(group.weight_decay for group in parameter_groups)
        self.momentum = momentum
        self.for_each, self.add_decay = ops.HyperMap(), ScaledSum()

    @property
    def state(self) -> list[Parameter]:
        return [*self.momentum_buffers]

    def bias_corrections(self, step: int) -> tuple[()]:
        """None: the buffers begin at zero, and all steps are alike."""
        return ()

    def construct(self, gradients: tuple[Tensor, ...], lr: Tensor) -> None:
        """lr: scalar float32."""
        update = ops.partial(_sgd, lr, self.momentum)
        gradients = self.for_each(self.add_decay, gradients, self.trained, self.gradient_decays)
        self.for_each(update, gradients, self.trained, self.momentum_buffers, self.lr_multipliers)


# Of one parameter, for HyperMap: a loop over the 661 of Swin-L goes deeper than MindSpore's compiler follows.
_adam = ops.MultitypeFuncGraph("adam")
_sgd = ops.MultitypeFuncGraph("sgd")
_adam_weight_decay, _apply_momentum = ops.AdamWeightDecay(), ops.ApplyMomentum()


@_adam.register(*["Tensor"] * 3, *["Number"] * 3, *["Tensor"] * 4, *["Number"] * 2)
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
        gradient,
    )
    return True


@_sgd.register("Tensor", "Number", *["Tensor"] * 3, "Number")
def _sgd_one(
    lr: Tensor,
    momentum: float,
    gradient: Tensor,
    parameter: Parameter,
    momentum_buffer: Parameter,
    lr_multiplier: float,
) -> bool:
    _apply_momentum(parameter, momentum_buffer, lr * lr_multiplier, gradient, momentum)
    return True

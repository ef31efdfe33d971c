"""One optimiser step, compiled: forward, backward, clipping, update, average."""

from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import ParameterTuple, Tensor, nn, ops

from ms_seg.cells.drop import give_noise
from ms_seg.training.optimizer import AdamW, groups
from ms_seg.training.recipe import Recipe, learning_rate

Batch = tuple[np.ndarray, ...]


class TrainStep:
    """Trains the parameters of a loss, one optimiser step for each call.

    Its state is in parameters alone (`state`), and what is random comes in from outside, so that a step is the same
    wherever and whenever it is taken.
    """

    def __init__(self, loss: nn.Cell, recipe: Recipe, part_size: int):
        """part_size: samples of one forward pass in this process."""
        self.recipe = recipe
        self.trained = ParameterTuple(loss.trainable_params())
        self.optimizer = AdamW(groups(self.trained, recipe), recipe.beta1, recipe.beta2)
        self.averages = self.trained.clone("ema", "same") if recipe.ema else ()
        self.state = [*loss.get_parameters(), *self.optimizer.moments, *self.averages]
        self.noise = give_noise(loss, part_size)
        self._gradients = ms.jit(_Gradients(loss, self.trained).construct)
        self._update = ms.jit(_Update(self.optimizer, recipe.clip_norm, self.averages, recipe.ema).construct)

    @property
    def noise_width(self) -> int:
        """How many uniform numbers a sample needs."""
        return sum(noise.shape[1] for noise in self.noise)

    def __call__(self, step: int, parts: Sequence[Batch], noise: np.ndarray) -> float:
        """Take a step, counted from 0, and return its loss.

        parts: the step's batches for this process, `recipe.accumulate` of them, whose gradients are averaged.
        noise: (samples of all parts, noise_width) float32 of 0..1.
        """
        losses, total = [], None
        for part, uniform in zip(parts, np.split(noise, len(parts)), strict=True):
            self._fill_noise(uniform)
            loss, gradients = self._gradients(*(Tensor(array) for array in part))
            losses.append(float(loss))
            total = gradients if total is None else [one + other for one, other in zip(total, gradients, strict=True)]
        rate = learning_rate(self.recipe, step)
        scalars = (rate, *self.optimizer.corrections(step), 1 / len(parts))
        self._update(tuple(total), *(Tensor(value, ms.float32) for value in scalars))
        return float(np.mean(losses))

    def _fill_noise(self, uniform: np.ndarray) -> None:
        start = 0
        for parameter in self.noise:
            stop = start + parameter.shape[1]
            # A compiled graph would not see `set_data`, which gives a parameter other memory.
            ops.assign(parameter, Tensor(np.ascontiguousarray(uniform[:, start:stop])))
            start = stop


class _Gradients(nn.Cell):
    def __init__(self, loss: nn.Cell, trained: ParameterTuple):
        super().__init__(auto_prefix=False)
        self.loss = loss
        self.value_and_grad = ms.value_and_grad(loss, None, trained)

    def construct(self, *batch: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        return self.value_and_grad(*batch)


class _Update(nn.Cell):
    def __init__(self, optimizer: AdamW, clip_norm: float, averages: ParameterTuple, keep: float):
        super().__init__(auto_prefix=False)
        self.optimizer, self.clip_norm = optimizer, clip_norm
        self.averages, self.keep = averages, keep

    def construct(self, gradients: tuple[Tensor, ...], rate: Tensor, first: Tensor, second: Tensor, share: Tensor):
        """share: what the gradients are multiplied by, one over the number of parts they were added up from."""
        if self.clip_norm > 0:
            squares = [ops.reduce_sum(ops.square(gradient)) for gradient in gradients]
            norm = ops.sqrt(ops.addn(squares)) * share
            share = share * ops.minimum(self.clip_norm / (norm + 1e-6), 1.0)  # as torch.nn.utils.clip_grad_norm_
        scaled = [gradient * share for gradient in gradients]
        self.optimizer(scaled, rate, first, second)
        for i in range(len(self.averages)):
            average, trained = self.averages[i], self.optimizer.trained[i]
            ops.assign(average, average * self.keep + trained * (1 - self.keep))

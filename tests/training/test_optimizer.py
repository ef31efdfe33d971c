"""Optimisers of networks with very many parameters; that their steps are PyTorch's, tests/parity shows."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, ParameterTuple, Tensor

from ms_seg.presets.recipe import Optimizer, Recipe
from ms_seg.training.optimizer import make_optimizer
from ms_seg.training.step import _Update

MANY = 700  # Swin-L has 661, more than a loop in a graph can have turns


@pytest.mark.parametrize(("optimizer", "first_step"), [("adamw", 1.0), ("sgd", 0.5)])
def test_many_parameters_are_updated_and_averaged(optimizer: Optimizer, first_step: float):
    recipe = Recipe(optimizer=optimizer, learning_rate=0.1, weight_decay=0.0, head_multiplier=1.0, ema=0.75)
    trained = ParameterTuple([Parameter(np.float32([i, -i]), name=f"p{i}") for i in range(MANY)])
    averages = trained.clone("ema", "same")
    optimiser = make_optimizer(trained, recipe)
    update = ms.jit(_Update(optimiser, recipe, averages, None).construct)
    gradients = [Tensor(np.float32([0.5, -0.5])) for _ in trained]
    update(*(Tensor(value, ms.float32) for value in (0.1, *optimiser.bias_corrections(0))), *gradients)
    for i in (0, 1, MANY // 2, MANY - 1):
        moved = 0.1 * first_step * np.float32([-1, 1])
        np.testing.assert_allclose(trained[i].asnumpy(), np.float32([i, -i]) + moved, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(averages[i].asnumpy(), np.float32([i, -i]) + moved / 4, rtol=1e-6, atol=1e-6)

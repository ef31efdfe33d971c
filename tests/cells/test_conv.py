"""Convolutions and the batch norms that follow them, beside PyTorch in float64."""

from __future__ import annotations

from collections.abc import Callable

import mindspore as ms
import numpy as np
import pytest
import torch
from mindspore import Tensor, nn
from torch.nn.functional import batch_norm, conv2d

from ms_seg.cells import native
from ms_seg.cells.conv import ConvNormReLU
from ms_seg.decoders.dpt import ResidualUnit

CHANNELS = 34  # enough for Winograd's algorithm


def _conv_norm(x: torch.Tensor, weight: torch.Tensor, norm: list[torch.Tensor], training: bool) -> torch.Tensor:
    mean, variance, gamma, beta = norm
    return batch_norm(conv2d(x, weight, padding=1), mean, variance, gamma, beta, training=training)


def _conv_norm_relu(x: torch.Tensor, parameters: list[torch.Tensor], training: bool) -> torch.Tensor:
    return _conv_norm(x, parameters[0], parameters[1:], training).relu()


def _residual_unit(x: torch.Tensor, parameters: list[torch.Tensor], training: bool) -> torch.Tensor:
    first, second = parameters[:5], parameters[5:]
    y = _conv_norm(x.relu(), first[0], first[1:], training).relu()
    return x + _conv_norm(y, second[0], second[1:], training)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("in_c", [True, False])
@pytest.mark.parametrize("shape", [(2, CHANNELS, 1, 7), (2, CHANNELS, 6, 1), (1, CHANNELS, 31, 34)])
@pytest.mark.parametrize(
    ("build", "reference"),
    [
        (lambda: ConvNormReLU(CHANNELS, CHANNELS, 3), _conv_norm_relu),
        (lambda: ResidualUnit(CHANNELS), _residual_unit),
    ],
    ids=["conv_norm_relu", "residual_unit"],
)
def test_convolutions_with_their_norms_and_the_gradients_are_pytorchs(
    build: Callable[[], nn.Cell], reference: Callable, shape: tuple[int, ...], in_c: bool, training: bool
):
    if in_c:
        cell = build()
    else:
        with native.disabled():
            cell = build()
    generator = np.random.default_rng(0)
    for parameter in cell.get_parameters():
        drawn = generator.standard_normal(parameter.shape)
        parameter.set_data(Tensor((np.abs(drawn) + 0.5 if "variance" in parameter.name else drawn).astype(np.float32)))
    x, dout = (generator.standard_normal(shape).astype(np.float32) for _ in range(2))
    values = [parameter.asnumpy() for parameter in cell.get_parameters()]

    tensors = [torch.tensor(array, dtype=torch.float64) for array in (x, *values)]
    learnt = [tensors[0], *(t for t, p in zip(tensors[1:], cell.get_parameters(), strict=True) if p.requires_grad)]
    for tensor in learnt:
        tensor.requires_grad = True
    truth = reference(tensors[0], tensors[1:], training)
    truth.backward(torch.tensor(dout, dtype=torch.float64))

    cell.set_train(training)
    out = cell(Tensor(x))
    of_x, of_weights = ms.grad(lambda x: (cell(x) * Tensor(dout)).sum(), 0, list(cell.trainable_params()))(Tensor(x))
    assert _error(out, truth.detach()) < 2e-6
    for ours, tensor in zip((of_x, *of_weights), learnt, strict=True):
        assert _error(ours, tensor.grad) < 1e-5


def _error(ours: Tensor, truth: torch.Tensor) -> float:
    return float(np.linalg.norm(ours.asnumpy() - truth.numpy()) / np.linalg.norm(truth.numpy()))

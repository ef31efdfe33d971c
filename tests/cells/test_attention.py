"""The softmax of scores to which one of several biases is added, and its gradients, with the operator and without."""

from __future__ import annotations

from contextlib import nullcontext

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from ms_seg.cells import native
from ms_seg.cells.attention import BiasedSoftmax

LARGE = (2, 3, 400, 1000)  # enough work for two threads


@pytest.fixture(params=["operator", "formulation"])
def softmax(request) -> BiasedSoftmax:
    with native.disabled() if request.param == "formulation" else nullcontext():
        return BiasedSoftmax()


def drawn(shape: tuple[int, ...], biases: int) -> list[np.ndarray]:
    """Scores, biases some of which are -inf, which of them, and a gradient."""
    generator = np.random.default_rng(0)
    scores, gradient = (3 * generator.standard_normal(shape).astype(np.float32) for _ in range(2))
    bias = generator.standard_normal((biases, *shape[-2:])).astype(np.float32)
    bias[..., 1:][generator.random(bias[..., 1:].shape) < 0.3] = -np.inf
    return [scores, bias, generator.integers(0, biases, shape[:-2]).astype(np.int32), gradient]


def error(ours: Tensor, truth: np.ndarray) -> float:
    return float(np.linalg.norm(ours.asnumpy() - truth) / np.linalg.norm(truth))


@pytest.mark.parametrize(("shape", "biases"), [((1, 1, 3), 1), ((2, 3, 5, 7, 9), 4), (LARGE, 2)])
def test_it_and_its_gradients_are_those_of_the_formula(softmax: BiasedSoftmax, shape: tuple[int, ...], biases: int):
    scores, bias, which, gradient = drawn(shape, biases)
    powers = np.exp(scores.astype(np.float64) + bias[which])
    truth = powers / powers.sum(-1, keepdims=True)
    of_scores = truth * (gradient - (truth * gradient).sum(-1, keepdims=True))
    of_bias = np.zeros(bias.shape)
    np.add.at(of_bias, which.ravel(), of_scores.reshape(-1, *shape[-2:]))

    def weighted(scores: Tensor, bias: Tensor) -> Tensor:
        return (softmax(scores, bias, Tensor(which)) * Tensor(gradient)).sum()

    ours = softmax(Tensor(scores), Tensor(bias), Tensor(which))
    assert error(ours, truth) < 1e-6
    assert not ours.asnumpy()[np.isneginf(np.broadcast_to(bias[which], shape))].any()
    for our_gradient, its_truth in zip(
        ms.grad(weighted, (0, 1))(Tensor(scores), Tensor(bias)), (of_scores, of_bias), strict=True
    ):
        assert error(our_gradient, its_truth) < 2e-6


def test_scores_may_be_far_apart(softmax: BiasedSoftmax):
    scores = np.array([[[1e30, 0, -1e30]], [[-1e30, -1e30, -1e30]]], np.float32)
    ours = softmax(Tensor(scores), Tensor(np.zeros((1, 1, 3), np.float32)), Tensor([0, 0], ms.int32)).asnumpy()
    np.testing.assert_allclose(ours[:, 0], [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]], rtol=1e-6)


def test_a_row_with_nan_or_infinity_has_nan_in_the_operator_too():
    scores = np.array([[[0, np.nan, 1]], [[0, np.inf, 1]]], np.float32)
    ours = BiasedSoftmax()(Tensor(scores), Tensor(np.zeros((1, 1, 3), np.float32)), Tensor([0, 0], ms.int32)).asnumpy()
    assert np.isnan(ours[0]).all() and np.isnan(ours[1, 0, 1])


def test_a_graph_for_every_size_gives_what_one_for_this_size_gives():
    cell = BiasedSoftmax()
    graph = ms.jit(cell.construct, dynamic=1)  # compiles for two sizes, and then once for all
    for shape in ((2, 3, 4), (3, 3, 4), (2, 5, 6), (1, 1, 2)):
        inputs = [Tensor(array) for array in drawn(shape, 2)[:3]]
        np.testing.assert_array_equal(graph(*inputs).asnumpy(), cell(*inputs).asnumpy())

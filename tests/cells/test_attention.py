"""Attention, and the softmax of scores to which one of several biases is added, with the operators and without."""

from __future__ import annotations

from contextlib import nullcontext

import mindspore as ms
import numpy as np
import pytest
import torch
from mindspore import Tensor

from ms_seg.cells import native
from ms_seg.cells.attention import Attention, BiasedSoftmax
from ms_seg.cells.precision import compute_dtype

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


# Samples, heads, channels of a head, queries, keys, masks: one of each; more than a piece of queries, of which the last
# is full, and is not; fewer heads than threads; many heads; enough work for two threads.
ATTENTIONS = [
    (1, 1, 1, 1, 1, 0),
    (2, 3, 5, 7, 4, 2),
    (2, 1, 16, 256, 33, 1),
    (1, 16, 8, 150, 20, 1),
    (1, 2, 32, 700, 600, 0),
]


@pytest.fixture(params=["operator", "formulation"])
def make_attention(request):
    def make(heads: int) -> Attention:
        with native.disabled() if request.param == "formulation" else nullcontext():
            return Attention(heads)

    return make


@pytest.mark.parametrize(("samples", "heads", "depth", "queries", "keys", "masks"), ATTENTIONS)
def test_attention_and_its_gradients_are_pytorchs(make_attention, samples, heads, depth, queries, keys, masks):
    generator, channels = np.random.default_rng(0), heads * depth
    shapes = (queries, keys, keys, queries)
    *inputs, gradient = (generator.standard_normal((samples, n, channels)).astype(np.float32) for n in shapes)
    mask = np.where(generator.random((masks, queries, keys)) < 0.3, -np.inf, 0).astype(np.float32)
    mask[..., 0] = 0
    ours = _outcome(make_attention(heads), inputs, Tensor(mask) if masks else None, gradient)

    wide = [torch.from_numpy(array).double().requires_grad_() for array in inputs]
    split = [tensor.reshape(samples, -1, heads, depth).transpose(1, 2) for tensor in wide]
    its_mask = torch.from_numpy(mask)[:, None].double() if masks else None
    truth = torch.nn.functional.scaled_dot_product_attention(*split, its_mask).transpose(1, 2).reshape(gradient.shape)
    truth.backward(torch.from_numpy(gradient).double())
    for our_array, its in zip(ours, (truth.detach(), *(tensor.grad for tensor in wide)), strict=True):
        assert np.linalg.norm(our_array.asnumpy() - its.numpy()) <= 2e-6 * np.linalg.norm(its.numpy())


@pytest.mark.parametrize(("samples", "heads", "depth", "length"), [(1, 1, 1, 1), (2, 3, 5, 7), (1, 2, 32, 700)])
def test_packed_projections_are_attended_to_as_those_taken_apart(make_attention, samples, heads, depth, length):
    generator, channels, cell = np.random.default_rng(0), heads * depth, make_attention(heads)
    qkv = generator.standard_normal((samples, length, 3 * channels)).astype(np.float32)
    gradient = generator.standard_normal((samples, length, channels)).astype(np.float32)

    def weighted(qkv: Tensor) -> tuple[Tensor, Tensor]:
        out = cell.packed(qkv)
        return (out * Tensor(gradient)).sum(), out

    (_, out), of_qkv = ms.jit(ms.value_and_grad(weighted, 0, has_aux=True))(Tensor(qkv))
    apart = [np.ascontiguousarray(part) for part in np.split(qkv, 3, axis=2)]
    truth, *gradients = (array.asnumpy() for array in _outcome(cell, apart, None, gradient))
    np.testing.assert_array_equal(out.asnumpy(), truth)
    np.testing.assert_array_equal(of_qkv.asnumpy(), np.concatenate(gradients, axis=2))


def _outcome(cell: Attention, inputs: list[np.ndarray], mask: Tensor | None, gradient: np.ndarray) -> list[Tensor]:
    """The output, and the gradients of query, key and value."""

    def weighted(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        out = cell(query, key, value, mask)
        return (out * Tensor(gradient)).sum(), out

    (_, out), gradients = ms.jit(ms.value_and_grad(weighted, (0, 1, 2), has_aux=True))(*map(Tensor, inputs))
    return [out, *gradients]


def test_a_graph_of_attention_for_every_size_gives_what_one_for_this_size_gives(make_attention):
    cell = make_attention(2)
    graph = ms.jit(cell.construct, dynamic=1)
    for samples, queries, keys in ((1, 3, 4), (2, 5, 4), (3, 1, 7), (1, 2, 2)):
        query, key, value = (Tensor(drawn((samples, n, 6), 1)[0]) for n in (queries, keys, keys))
        mask = Tensor(np.zeros((samples, queries, keys), np.float32))
        ours, truth = graph(query, key, value, mask).asnumpy(), cell(query, key, value, mask).asnumpy()
        np.testing.assert_allclose(ours, truth, rtol=1e-6, atol=1e-7)


def test_attention_in_float16_is_of_rounded_numbers():
    query, key, value = (np.random.default_rng(n).standard_normal((1, 5, 8)).astype(np.float32) for n in range(3))
    cell = Attention(2)
    truth = cell(*map(Tensor, (query, key, value))).asnumpy()
    with compute_dtype(ms.float16):
        rounded = cell(*map(Tensor, (query, key, value)))
    assert 1e-5 < error(rounded, truth) < 4e-3

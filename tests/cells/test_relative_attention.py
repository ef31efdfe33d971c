"""Attention with a table of relative positions, and its gradients, with the operator and without."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
import torch
from mindspore import Tensor

from ms_seg.cells import native
from ms_seg.cells.precision import compute_dtype
from ms_seg.cells.relative_attention import RelativeAttention, table_rows

# Samples, heads, channels of a head, patches: one; a row and a column of them; more than one piece of queries, of which
# the last is full, and is not; enough work for two threads.
SIZES = [
    (1, 1, 1, (1, 1)),
    (2, 3, 5, (1, 4)),
    (1, 2, 4, (3, 1)),
    (2, 2, 16, (5, 7)),
    (1, 3, 8, (51, 5)),
    (2, 1, 64, (10, 13)),
    (1, 4, 32, (24, 25)),
]


def drawn(samples: int, heads: int, depth: int, grid: tuple[int, int]) -> list[np.ndarray]:
    """qkv, a table, and a gradient of the output."""
    generator, length = np.random.default_rng(0), 1 + grid[0] * grid[1]
    shapes = (samples, length, 3 * heads * depth), (table_rows(grid), heads), (samples, length, heads * depth)
    return [generator.standard_normal(shape).astype(np.float32) for shape in shapes]


def bias_of(table: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """(heads, L, L), entry by entry as the definition has it."""
    height, width = grid
    places = [None, *((y, x) for y in range(height) for x in range(width))]
    rows = []
    for query in places:
        for key in places:
            if query is None or key is None:
                rows.append(len(table) - (1 if query is key else 3 if query is None else 2))
            else:
                down, across = query[0] - key[0] + height - 1, query[1] - key[1] + width - 1
                rows.append(down * (2 * width - 1) + across)
    return table[rows].reshape(len(places), len(places), -1).permute(2, 0, 1)


def truths(qkv: np.ndarray, table: np.ndarray, gradient: np.ndarray, grid: tuple[int, int]) -> list[np.ndarray]:
    """PyTorch's output and gradients of qkv and table, in float64."""
    inputs = [torch.from_numpy(array).double().requires_grad_() for array in (qkv, table)]
    samples, length, channels = gradient.shape
    heads = table.shape[1]
    query, key, value = inputs[0].reshape(samples, length, 3, heads, channels // heads).permute(2, 0, 3, 1, 4)
    out = torch.nn.functional.scaled_dot_product_attention(query, key, value, bias_of(inputs[1], grid)[None])
    out = out.transpose(1, 2).reshape(gradient.shape)
    out.backward(torch.from_numpy(gradient).double())
    return [out.detach().numpy(), *(tensor.grad.numpy() for tensor in inputs)]


def outcome(cell: RelativeAttention, qkv: np.ndarray, table: np.ndarray, gradient: np.ndarray) -> list[np.ndarray]:
    """The cell's output, and its gradients of qkv and table."""

    def weighted(qkv: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        out = cell(qkv, table)
        return (out * Tensor(gradient)).sum(), out

    (_, out), gradients = ms.jit(ms.value_and_grad(weighted, (0, 1), has_aux=True))(Tensor(qkv), Tensor(table))
    return [tensor.asnumpy() for tensor in (out, *gradients)]


def built(way: str, heads: int, grid: tuple[int, int]) -> RelativeAttention:
    with native.disabled() if way == "formulation" else nullcontext():
        return RelativeAttention(heads, grid)


def error(ours: np.ndarray, truth: np.ndarray) -> float:
    return float(np.linalg.norm(ours - truth) / max(np.linalg.norm(truth), 1e-30))


@pytest.mark.parametrize("way", ["operator", "formulation"])
@pytest.mark.parametrize(("samples", "heads", "depth", "grid"), SIZES)
def test_it_and_its_gradients_are_pytorchs(way: str, samples: int, heads: int, depth: int, grid: tuple[int, int]):
    inputs = drawn(samples, heads, depth, grid)
    ours, theirs = outcome(built(way, heads, grid), *inputs), truths(*inputs, grid)
    for our_array, truth, bound in zip(ours, theirs, (1e-6, 1e-5, 1e-5), strict=True):
        assert our_array.shape == truth.shape
        assert error(our_array, truth) < bound


def test_samples_of_a_graph_for_every_size():
    cell, (_, table, _) = RelativeAttention(2, (2, 3)), drawn(1, 2, 4, (2, 3))
    graph = ms.jit(cell.construct, dynamic=1)  # compiles for two sizes, and then once for all
    for samples in (1, 2, 5, 3):
        qkv, _, _ = drawn(samples, 2, 4, (2, 3))
        np.testing.assert_array_equal(
            graph(Tensor(qkv), Tensor(table)).asnumpy(), cell(Tensor(qkv), Tensor(table)).asnumpy()
        )


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("way", ["operator", "formulation"])
def test_another_number_of_tokens_is_refused(way: str, compiled: bool):
    cell = built(way, 2, (2, 3))
    call = ms.jit(cell.construct) if compiled else cell
    with pytest.raises(ValueError, match=r"there must be 1 \+ 2 \* 3 tokens: there are 8"):
        call(Tensor(np.zeros((1, 8, 24), np.float32)), Tensor(np.zeros((table_rows((2, 3)), 2), np.float32)))


@pytest.mark.parametrize("way", ["operator", "formulation"])
def test_in_float16_products_are_of_rounded_numbers(way: str):
    inputs = drawn(1, 2, 16, (5, 7))
    with compute_dtype(ms.float16):
        ours = outcome(built(way, 2, (5, 7)), *inputs)
    for our_array, truth in zip(ours, truths(*inputs, (5, 7)), strict=True):
        assert 1e-4 < error(our_array, truth) < 4e-3


@pytest.mark.parametrize("way", ["operator", "formulation"])
def test_scores_may_be_far_apart_and_nan_is_nan_where_it_is_attended_to(way: str):
    qkv, table, gradient = drawn(1, 2, 4, (3, 2))
    qkv[0, 3, :4] *= 1e4  # a query of the first head
    out, *_ = outcome(built(way, 2, (3, 2)), qkv, table, gradient)
    assert error(out, truths(qkv, table, gradient, (3, 2))[0]) < 1e-6
    qkv[0, 5, 2] = np.nan  # another
    qkv[0, 2, 5 + 8] = np.nan  # a key of the second head
    out, *_ = outcome(built(way, 2, (3, 2)), qkv, table, gradient)
    expected = np.zeros((7, 2), bool)
    expected[5, 0] = expected[:, 1] = True
    np.testing.assert_array_equal(np.isnan(out[0]).reshape(7, 2, 4), np.broadcast_to(expected[..., None], (7, 2, 4)))


def test_the_bits_are_the_same_on_one_core_and_on_all():
    cell, inputs = RelativeAttention(4, (24, 25)), drawn(1, 4, 32, (24, 25))
    cores, outcomes = os.sched_getaffinity(0), []
    for available in (cores, {min(cores)}, cores):
        os.sched_setaffinity(0, available)
        try:
            outcomes.append(outcome(cell, *inputs))
        finally:
            os.sched_setaffinity(0, cores)
    for other in outcomes[1:]:
        for array, its in zip(outcomes[0], other, strict=True):
            np.testing.assert_array_equal(array, its)


WITHOUT_MINDSPORE = """
import ctypes, sys, numpy as np

library, arrays = ctypes.CDLL(sys.argv[1]), np.load(sys.argv[2])
assert not any("libdnnl" in line for line in open("/proc/self/maps"))

def call(name, inputs, outputs):
    arrays = [*inputs, *outputs]
    sizes, pointer = [(ctypes.c_int64 * array.ndim)(*array.shape) for array in arrays], ctypes.POINTER(ctypes.c_int64)
    shapes = (pointer * len(arrays))(*[ctypes.cast(size, pointer) for size in sizes])
    params = (ctypes.c_void_p * len(arrays))(*[array.ctypes.data for array in arrays])
    types = (ctypes.c_char_p * len(arrays))(*[array.dtype.name.encode() for array in arrays])
    ranks = (ctypes.c_int * len(arrays))(*[array.ndim for array in arrays])
    assert getattr(library, name)(len(arrays), params, ranks, shapes, types, None, None) == 0

qkv, table, gradient, grid = (arrays[name] for name in ("qkv", "table", "gradient", "grid"))
made = [np.full(array.shape, np.nan, np.float32) for array in (gradient, qkv, table)]
call("relative_attention", [qkv, table, grid], made[:1])
call("relative_attention_grad", [qkv, table, grid, gradient], made[1:])
np.savez(sys.argv[3], *made)
"""


@pytest.mark.parametrize(("samples", "heads", "depth", "grid"), [SIZES[1], SIZES[4], (1, 2, 70, (9, 15))])
def test_the_operators_own_products_give_the_same(samples, heads, depth, grid, tmp_path: Path):
    """In a process that has no oneDNN, for MindSpore brings it."""
    inputs = drawn(samples, heads, depth, grid)
    before, after = tmp_path / "before.npz", tmp_path / "after.npz"
    np.savez(before, **dict(zip(("qkv", "table", "gradient"), inputs, strict=True)), grid=np.array(grid, np.int32))
    command = [sys.executable, "-c", WITHOUT_MINDSPORE, str(native._library()), str(before), str(after)]
    subprocess.run(command, check=True, timeout=60)
    with np.load(after) as made:
        for name, truth, bound in zip(made.files, truths(*inputs, grid), (1e-6, 1e-5, 1e-5), strict=True):
            assert error(made[name], truth) < bound

"""Cross-entropies of pixels and their gradients, in both formulations, beside the formula in float64."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from ms_seg.cells import native
from ms_seg.cells.cross_entropy import CrossEntropy, Softmax

ROOT = Path(__file__).resolve().parents[2]
FORMULATIONS = pytest.mark.parametrize("formulation", [nullcontext, native.disabled], ids=["C", "MindSpore"])
SHAPES = [(1, 1, 2, 3), (2, 7, 1, 1), (2, 5, 9, 31), (1, 150, 40, 130), (3, 2, 256, 257)]


def draw(shape: tuple[int, ...], scale: float = 3.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, classes, and a gradient of each cross-entropy, a third of them 0."""
    rng, pixels = np.random.default_rng(0), (shape[0], 1, *shape[2:])
    gradient = rng.standard_normal(pixels) * (rng.random(pixels) > 0.3)
    logits, targets = scale * rng.standard_normal(shape), rng.integers(0, shape[1], pixels)
    return logits.astype(np.float32), targets.astype(np.int32), gradient.astype(np.float32)


def outcome(cell: CrossEntropy, logits: np.ndarray, targets: np.ndarray, gradient: np.ndarray) -> list[np.ndarray]:
    def weighted(logits: Tensor, targets: Tensor, gradient: Tensor) -> Tensor:
        return (cell(logits, targets) * gradient).sum()

    batch = [Tensor(array) for array in (logits, targets, gradient)]
    return [cell(*batch[:2]).asnumpy(), ms.jit(ms.grad(weighted))(*batch).asnumpy()]


def formula(logits: np.ndarray, targets: np.ndarray, gradient: np.ndarray) -> list[np.ndarray]:
    logits = logits.astype(np.float64) - logits.max(1, keepdims=True)
    logarithms = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    hit = np.arange(logits.shape[1]).reshape(1, -1, 1, 1) == targets
    return [-np.take_along_axis(logarithms, targets, 1), (np.exp(logarithms) - hit) * gradient]


def build(formulation: Callable) -> CrossEntropy:
    with formulation():
        return CrossEntropy()


@FORMULATIONS
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_are_the_formulas(shape: tuple[int, ...], formulation: Callable):
    batch = draw(shape)
    for ours, truth in zip(outcome(build(formulation), *batch), formula(*batch), strict=True):
        assert np.abs(ours - truth).max() <= 2e-6 * max(1, np.abs(truth).max())


def resizing(source: int, target: int) -> np.ndarray:
    """(target, source): what each source position counts for, half-pixel centres."""
    positions = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    return np.maximum(1 - abs(positions[:, None] - np.arange(source)), 0)


@FORMULATIONS
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((2, 5, 9, 31), (36, 124)),  # four times as large
        ((1, 150, 40, 33), (160, 132)),  # in several bands
        ((2, 3, 10, 13), (23, 37)),
        ((1, 3, 40, 90), (17, 21)),  # smaller
        ((1, 4, 6, 70), (24, 70)),  # in one direction
        ((1, 4, 20, 6), (20, 70)),
        ((2, 2, 1, 1), (5, 66)),
    ],
    ids=str,
)
def test_logits_are_resized_to_the_pixels(shape: tuple[int, ...], size: tuple[int, int], formulation: Callable):
    logits, _, _ = draw(shape)
    _, targets, gradient = draw((*shape[:2], *size))
    rows, columns = (resizing(*pair) for pair in zip(shape[2:], size, strict=True))
    losses, of_resized = formula(rows @ logits.astype(np.float64) @ columns.T, targets, gradient)
    expected = losses, rows.T @ of_resized @ columns
    limit = 2e-6 if formulation is nullcontext else 6e-6  # MindSpore's positions are float32
    for ours, truth in zip(outcome(build(formulation), logits, targets, gradient), expected, strict=True):
        assert ours.shape == truth.shape
        assert np.abs(ours - truth).max() <= limit * max(1, np.abs(truth).max())


@FORMULATIONS
def test_logits_of_any_size_do_not_overflow(formulation: Callable):
    batch = draw((2, 5, 9, 31), scale=1e4)
    losses, gradient = outcome(build(formulation), *batch)
    assert np.isfinite(losses).all() and losses.max() > 1e3
    assert np.abs(gradient - formula(*batch)[1]).max() <= 2e-6 * np.abs(gradient).max()


def test_logits_that_are_no_numbers_spoil_their_pixel_alone():
    logits, targets, gradient = draw((1, 4, 3, 300))
    logits[0, 2, 1, 7] = np.nan
    for array in outcome(CrossEntropy(), logits, targets, np.ones_like(gradient)):
        spoilt = np.isnan(array).any((0, 1))
        assert spoilt[1, 7] and spoilt.sum() == 1


def test_probabilities_of_a_pixel_are_those_of_its_logits():
    logits, _, _ = draw((2, 5, 9, 31))
    weights = np.exp(logits.astype(np.float64))
    probs = Softmax()(Tensor(logits)).asnumpy().reshape(logits.shape)
    assert np.abs(probs - weights / weights.sum(1, keepdims=True)).max() < 1e-6


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not let a process choose its cores")
def test_the_bits_are_the_same_on_any_number_of_cores():
    code = """
import os, sys
os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: int(sys.argv[1])]))
sys.path.insert(0, "tests/cells")
from test_cross_entropy import CrossEntropy, draw, outcome
logits, _, _ = draw((2, 40, 50, 30))
_, targets, gradient = draw((2, 40, 200, 120))
sys.stdout.buffer.write(b"".join(array.tobytes() for array in outcome(CrossEntropy(), logits, targets, gradient)))
"""
    one, several = (
        subprocess.run([sys.executable, "-c", code, count], cwd=ROOT, capture_output=True, check=True).stdout
        for count in ("1", "64")
    )
    assert len(one) == 4 * (2 * 200 * 120 + 2 * 40 * 50 * 30) and one == several

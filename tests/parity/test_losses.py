"""Losses against PyTorch's, values and gradients, with pixels that count for nothing."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
import torch
from mindspore import Tensor, nn, ops

from ms_seg.training.losses.cross_entropy import IGNORED, WordLoss


class Product(nn.Cell):
    """Logits that are a pixel's product with each word, as LSeg's are but for lengths and temperature."""

    def construct(self, images: Tensor, words: Tensor) -> Tensor:
        n, _, h, w = images.shape
        pixels = ops.reshape(images, (n, -1, h * w))
        return ops.reshape(ops.matmul(words, pixels), (n, -1, h, w))


def sample(labels_kept: float, labels: int = 7, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (2, 3, 9, 12), labels of which about that share counts, and words (labels, 3)."""
    rng = np.random.default_rng(labels)
    truth = rng.integers(0, labels, (2, 9, 12)).astype(np.int32)
    truth[rng.random(truth.shape) >= labels_kept] = IGNORED
    images, words = rng.standard_normal((2, 3, 9, 12)), rng.standard_normal((labels, 3)) * scale
    return images.astype(np.float32), truth, words.astype(np.float32)


def ours(images: np.ndarray, labels: np.ndarray, words: np.ndarray, graph: bool = True) -> tuple[float, np.ndarray]:
    """The loss, and its gradient for the images."""
    compute = ms.value_and_grad(WordLoss(Product()), 0)
    loss, gradient = (ms.jit(compute) if graph else compute)(Tensor(images), Tensor(labels), Tensor(words))
    return float(loss), gradient.asnumpy()


def theirs(images: np.ndarray, labels: np.ndarray, words: np.ndarray) -> tuple[float, np.ndarray]:
    x = torch.from_numpy(images).requires_grad_()
    logits = torch.einsum("kd,ndhw->nkhw", torch.from_numpy(words), x)
    loss = torch.nn.CrossEntropyLoss(ignore_index=IGNORED)(logits, torch.from_numpy(labels).long())
    loss.backward()
    return loss.item(), x.grad.numpy()


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("labels", [1, 2, 7, 150])
def test_the_mean_runs_over_the_pixels_that_count_as_in_pytorch(labels: int, graph: bool):
    batch = sample(0.3, labels)
    (loss, gradient), (their_loss, their_gradient) = ours(*batch, graph), theirs(*batch)
    assert loss == pytest.approx(their_loss, rel=1e-5)
    assert np.abs(gradient - their_gradient).max() <= 1e-5 * max(np.abs(their_gradient).max(), 1e-6)


def test_the_gradient_stays_pytorchs_where_a_single_pixel_counts():
    images, labels, words = sample(0.0)
    labels[1, 4, 5] = 3
    (loss, gradient), (their_loss, their_gradient) = ours(images, labels, words), theirs(images, labels, words)
    assert loss == pytest.approx(their_loss, rel=1e-5)
    assert np.allclose(gradient, their_gradient, atol=1e-6)
    assert np.count_nonzero(np.abs(gradient).sum(1)) == 1


def test_large_logits_do_not_overflow():
    batch = sample(1.0, scale=1000.0)
    loss, gradient = ours(*batch)
    assert loss == pytest.approx(theirs(*batch)[0], rel=1e-5)
    assert np.isfinite(gradient).all()


def test_a_batch_in_which_nothing_counts_teaches_nothing_and_spoils_nothing():
    batch = sample(0.0)
    assert np.isnan(theirs(*batch)[0])
    loss, gradient = ours(*batch)
    assert loss == 0.0
    assert not gradient.any()

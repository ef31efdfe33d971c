"""Losses against PyTorch's, values and gradients, with pixels that count for nothing."""

from __future__ import annotations

from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
import references
import torch
from mindspore import Tensor, nn, ops

from ms_seg.presets.recipe import Recipe
from ms_seg.training.losses.cross_entropy import IGNORED, SemanticLoss, WordLoss


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


# -------------------------------------------------------------------------- SemanticLoss with mmsegmentation's options


class ImagesAreLogits(nn.Cell):
    def construct(self, images: Tensor) -> Tensor:
        return images


def semantic_sample(classes: int, ignored: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits (2, C, 7, 9), and labels of four times the sides."""
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, (2, 28, 36)).astype(np.int32)
    labels[rng.random(labels.shape) < ignored] = IGNORED
    return (2 * rng.standard_normal((2, classes, 7, 9))).astype(np.float32), labels


def mmsegmentations(logits: np.ndarray, labels: np.ndarray, recipe: Recipe) -> tuple[float, np.ndarray]:
    """What BaseDecodeHead.losses adds up, and its gradient for the logits."""
    references.import_mmseg()
    from mmseg.core.seg.sampler import OHEMPixelSampler
    from mmseg.models.losses import CrossEntropyLoss, DiceLoss

    weights = list(recipe.ce_class_weight) or None
    losses = [CrossEntropyLoss(class_weight=weights, avg_non_ignore=recipe.avg_non_ignore)]
    if recipe.dice_loss_weight:
        losses.append(DiceLoss(loss_weight=recipe.dice_loss_weight))
    x = torch.from_numpy(logits).requires_grad_()
    up = torch.nn.functional.interpolate(x, labels.shape[1:], mode="bilinear", align_corners=False)
    truth, weight = torch.from_numpy(labels).long(), None
    if recipe.ohem_min_kept:
        context = SimpleNamespace(ignore_index=IGNORED, loss_decode=torch.nn.ModuleList(losses))
        sampler = OHEMPixelSampler(context, recipe.ohem_thresh or None, recipe.ohem_min_kept)
        weight = sampler.sample(up, truth[:, None])
    total = sum(loss(up, truth, weight=weight, ignore_index=IGNORED) for loss in losses)
    total.backward()
    return total.item(), x.grad.numpy()


OPTIONS = [
    {},
    {"avg_non_ignore": True},
    {"ce_class_weight": True},
    {"ce_class_weight": True, "avg_non_ignore": True, "dice_loss_weight": 3.0},
    {"dice_loss_weight": 0.5},
    {"ohem_min_kept": 100},
    {"ohem_min_kept": 100, "ohem_thresh": 0.7},
    {"ohem_min_kept": 500, "ohem_thresh": 0.05},
    {"ohem_min_kept": 100_000, "ohem_thresh": 0.01},
    {"ohem_min_kept": 100_000},
    {"ohem_min_kept": 60, "ce_class_weight": True, "dice_loss_weight": 1.0, "avg_non_ignore": True},
]


SAMPLES = [(7, 0.3)] * len(OPTIONS) + [(2, 0.0), (150, 0.3)] * 2


@pytest.mark.parametrize(
    ("options", "classes", "ignored"),
    [
        (options, *sample)
        for options, sample in zip([*OPTIONS, *OPTIONS[-1:] * 2, *OPTIONS[7:8] * 2], SAMPLES, strict=True)
    ],
)
def test_weights_dice_and_ohem_are_mmsegmentations(options: dict, classes: int, ignored: float):
    logits, labels = semantic_sample(classes, ignored)
    if options.get("ce_class_weight"):
        weights = np.random.default_rng(1).uniform(0, 3, classes)
        options = {**options, "ce_class_weight": tuple(np.round(weights, 3).tolist())}
    recipe = Recipe(**options)
    compute = ms.jit(ms.value_and_grad(SemanticLoss(ImagesAreLogits(), recipe), 0))
    loss, gradient = compute(Tensor(logits), Tensor(labels))
    their_loss, their_gradient = mmsegmentations(logits, labels, recipe)
    assert float(loss) == pytest.approx(their_loss, rel=1e-5)
    assert np.abs(gradient.asnumpy() - their_gradient).max() <= 1e-4 * np.abs(their_gradient).max()


@pytest.mark.parametrize("options", [{"ohem_min_kept": 10, "ohem_thresh": 0.7}, {"ohem_min_kept": 10}])
def test_hard_pixels_of_a_batch_without_any_are_none(options: dict):
    logits, labels = semantic_sample(3, 1.0)
    loss, gradient = ms.jit(ms.value_and_grad(SemanticLoss(ImagesAreLogits(), Recipe(**options)), 0))(
        Tensor(logits), Tensor(labels)
    )
    assert float(loss) == 0 and not gradient.asnumpy().any()

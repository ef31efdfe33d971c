"""Swin Transformer against mmdetection's, running beside it: small ones, any size of picture, gradients."""

from __future__ import annotations

from unittest import mock

import drawn
import mindspore as ms
import numpy as np
import pytest
import references
import torch
from errors import check_gradients, relative_error
from mindspore import Tensor, nn, ops

from convert.reading.entry import ArrayEntry
from convert.recognition import recognise
from ms_seg.backbones.swin import SwinTransformer
from ms_seg.cells.drop import DropPath, give_noise
from ms_seg.inference.execution import Runner

SMALL = {"channels": 16, "depths": (2, 1, 1, 1), "heads": (1, 2, 2, 4)}
RATE = 0.3
LIMIT = 1e-5


def reference(window: int) -> torch.nn.Module:
    references.import_mmdet()
    from mmdet.models import build_backbone

    made = build_backbone(
        dict(
            type="SwinTransformer",
            embed_dims=SMALL["channels"],
            depths=SMALL["depths"],
            num_heads=SMALL["heads"],
            window_size=window,
            drop_path_rate=RATE,
        )
    )
    made.eval()  # which, there, returns nothing
    return references.draw_weights(made, seed=window)


def in_our_names(tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Through the converter, which also puts merged patches into the original's order."""
    entries = {f"backbone.{name}": ArrayEntry(tensor.detach().numpy().copy()) for name, tensor in tensors.items()}
    converted = recognise(entries).plan(None).apply(entries)
    return {name.removeprefix("backbone."): entry.numpy() for name, entry in converted.items()}


def ours_of(theirs: torch.nn.Module, window: int) -> SwinTransformer:
    model = SwinTransformer(**SMALL, window=window, drop_path_rate=RATE)
    weights, parameters = in_our_names(theirs.state_dict()), model.parameters_dict()
    assert set(weights) == set(parameters)
    for name, parameter in parameters.items():
        parameter.set_data(Tensor(weights[name]))
    return model


def maps_of(theirs: torch.nn.Module, images: np.ndarray) -> list[np.ndarray]:
    with torch.no_grad():
        return [m.numpy() for m in theirs(torch.from_numpy(images))]


# Whole windows; sides that no patch, window or pair of patches divides; maps smaller than a window.
SIZES = {4: ((2, 3, 64, 128), (1, 3, 67, 81), (2, 3, 9, 130)), 7: ((1, 3, 56, 112), (2, 3, 101, 45), (1, 3, 17, 30))}


@pytest.mark.parametrize(("window", "mode"), [(4, "graph"), (7, "pynative")])
def test_every_map_equals_mmdetections(window: int, mode: str):
    """In graph mode one graph is of the first size, one of the second, and one of all that come then."""
    theirs = reference(window)
    run = Runner(ours_of(theirs, window), mode)
    for number, shape in enumerate(SIZES[window]):
        images = drawn.images(shape, seed=number)
        answer, expected = run(Tensor(images)), maps_of(theirs, images)
        assert [m.shape for m in answer] == [m.shape for m in expected]
        for ours, their in zip(answer, expected, strict=True):
            assert relative_error(ours.asnumpy(), their) <= LIMIT


def test_the_float32_error_is_at_most_twice_pytorchs():
    theirs = reference(4)
    images = drawn.images((1, 3, 128, 96), seed=5)
    ours, float32 = ours_of(theirs, 4)(Tensor(images)), maps_of(theirs, images)
    exact = maps_of(theirs.double(), images.astype(np.float64))
    for our, their, right in zip(ours, float32, exact, strict=True):
        assert relative_error(our.asnumpy(), right) <= 2 * relative_error(their, right)


class Weighted(nn.Cell):
    """A number that every pixel of every map moves."""

    def __init__(self, model: nn.Cell):
        super().__init__()
        self.model = model

    def construct(self, images: Tensor, weights: list[Tensor]) -> Tensor:
        total = 0.0
        for level, features in enumerate(self.model(images)):
            total = total + (features * weights[level]).sum()
        return total


def test_gradients_and_dropped_paths_equal_mmdetections():
    """While training, paths are dropped by the same numbers in both."""
    theirs = reference(4)
    theirs.train()
    model = ours_of(theirs, 4).set_train(True)
    images, generator = drawn.images((2, 3, 43, 66), seed=1), np.random.default_rng(2)
    rates = [m.drop_prob for m in theirs.modules() if type(m).__name__ == "DropPath"]
    assert [m.rate for _, m in model.cells_and_names() if isinstance(m, DropPath)] == pytest.approx(rates)

    parameters = list(model.trainable_params())
    noise = [generator.random((2, 1)).astype(np.float32) for rate in rates if rate]
    for parameter, numbers in zip(give_noise(model, 2), noise, strict=True):
        parameter.set_data(Tensor(numbers))
    rows = iter(noise)
    with mock.patch.object(torch, "rand", lambda shape, **_: torch.from_numpy(next(rows)).reshape(shape)):
        outputs = theirs(torch.from_numpy(images))
    weights = [generator.standard_normal(m.shape).astype(np.float32) for m in outputs]
    loss = sum((m * torch.from_numpy(w)).sum() for m, w in zip(outputs, weights, strict=True))
    loss.backward()
    gradients = in_our_names({name: parameter.grad for name, parameter in theirs.named_parameters()})

    compute = ms.value_and_grad(Weighted(model), None, parameters)
    our_loss, ours = ms.jit(compute)(Tensor(images), [Tensor(w) for w in weights])
    assert float(our_loss) == pytest.approx(loss.item(), rel=1e-4)
    named = {parameter.name.removeprefix("model."): parameter for parameter in parameters}
    for name, parameter in named.items():
        gradients[parameter.name] = gradients[name]
    check_gradients(parameters, ours, gradients)
    assert all(ops.norm(gradient) > 0 for gradient in ours)

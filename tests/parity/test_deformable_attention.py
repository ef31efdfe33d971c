"""Deformable attention against mmcv's own, in plain PyTorch: outputs and all gradients, in C and in MindSpore."""

from __future__ import annotations

from contextlib import nullcontext

import mindspore as ms
import numpy as np
import pytest
import references
import torch
from errors import relative_error
from mindspore import Tensor, nn

from ms_seg.cells import native
from ms_seg.cells.deformable_attention import DeformableAttention

SIZES = ((3, 4), (5, 8), (9, 15))


def theirs_of(channels: int, heads: int, levels: int, points: int) -> torch.nn.Module:
    """mmcv's module with weights that send samples to all sides, some of them beyond the edge."""
    references.import_mmseg()
    from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttention

    made = MultiScaleDeformableAttention(channels, heads, levels, points, dropout=0.0, batch_first=True)
    return references.draw_weights(made, seed=channels)


def ours_of(theirs: torch.nn.Module, *sizes: int) -> DeformableAttention:
    ours = DeformableAttention(*sizes)
    for name, tensor in theirs.state_dict().items():
        ours.parameters_dict()[name].set_data(Tensor(tensor.numpy()))
    return ours


def draw(*shape: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


class Pulled(nn.Cell):
    """The output, and the gradients of queries, values and parameters for a given gradient of the output."""

    def __init__(self, cell: nn.Cell):
        super().__init__()
        self.cell = cell.set_train(True)
        self.pull_back = ms.grad(self.weighted, (0, 1), cell.trainable_params())

    def weighted(
        self, query: Tensor, value: Tensor, reference_points: Tensor, sizes: Tensor, gradient: Tensor
    ) -> Tensor:
        return (self.cell(query, value, reference_points, sizes) * gradient).sum()

    def construct(self, query: Tensor, value: Tensor, reference_points: Tensor, sizes: Tensor, gradient: Tensor):
        return self.cell(query, value, reference_points, sizes), self.pull_back(
            query, value, reference_points, sizes, gradient
        )


@pytest.mark.parametrize("compiled", [True, False], ids=["c", "mindspore"])
@pytest.mark.parametrize(("heads", "depth", "levels", "points"), [(2, 32, 3, 4), (3, 5, 1, 2)])
def test_outputs_and_gradients_equal_mmcvs(heads: int, depth: int, levels: int, points: int, compiled: bool):
    """The gradient of an offset jumps from pixel to pixel, so the truth is in float64, of the same numbers."""
    shape = (heads * depth, heads, levels, points)
    theirs, sizes = theirs_of(*shape), SIZES[:levels]
    with nullcontext() if compiled else native.disabled():
        ours = ours_of(theirs, *shape)
    positions = sum(height * width for height, width in sizes)
    query, value = draw(2, 7, heads * depth, seed=1), draw(2, positions, heads * depth, seed=2)
    reference_points = np.random.default_rng(3).random((7, 2)).astype(np.float32)
    gradient = draw(*query.shape, seed=4)

    inputs = [torch.from_numpy(array).double().requires_grad_() for array in (query, value)]
    expected = theirs.double()(
        inputs[0],
        value=inputs[1],
        identity=torch.zeros(1),
        reference_points=torch.from_numpy(reference_points).double()[None, :, None].expand(2, -1, levels, -1),
        spatial_shapes=torch.tensor(sizes),
    )
    expected.backward(torch.from_numpy(gradient).double())

    arguments = (query, value, reference_points, np.array(sizes, np.float32), gradient)
    out, ((of_query, of_value), of_parameters) = ms.jit(Pulled(ours).construct)(*map(Tensor, arguments))
    assert relative_error(out.asnumpy(), expected.detach().numpy()) <= 2e-6
    assert relative_error(of_query.asnumpy(), inputs[0].grad.numpy()) <= 1e-5
    assert relative_error(of_value.asnumpy(), inputs[1].grad.numpy()) <= 1e-5
    named = dict(theirs.named_parameters())
    for parameter, ours_gradient in zip(ours.trainable_params(), of_parameters, strict=True):
        name = parameter.name.removeprefix("cell.")
        assert relative_error(ours_gradient.asnumpy(), named[name].grad.numpy()) <= 1e-5, name


def test_samples_start_as_mmcvs_star():
    references.import_mmseg()
    from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttention

    theirs, ours = MultiScaleDeformableAttention(64, 8, 3, 4), DeformableAttention(64, 8, 3, 4)
    for part in ("sampling_offsets", "attention_weights"):
        for leaf in ("weight", "bias"):
            expected = getattr(getattr(theirs, part), leaf).detach().numpy()
            np.testing.assert_allclose(getattr(getattr(ours, part), leaf).asnumpy(), expected, atol=1e-5)

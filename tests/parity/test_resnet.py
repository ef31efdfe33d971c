"""ResNet with frozen batch norms against mmdetection's, running beside it: a small one."""

from __future__ import annotations

from unittest import mock

import drawn
import mindspore as ms
import numpy as np
import pytest
import references
import torch
from errors import check_gradients, relative_error
from mindspore import Tensor, nn

from convert.reading.entry import ArrayEntry
from convert.recognition import recognise
from ms_seg.backbones.resnet import ResNet
from ms_seg.cells.norm import running_statistics

DEPTHS, STEM = (1, 2, 1, 1), 8


def reference() -> torch.nn.Module:
    references.import_mmdet()
    from mmdet.models.backbones.resnet import Bottleneck
    from mmdet.models.backbones.resnet import ResNet as Theirs

    with mock.patch.dict(Theirs.arch_settings, {50: (Bottleneck, DEPTHS)}):
        norm = dict(type="BN", requires_grad=False)
        made = Theirs(50, stem_channels=STEM, base_channels=STEM, norm_cfg=norm, norm_eval=True, style="pytorch")
    return references.draw_weights(made, seed=0)


def in_our_names(tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    entries = {name: ArrayEntry(tensor.detach().numpy().copy()) for name, tensor in tensors.items()}
    converted = recognise(entries).plan(None).apply(entries)
    return {name.removeprefix("backbone."): entry.numpy() for name, entry in converted.items()}


class Weighted(nn.Cell):
    """A number that every pixel of every map moves."""

    def __init__(self, model: nn.Cell):
        super().__init__(auto_prefix=False)
        self.model = model

    def construct(self, images: Tensor, weights: list[Tensor]) -> Tensor:
        total = 0.0
        for level, features in enumerate(self.model(images)):
            total = total + (features * weights[level]).sum()
        return total


def test_frozen_norms_keep_their_statistics_and_all_else_learns_as_in_mmdetection():
    theirs = reference()
    theirs.train()  # its norms stay in inference mode
    model = ResNet(DEPTHS, STEM, frozen_norms=True).set_train(True)
    weights, parameters = in_our_names(theirs.state_dict()), model.parameters_dict()
    assert set(weights) == set(parameters) and not running_statistics(model)
    for name, parameter in parameters.items():
        parameter.set_data(Tensor(weights[name]))

    images = drawn.images((2, 3, 67, 90), seed=1)
    outputs = theirs(torch.from_numpy(images))
    for ours, exact in zip(model(Tensor(images)), outputs, strict=True):
        assert relative_error(ours.asnumpy(), exact.detach().numpy()) <= 1e-5

    # In float64: in float32 a ReLU near zero lets some through on one side alone.
    outputs = theirs.double()(torch.from_numpy(images).double())
    factors = [np.random.default_rng(i).standard_normal(m.shape).astype(np.float32) for i, m in enumerate(outputs)]
    loss = sum((m * torch.from_numpy(f)).sum() for m, f in zip(outputs, factors, strict=True))
    loss.backward()
    gradients = in_our_names({name: p.grad.float() for name, p in theirs.named_parameters() if p.grad is not None})
    learn = model.trainable_params()
    assert {parameter.name for parameter in learn} == set(gradients)
    assert all(name.endswith("conv.weight") for name in gradients)
    compute = ms.jit(ms.value_and_grad(Weighted(model), None, learn))
    our_loss, ours = compute(Tensor(images), [Tensor(f) for f in factors])
    assert float(our_loss) == pytest.approx(loss.item(), rel=1e-4)
    check_gradients(learn, ours, gradients)
    for name, parameter in parameters.items():
        np.testing.assert_array_equal(parameter.asnumpy(), weights[name], err_msg=name)


def test_transformers_imagenet_classifier_fills_the_backbone():
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(embedding_size=STEM, hidden_sizes=[4 * STEM * 2**i for i in range(4)], depths=list(DEPTHS))
    theirs = references.draw_weights(ResNetForImageClassification(config), seed=1).eval()
    images = drawn.images((1, 3, 64, 96), 2)
    with torch.no_grad():
        maps = theirs.resnet(torch.from_numpy(images), output_hidden_states=True).hidden_states[1:]
    model = ResNet(DEPTHS, STEM)
    for name, array in in_our_names(theirs.state_dict()).items():
        model.parameters_dict()[name].set_data(Tensor(array))
    for ours, reference_map in zip(model.set_train(False)(Tensor(images)), maps, strict=True):
        assert relative_error(ours.asnumpy(), reference_map.numpy()) <= 1e-5

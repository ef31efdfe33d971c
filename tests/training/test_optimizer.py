"""Optimisers of networks with very many parameters; that their steps are PyTorch's, tests/parity shows."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, ParameterTuple, Tensor, nn

from ms_seg.backbones import build_backbone
from ms_seg.presets.recipe import Optimizer, Recipe
from ms_seg.training.optimizer import groups, layers_of, make_optimizer
from ms_seg.training.step import _Update

MANY = 700  # Swin-L has 661, more than a loop in a graph can have turns


@pytest.mark.parametrize(("optimizer", "first_step"), [("adamw", 1.0), ("sgd", 0.5)])
def test_many_parameters_are_updated_and_averaged(optimizer: Optimizer, first_step: float):
    recipe = Recipe(optimizer=optimizer, learning_rate=0.1, weight_decay=0.0, head_multiplier=1.0, ema=0.75)
    trained = ParameterTuple([Parameter(np.float32([i, -i]), name=f"p{i}") for i in range(MANY)])
    averages = trained.clone("ema", "same")
    optimiser = make_optimizer(trained, recipe)
    update = ms.jit(_Update(optimiser, recipe, averages, None).construct)
    gradients = [Tensor(np.float32([0.5, -0.5])) for _ in trained]
    update(*(Tensor(value, ms.float32) for value in (0.1, *optimiser.bias_corrections(0))), *gradients)
    for i in (0, 1, MANY // 2, MANY - 1):
        moved = 0.1 * first_step * np.float32([-1, 1])
        np.testing.assert_allclose(trained[i].asnumpy(), np.float32([i, -i]) + moved, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(averages[i].asnumpy(), np.float32([i, -i]) + moved / 4, rtol=1e-6, atol=1e-6)


class Layered(nn.Cell):
    """A network whose backbone has two layers, and a map above them."""

    def __init__(self, backbone: nn.Cell):
        super().__init__()
        self.backbone = backbone


class TwoLayers(nn.Cell):
    layer_prefixes = (("embed.", "token"), ("blocks.0.",))


NAMES = {
    "backbone.embed.weight": 0.25, "backbone.token": 0.25, "backbone.blocks.0.weight": 0.5, "backbone.norm": 1,
    "backbone.blocks.01.weight": 1, "embed.weight": 1, "decoder.weight": 1, "query_decoder.mask_embed.0.weight": 0.25,
    "query_decoder.query_feat": 0.25, "query_decoder.layers.0.weight": 1,
}  # fmt: skip


def test_each_layer_of_a_backbone_learns_more_slowly_than_the_one_above():
    recipe = Recipe(layer_decay=0.5, backbone_multiplier=0.1, head_multiplier=10.0)
    layers = layers_of(Layered(TwoLayers()), recipe)
    parameters = [Parameter(np.float32([1]), name=name) for name in NAMES]
    for group in groups(parameters, recipe, layers):
        name = group.parameter.name
        part = 0.1 if name.startswith("backbone.") else 10 if "decoder" in name else 1
        assert group.lr_multiplier == pytest.approx(part * NAMES[name]), name


def test_without_layer_decay_nothing_is_asked_of_a_backbone():
    assert layers_of(Layered(nn.Cell()), Recipe()) == ()
    (group,) = groups([Parameter(np.float32([1]), name="query_decoder.query_feat")], Recipe(head_multiplier=1.0))
    assert group.lr_multiplier == 1


def test_a_backbone_without_layers_is_not_trained_with_layer_decay():
    sizes = {"embed_dims": (8, 8, 8, 8), "depths": (1, 1, 1, 1), "heads": (1, 1, 1, 1)}
    with pytest.raises(ValueError, match="layer_decay must be 1 for MixTransformer, which does not divide into layers"):
        layers_of(Layered(build_backbone("mit", sizes)), Recipe(layer_decay=0.9))

"""LSeg's arguments and inputs: what it takes, and the sentence for what it does not."""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
import pytest

from ms_seg.backbones.vit import ViTPyramid
from ms_seg.presets import find_preset
from ms_seg.systems import LSeg, build

VIT = {"channels": 32, "depth": 4, "heads": 2, "patch": 16, "grid": 3, "map_channels": (8, 8, 8, 8)}
SMALL = {"features": 8, "embed_dim": 16, "head_block": "none", "block_depth": 1, "activation": "lrelu"}
SMALL |= {"text_width": 16, "text_layers": 1, "text_heads": 2, "vocabulary": 300}


def ones(height: int, width: int) -> ms.Tensor:
    return ms.Tensor(np.ones((1, 3, height, width), np.float32))


@pytest.fixture(scope="module")
def small() -> LSeg:
    return LSeg(ViTPyramid(**VIT), **SMALL).set_train(False)


def test_logits_have_the_images_size_and_a_map_for_each_text(small: LSeg):
    tokens = np.zeros((4, 77), np.int32)
    tokens[:, :3] = (298, 5, 299)
    assert small(ones(64, 96), ms.Tensor(tokens)).shape == (1, 4, 64, 96)
    assert small.pixels(ones(32, 64)).shape == (1, 16, 16, 32)


@pytest.mark.parametrize("size", [(33, 64), (64, 48), (1, 1)])
def test_sides_that_are_no_multiples_of_32_are_refused_in_a_sentence(small: LSeg, size: tuple[int, int]):
    with pytest.raises(ValueError, match=f"sides of images must be multiples of 32: {size[0]}x{size[1]} are not"):
        small.pixels(ones(*size))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"head_block": "conv"}, "head_block .*none, bottleneck, depthwise"),
        ({"activation": "gelu"}, "activation .*lrelu, tanh, relu"),
        ({"head_block": "bottleneck", "block_depth": 0}, "block_depth"),
        ({"depth": 6}, "6"),
        ({"patch": 8}, "patch .*16, 32"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_arguments_that_make_no_model_are_refused(changes: dict[str, Any], problem: str):
    preset = find_preset("lseg_vitl16_ade20k").override(**{**SMALL, **VIT, **changes})
    with pytest.raises(ValueError, match=problem):
        build(preset)


def test_a_preset_takes_a_spatial_block():
    preset = find_preset("lseg_vitl16_ade20k").override(head_block="bottleneck", block_depth=2, activation="tanh")
    model = build(preset.override(**{**SMALL, **VIT, "head_block": "bottleneck"}))
    assert "word_pixel.block.conv.weight" in {parameter.name for parameter in model.get_parameters()}

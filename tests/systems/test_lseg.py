"""LSeg's arguments and inputs: what it takes, and the sentence for what it does not."""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
import pytest

from ms_seg.presets import find_preset
from ms_seg.systems.lseg import LSeg

VIT = {"channels": 32, "depth": 4, "heads": 2, "patch": 16, "grid": 3, "map_channels": (8, 8, 8, 8)}
SMALL = {"features": 8, "embed_dim": 16, "head_block": "none", "block_depth": 1, "activation": "lrelu"}
SMALL |= {"text_width": 16, "text_layers": 1, "text_heads": 2, "vocabulary": 300}


def ones(height: int, width: int) -> ms.Tensor:
    return ms.Tensor(np.ones((1, 3, height, width), np.float32))


@pytest.fixture(scope="module")
def small() -> LSeg:
    return LSeg(**SMALL, **VIT).set_train(False)


def test_logits_have_the_images_size_and_a_map_for_each_text(small: LSeg):
    tokens = np.zeros((4, 77), np.int32)
    tokens[:, :3] = (298, 5, 299)
    assert small(ones(64, 96), ms.Tensor(tokens)).shape == (1, 4, 64, 96)
    assert small.pixels(ones(32, 64)).shape == (1, 16, 16, 32)


@pytest.mark.parametrize("size", [(33, 64), (64, 48), (1, 1)])
def test_sides_that_are_no_multiples_of_32_are_refused_in_a_sentence(small: LSeg, size: tuple[int, int]):
    with pytest.raises(ValueError, match=f"the images are {size[0]}x{size[1]}: LSeg needs sides that are multiples"):
        small.pixels(ones(*size))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"head_block": "conv"}, "head_block must be one of none, bottleneck, depthwise: it is 'conv'"),
        ({"activation": "gelu"}, "activation must be one of lrelu, tanh, relu: it is 'gelu'"),
        ({"head_block": "bottleneck", "block_depth": 0}, "block_depth must be at least 1: it is 0"),
        ({"depth": 6}, "depth must be a multiple of 4: maps are read after each quarter of 6 blocks"),
        ({"patch": 8}, "patch must be one of 16, 32: it is 8"),
        ({"patch": None}, "LSeg takes the arguments of one backbone: channels, .*, map_channels; or"),
        ({"resnet_depths": (1, 1, 1, 1)}, "one backbone: .*; or resnet_depths; or"),
        ({"channels": None, "mit_depths": (1, 1, 1, 1)}, "; or mit_channels, mit_depths, mit_heads$"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_arguments_that_make_no_model_are_refused(changes: dict[str, Any], problem: str):
    with pytest.raises(ValueError, match=problem):
        LSeg(**{**SMALL, **VIT, **changes})


def test_a_preset_takes_a_spatial_block():
    preset = find_preset("lseg_vitl16_ade20k").override(head_block="bottleneck", block_depth=2, activation="tanh")
    model = preset.override(**{**SMALL, **VIT, "head_block": "bottleneck"}).build()
    assert "word_pixel.block.conv.weight" in {parameter.name for parameter in model.get_parameters()}
    with pytest.raises(ValueError, match="has no field 'resnet_depths'"):
        preset.override(resnet_depths=(1, 1, 1, 1))

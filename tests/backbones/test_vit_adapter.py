"""ViT-Adapter as a backbone: four maps, and what it refuses."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest

from ms_seg.backbones import build_backbone
from ms_seg.inference.execution import Runner

SIZES = {"channels": 16, "depth": 4, "heads": 2, "grid": 4, "deform_heads": 2, "prior_width": 4}


def test_it_gives_four_maps_of_equal_width():
    backbone = build_backbone("vit_adapter", SIZES)
    maps = Runner(backbone)(np.zeros((2, 3, 64, 64), np.float32))
    assert [m.shape for m in maps] == [(2, 16, 64 // stride, 64 // stride) for stride in (4, 8, 16, 32)]
    assert backbone.out_channels == (16,) * 4


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"depth": 6}, "depth must be a multiple of 4, the parts they are run in: 6 is not"),
        ({"grid": 5}, "grid must be even, for a map of half as many pixels on a side: it is 5"),
        ({"deform_heads": 3}, "channels must be a multiple of heads: 8 is not a multiple of 3"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_sizes_that_it_cannot_have_are_refused(change: dict[str, int], problem: str):
    with pytest.raises(ValueError, match=problem):
        build_backbone("vit_adapter", {**SIZES, **change})


@pytest.mark.parametrize("mode", ["graph", "pynative"])
@pytest.mark.parametrize("shape", [(1, 3, 64, 96), (1, 3, 32, 32)], ids=str)
def test_images_of_another_size_are_refused(mode: str, shape: tuple[int, ...]):
    with pytest.raises(ValueError, match="images must be of 64x64 pixels, for which the tables of positions are"):
        Runner(build_backbone("vit_adapter", SIZES), mode)(np.zeros(shape, np.float32))


def test_the_paths_of_later_blocks_are_dropped_more_often():
    backbone = build_backbone("vit_adapter", {**SIZES, "drop_path_rate": 0.3})
    assert [block.drop_path1.rate for block in backbone.beit.blocks] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert {extractor.drop_path.rate for extractor in backbone.extractors} == {0.3}


def test_before_training_the_transformer_hears_little_of_the_adapter():
    """Layer scale is 1e-6 then, and the tables of positions zero (section 3.3; BEiT, section 2)."""
    backbone = build_backbone("vit_adapter", SIZES)
    parameters = {name: parameter.asnumpy() for name, parameter in backbone.parameters_and_names()}
    scales = [values for name, values in parameters.items() if name.endswith(("scale.gamma", "scale1.gamma"))]
    assert len(scales) == 4 + SIZES["depth"]
    for values in scales:
        np.testing.assert_array_equal(values, np.float32(1e-6))
    assert not parameters["beit.blocks.0.attn.relative_position_bias_table"].any()
    assert ms.float32 == backbone.injectors[0].scale.gamma.dtype

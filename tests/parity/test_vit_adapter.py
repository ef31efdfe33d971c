"""ViT-Adapter with Mask2Former against modelscope's copy of it beside it: a small network, in both arithmetics.

Its gradients are compared in test_mask2former.py."""

from __future__ import annotations

import pytest
from comparison import compare

SIZES = {"num_classes": 11, "queries": 9, "width": 64, "decoder_heads": 4, "pixel_layers": 2, "pixel_hidden": 48}
SIZES |= {"query_layers": 2, "query_hidden": 80}
SIZES |= {"channels": 48, "depth": 8, "heads": 3, "grid": 6, "deform_heads": 4, "prior_width": 8}
NAMES = ("vit_adapter_beit_l_cocostuff164k", "vit_adapter_beit_l_cocostuff164k_czczup")


@pytest.mark.parametrize("name", NAMES)
def test_every_stage_equals_modelscopes_in_one_graph(name: str):
    result = compare(name, (2, 3, 96, 96), seed=1, float64=True, **SIZES)
    assert result.first_diverging is None, {stage.name: stage.error for stage in result.stages}

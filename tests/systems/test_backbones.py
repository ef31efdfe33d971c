"""Any backbone under any system: it gives four maps and says their channels, and nothing else is asked of it."""

from __future__ import annotations

from collections import Counter

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

import ms_seg
from ms_seg.backbones import BACKBONES, build_backbone
from ms_seg.cells import native
from ms_seg.cells.device import recompute_blocks
from ms_seg.presets import find_preset

SMALL = {
    "mit": {"embed_dims": (8, 8, 16, 16), "depths": (1, 1, 1, 1), "heads": (1, 1, 2, 2)},
    "resnet": {"depths": (1, 1, 1, 1), "stem_channels": 8},
    "swin": {"channels": 8, "depths": (1, 1, 1, 1), "heads": (1, 1, 2, 2), "window": 3},
    "vit": {"channels": 16, "depth": 4, "heads": 2, "patch": 16, "grid": 2, "map_channels": (8, 8, 16, 16)},
    "vit_adapter": {"channels": 16, "depth": 4, "heads": 2, "grid": 4, "deform_heads": 2, "prior_width": 4},
}
WIDTH = {"vit_adapter": 64}  # of the images, for a backbone of one size of them alone
TINY = ("segformer_tiny_shapes", "lseg_tiny_shapes", "mask2former_tiny_shapes")


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("name", TINY)
def test_every_backbone_works_under_every_system(name: str, backbone: str):
    model = ms_seg.create_model(name, backbone=(backbone, SMALL[backbone]))
    assert isinstance(model.backbone, BACKBONES[backbone]) and model.preset.backbone == (backbone, SMALL[backbone])
    width = WIDTH.get(backbone, 96)
    images = ms.Tensor(np.random.default_rng(0).standard_normal((1, 3, 64, width)).astype(np.float32))
    words = (ms.Tensor(np.ones((2, 77), np.int32)),) if name.startswith("lseg") else ()
    outputs = model(images, *words)
    last = (outputs if isinstance(outputs, tuple) else (outputs,))[-1]
    assert (
        last.shape[0] == 1 and last.shape[2:] in ((16, width // 4), (64, width)) and np.isfinite(last.asnumpy()).all()
    )


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_cell_with_a_gradient_of_its_own_is_called_once_for_a_shape(backbone: str):
    """MindSpore 2.8 mixes up the gradients of two such calls where PyNative differentiates a graph."""
    with native.disabled():
        model = ms_seg.create_model("mask2former_tiny_shapes", backbone=(backbone, SMALL[backbone])).set_train(True)
    calls = Counter[tuple]()

    def count(cell: nn.Cell, inputs: tuple) -> None:
        calls[(id(cell), *(x.shape if isinstance(x, ms.Tensor) else x for x in inputs))] += 1

    for _, cell in model.cells_and_names():
        if hasattr(cell, "bprop"):
            cell.register_forward_pre_hook(count)
    model(ms.Tensor(np.zeros((1, 3, 64, WIDTH.get(backbone, 96)), np.float32)), True)
    assert set(calls.values()) == {1}


@pytest.mark.parametrize("backbone", ["mit", "swin", "vit", "vit_adapter"])
def test_the_blocks_of_every_transformer_can_be_recomputed(backbone: str):
    cell = build_backbone(backbone, SMALL[backbone])
    recompute_blocks(cell)
    blocks = [block for _, block in cell.cells_and_names() if type(block).__name__.endswith("Block")]
    assert len(blocks) == 4
    assert all("output_no_recompute" in block.get_flags() for block in blocks)  # what Cell.recompute leaves behind


def test_a_published_model_takes_another_backbone():
    sizes = find_preset("mask2former_swin_t_coco_panoptic").backbone[1]
    model = ms_seg.create_model(
        "mask2former_r50_coco_panoptic", backbone=("swin", {**sizes, "depths": [1, 1, 1, 1]}), query_layers=1
    )
    assert model.backbone.out_channels == (96, 192, 384, 768)
    assert model.preset.backbone[1]["depths"] == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("backbone", "problem"),
    [
        (("vgg", {}), "backbone must be one of mit, resnet, swin, vit, vit_adapter: 'vgg' is not"),
        (("resnet", {"depths": (1, 1, 1, 1), "heads": 3}), "backbone resnet has no size 'heads'"),
        (("mit", {"depths": (1, 1, 1, 1)}), "backbone mit has no 'embed_dims' given"),
    ],
)
def test_a_backbone_that_there_is_not_is_refused_in_a_sentence(backbone: tuple[str, dict], problem: str):
    with pytest.raises(ValueError, match=problem):
        ms_seg.create_model("segformer_tiny_shapes", backbone=backbone)


def test_a_size_of_the_backbone_is_overridden_by_its_name():
    model = ms_seg.create_model("segformer_tiny_shapes", depths=(1, 1, 1, 1))
    assert [len(stage.blocks) for stage in model.backbone.stages] == [1, 1, 1, 1]

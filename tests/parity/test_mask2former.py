"""Mask2Former against mmdetection and transformers, running beside it: small networks, every layer, and gradients."""

from __future__ import annotations

from pathlib import Path

import drawn
import mask2former_reference
import mindspore as ms
import numpy as np
import pytest
import references
import torch
from comparison import AllLayers, compare
from errors import check_gradients, relative_error
from mindspore import nn

import ms_seg
from convert.reading.entry import ArrayEntry
from convert.recognition import recognise
from ms_seg.cells.position import SinePosition
from ms_seg.presets import find_preset

DECODERS = {"num_classes": 11, "queries": 9, "width": 64, "decoder_heads": 4, "pixel_layers": 2, "pixel_hidden": 48}
DECODERS |= {"query_layers": 2, "query_hidden": 80}
SWIN = {**DECODERS, "channels": 16, "depths": (1, 1, 1, 1), "heads": (1, 2, 2, 4), "window": 2, "drop_path_rate": 0.0}
RESNET = {**DECODERS, "decoder_heads": 2, "points": 3, "pixel_layers": 1}
RESNET |= {"depths": (1, 1, 1, 1)}
VIT_ADAPTER = {**DECODERS, "channels": 32, "depth": 4, "heads": 2, "grid": 4, "deform_heads": 4, "prior_width": 4}
SWIN_NAME, RESNET_NAME = "mask2former_swin_l_coco_panoptic", "mask2former_r50_coco_panoptic"


def test_every_stage_equals_mmdetections_in_one_graph():
    result = compare(SWIN_NAME, (2, 3, 67, 97), seed=1, **SWIN)
    assert result.first_diverging is None, {stage.name: stage.error for stage in result.stages}


@pytest.mark.parametrize(
    ("name", "sizes", "image", "seed"),
    [
        (SWIN_NAME, SWIN, (97, 130), 1),
        ("vit_adapter_beit_l_cocostuff164k", VIT_ADAPTER, (64, 64), 2),
        ("vit_adapter_beit_l_cocostuff164k_czczup", VIT_ADAPTER, (64, 64), 2),
    ],
)
def test_every_layer_and_every_gradient_equal_mmdetections(
    name: str, sizes: dict, image: tuple[int, int], seed: int, tmp_path: Path
):
    """Gradients in float64: a ReLU near zero lets some of PyTorch's float32 through that ours does not."""
    sizes = {**sizes, "query_layers": 9}
    reference = references.build_reference(find_preset(name).override(**sizes), seed)
    path = references.save_checkpoint(reference, tmp_path / "model.pth")
    images = drawn.images((2, 3, *image), 3)
    theirs = references.outputs(reference, {}, images)
    pairs = mask2former_reference.all_layers(reference.double(), torch.from_numpy(images).double())
    exact = mask2former_reference.named(pairs)
    generator = np.random.default_rng(7)
    weights = [generator.standard_normal(x.shape).astype(np.float32) / x.size**0.5 for x in exact.values()]
    logits = [logits for pair in pairs for logits in pair]
    parts = [(x * torch.from_numpy(weight)).sum() for x, weight in zip(logits, weights, strict=True)]
    total = sum(parts)
    total.backward()
    gradients = in_our_names({name: parameter.grad for name, parameter in reference.named_parameters()})

    cell = Weighted(ms_seg.create_model(name, path, **sizes), weights)
    parameters = cell.trainable_params()
    (our_total, our_pairs), our_gradients = ms.value_and_grad(cell, None, parameters, has_aux=True)(ms.Tensor(images))
    ours = mask2former_reference.named(our_pairs)
    assert len(ours) == 20
    for output, values in ours.items():
        assert relative_error(values, theirs[output]) <= 1e-5, output
    assert error_of(ours, exact) <= 2 * error_of(theirs, exact)
    assert float(our_total) == pytest.approx(total.item(), abs=1e-5 * sum(abs(part.item()) for part in parts))
    check_gradients(parameters, our_gradients, gradients)


class Weighted(nn.Cell):
    """A number that every logit of every layer moves, each by a weight of its own; and the logits."""

    def __init__(self, model: nn.Cell, weights: list[np.ndarray]):
        super().__init__(auto_prefix=False)
        self.predict, self.weights = AllLayers(model), [ms.Tensor(array) for array in weights]

    def construct(self, images: ms.Tensor) -> tuple[ms.Tensor, list[tuple[ms.Tensor, ms.Tensor]]]:
        total, pairs = 0.0, self.predict(images)
        for layer, (classes, masks) in enumerate(pairs):
            total = total + (classes * self.weights[2 * layer]).sum() + (masks * self.weights[2 * layer + 1]).sum()
        return total, pairs


def in_our_names(tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    entries = {name: ArrayEntry(tensor.detach().numpy().copy()) for name, tensor in tensors.items()}
    return {name: entry.numpy() for name, entry in recognise(entries).plan(None).apply(entries).items()}


def error_of(outputs: dict[str, np.ndarray], exact: dict[str, np.ndarray]) -> float:
    return float(np.mean([relative_error(outputs[name], exact[name]) for name in exact]))


def test_every_layer_equals_transformers(tmp_path: Path):
    preset = find_preset(SWIN_NAME).override(**SWIN)
    reference = references.draw_weights(mask2former_reference.build_transformers(preset), seed=1)
    path = references.save_checkpoint(reference, tmp_path / "model.pth")
    model = ms_seg.create_model(preset.name, path, **SWIN)
    images = drawn.images((2, 3, 97, 130), 3)
    with torch.no_grad():
        theirs = mask2former_reference.named(mask2former_reference.all_layers(reference, torch.from_numpy(images)))
    ours = mask2former_reference.named(model(ms.Tensor(images), return_all_layers=True))
    assert len(theirs) == len(ours) == 2 * (SWIN["query_layers"] + 1)
    for name, logits in ours.items():
        assert relative_error(logits, theirs[name]) <= 1e-5, name


def test_one_graph_for_all_sizes_gives_the_last_layers_logits(tmp_path: Path):
    reference = references.build_reference(find_preset(RESNET_NAME).override(**RESNET), seed=2)
    path = references.save_checkpoint(reference, tmp_path / "model.pth")
    model = ms_seg.create_model(RESNET_NAME, path, **RESNET)
    model.set_inputs(ms.Tensor(shape=(1, 3, None, None), dtype=ms.float32))
    run = ms.jit(model)
    for size in ((64, 64), (33, 95), (70, 101)):
        images = drawn.images((1, 3, *size), 4)
        *_, classes, masks = references.outputs(reference, {}, images).values()
        for ours, theirs in zip(run(ms.Tensor(images)), (classes, masks), strict=True):
            assert relative_error(ours.asnumpy(), theirs) <= 1e-5


@pytest.mark.parametrize("size", [(1, 1), (7, 13), (30, 4)], ids=str)
def test_sine_positions_equal_mmdetections(size: tuple[int, int]):
    references.import_mmdet()
    from mmdet.models.utils.positional_encoding import SinePositionalEncoding

    theirs = SinePositionalEncoding(num_feats=20, normalize=True)(torch.zeros((1, *size), dtype=torch.bool))
    ours = SinePosition(40)(size).asnumpy()[0]
    np.testing.assert_allclose(ours, theirs[0].flatten(1).T.numpy(), atol=1e-6)

"""LSeg's multi-scale, mirrored, windowed test beside PyTorch-Encoding's own, which lang-seg took over."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
import wheels

from ms_seg.inference.multi_eval import MultiEval

CLASSES, BASE, CROP = 5, 52, 48


@pytest.fixture(scope="module")
def original():
    """encoding/models/sseg/base.py, without what it imports for other purposes."""
    folder = wheels.unpacked("torch-encoding", "1.2.1") / "encoding"
    wheels.package("encoding", folder)
    wheels.package("encoding.models", folder / "models")
    wheels.package("encoding.models.sseg", folder / "models" / "sseg")
    wheels.leave_out("encoding.models.backbone", "encoding.utils")
    return importlib.import_module("encoding.models.sseg.base")


class Network(torch.nn.Module):
    """Logits that depend on where a pixel lies in its window, and on all that is around it."""

    base_size, crop_size = BASE, CROP
    mean, std = [0.5, 0.4, 0.3], [0.5, 0.25, 0.2]
    _up_kwargs = {"mode": "bilinear", "align_corners": True}

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.randn(CLASSES, 3, 9, 9, generator=generator)
        self.place = torch.randn(CLASSES, CROP, CROP, generator=generator)

    def evaluate(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(images, self.weight, padding=4) + self.place

    evaluate_random = evaluate


# Smaller than a window, wide, upright, square, one pixel high, larger than the largest scale.
@pytest.mark.parametrize("size", [(30, 41), (48, 131), (120, 50), (64, 64), (1, 40), (150, 110)])
def test_the_sum_over_scales_windows_and_mirror_images_is_the_originals(original, monkeypatch, size):
    monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor, *_: tensor)
    # PyTorch-Encoding adds up exponentials of the logits. lang-seg's copy differs from it in this one call.
    monkeypatch.setattr(torch.Tensor, "exp", lambda tensor: tensor)
    network = Network()
    image = np.random.default_rng(1).standard_normal((3, *size)).astype(np.float32)
    with torch.no_grad():
        theirs = original.MultiEvalModule(network, CLASSES, device_ids=[])(torch.from_numpy(image)[None])[0].numpy()

    def run(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return network.evaluate(torch.from_numpy(np.ascontiguousarray(images)))[0].numpy()

    beyond = tuple(-np.array(network.mean) / np.array(network.std))
    ours = MultiEval(BASE, CROP, beyond=beyond)(image, run)
    assert ours.shape == theirs.shape
    assert np.linalg.norm(ours - theirs) / np.linalg.norm(theirs) < 2e-6
    assert np.mean(ours.argmax(0) == theirs.argmax(0)) > 0.9999

"""The zero-shot test's arithmetic against PyTorch's operators, put together as HSNet's and lang-seg's test does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from ms_seg.data.preprocessing import network_input
from ms_seg.evaluation.few_shot import FewShotIoU, nearest
from ms_seg.presets import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

SIDE = 480
NORMALISATIONS = {
    "halves": ((127.5,) * 3, (127.5,) * 3, [0.5] * 3, [0.5] * 3),
    "ImageNet": (IMAGENET_MEAN, IMAGENET_STD, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
}


@pytest.mark.parametrize("target", [SIDE, 224, 37, 640])
def test_masks_are_resized_as_interpolate_does(target):
    for source in [*range(1, 701, 3), SIDE, 1023]:
        row = torch.arange(source, dtype=torch.float32)[None, None, None]
        theirs = F.interpolate(row, (1, target), mode="nearest")[0, 0, 0].numpy()
        assert np.array_equal(nearest(np.arange(source)[None], (1, target))[0], theirs)


@pytest.mark.parametrize("size", [(375, 500), (500, 333), (SIDE, SIDE), (224, 224)])
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_pictures_are_squashed_and_normalised_as_torchvision_does(size, normalisation):
    ours_mean, ours_std, mean, std = NORMALISATIONS[normalisation]
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    squashed = np.array(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    scaled = torch.from_numpy(squashed).permute(2, 0, 1).to(torch.float32) / 255
    theirs = (scaled - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    images, _ = network_input(picture, Preprocessing("squash", SIDE, mean=ours_mean, std=ours_std))
    assert np.abs(images[0] - theirs.numpy()).max() < 1e-6


@pytest.mark.parametrize("ignoring", [True, False])
def test_figures_are_those_of_the_histograms(ignoring):
    """For each picture, histograms of prediction, truth and where they agree, in two bins that leave 255 out; summed in
    float32 for each class."""
    rng = np.random.default_rng(0)
    figures, intersection, union = FewShotIoU(5), torch.zeros(2, 5), torch.zeros(2, 5)
    for number in range(12):
        label = number % 4  # the last class is never met
        truth = rng.choice([0, 1, 255], (60, 80), p=[0.6, 0.3, 0.1] if ignoring else [0.7, 0.3, 0]).astype(np.uint8)
        found = rng.random(truth.shape) < 0.35
        figures.update(found, truth, label)
        gt, prediction = torch.from_numpy(truth).float(), torch.from_numpy(found).float()
        prediction[gt == 255] = 255
        agreed = prediction[prediction == gt]
        inter, ours, theirs = (torch.histc(values, bins=2, min=0, max=1) for values in (agreed, prediction, gt))
        intersection[:, label] += inter
        union[:, label] += ours + theirs - inter
    miou = (intersection / union.clamp(min=1))[1].mean()
    fb_iou = (intersection.sum(dim=1) / union.sum(dim=1)).mean()
    assert figures.miou == pytest.approx(miou.item(), rel=1e-6)
    assert figures.fb_iou == pytest.approx(fb_iou.item(), rel=1e-6)

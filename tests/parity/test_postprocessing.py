"""Label maps, scores, run lengths and mIoU against PyTorch, pycocotools and mmsegmentation."""

from __future__ import annotations

import numpy as np
import pytest
import references
import torch
import torch.nn.functional as F
from pycocotools import mask as coco

from ms_seg.data.coco.codecs import decode_mask, encode_mask
from ms_seg.data.preprocessing import Geometry
from ms_seg.evaluation.semantic.confusion import ConfusionMatrix
from ms_seg.postprocessing.logits import Logits, label_pixels

GEOMETRIES = [
    Geometry((512, 683), (512, 683), (512, 683)),
    Geometry((333, 500), (512, 769), (512, 769)),
    Geometry((700, 900), (512, 658), (512, 658)),
    Geometry((101, 67), (772, 512), (800, 512)),
    Geometry((3, 5000), (1, 2048), (32, 2048)),
    Geometry((1, 1), (512, 512), (512, 512)),
]


def torch_probabilities(logits: np.ndarray, geometry: Geometry, via_input: bool) -> torch.Tensor:
    """As mmsegmentation's EncoderDecoder.whole_inference and inference, or as transformers' post-processing."""
    scores = torch.from_numpy(logits)[None]
    if via_input:
        scores = F.interpolate(scores, size=geometry.padded, mode="bilinear", align_corners=False)
        scores = scores[:, :, : geometry.resized[0], : geometry.resized[1]]
    return F.interpolate(scores, size=geometry.picture, mode="bilinear", align_corners=False).softmax(1)[0]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda geometry: "x".join(map(str, geometry.picture)))
@pytest.mark.parametrize("via_input", [True, False])
def test_labels_and_scores_equal_pytorchs(geometry, via_input):
    via_input = via_input or geometry.padded != geometry.resized
    size = [-(-side // 4) for side in geometry.padded]
    logits = np.random.default_rng(7).standard_normal((60, *size), dtype=np.float32) * 4
    labels, scores = label_pixels(Logits(logits, geometry, via_input))
    theirs, their_labels = (t.numpy() for t in torch_probabilities(logits, geometry, via_input).max(0))
    assert np.mean(labels != their_labels) <= 1e-5
    present = np.unique(their_labels)
    expected = [theirs[their_labels == index].astype(np.float64).mean() for index in present]
    assert scores[present] == pytest.approx(expected, abs=1e-3)


def test_run_lengths_equal_pycocotools():
    rng = np.random.default_rng(3)
    for number in range(200):
        height, width = rng.integers(1, 60, 2)
        mask = rng.random((height, width)) < rng.random()
        if number % 2:
            mask = mask.repeat(rng.integers(1, 40), axis=0).repeat(rng.integers(1, 40), axis=1)
        ours, theirs = encode_mask(mask), coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert (ours["size"], ours["counts"]) == (theirs["size"], theirs["counts"].decode())
        assert np.array_equal(decode_mask(ours), mask)


@pytest.mark.parametrize("outputs", [20, 21], ids=["as many outputs as classes", "an output more"])
def test_miou_equals_mmsegmentation(outputs):
    references.import_mmseg()
    from mmseg.core.evaluation.metrics import eval_metrics

    rng = np.random.default_rng(5)
    truths = [np.where(rng.random((50, 40)) < 0.1, 255, rng.integers(0, 18, (50, 40))) for _ in range(3)]
    predictions = [
        np.where(rng.random((50, 40)) < 0.5, truth % 255, rng.integers(0, outputs, (50, 40))) for truth in truths
    ]
    matrix = ConfusionMatrix(20)
    for prediction, truth in zip(predictions, truths, strict=True):
        matrix.update(prediction, truth)
    theirs = eval_metrics(predictions, truths, num_classes=20, ignore_index=255)["IoU"]
    assert np.array_equal(matrix.per_class_iou.astype(np.float32), np.asarray(theirs, np.float32), equal_nan=True)

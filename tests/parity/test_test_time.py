"""Sliding windows and multi-scale flip testing against mmsegmentation's EncoderDecoder and pipelines, run live."""

from __future__ import annotations

from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest
import references
import torch
from mindspore import nn

from ms_seg import Segmenter
from ms_seg.data.preprocessing import Geometry
from ms_seg.inference.outputs import Input
from ms_seg.inference.views import SCALES
from ms_seg.presets import Preprocessing
from ms_seg.presets.preset import Window
from ms_seg.systems import Model
from tests.toy_model import PRESET

SHORT, LONG, CLASSES = 64, 256, 7
WINDOW = Window(48, 32)
RULE = Preprocessing("keep_ratio", short_side=SHORT, long_side=LONG)


@pytest.fixture(scope="module")
def weight() -> np.ndarray:
    """Of one convolution with a stride of 4: a network whose answer depends on where its input begins."""
    return np.random.default_rng(0).standard_normal((CLASSES, 3, 7, 7)).astype(np.float32)


def ours(weight: np.ndarray, **options) -> Segmenter:
    class Network(Model):
        def __init__(self):
            super().__init__()
            self.preset = replace(PRESET, preprocessing=RULE)
            self.conv = nn.Conv2d(3, CLASSES, 7, 4, "pad", 3, weight_init=ms.Tensor(weight))

        def construct(self, images):
            return self.conv(images)

    return Segmenter(Network(), "pynative", **options)


def theirs(weight: np.ndarray, slide: bool):
    """mmsegmentation's own EncoderDecoder, with the convolution in place of backbone and head."""
    references.import_mmseg()
    import mmcv
    from mmseg.models.segmentors.encoder_decoder import EncoderDecoder
    from mmseg.ops import resize

    class Network(EncoderDecoder):
        def __init__(self):
            torch.nn.Module.__init__(self)
            mode = dict(mode="slide", crop_size=(WINDOW.crop,) * 2, stride=(WINDOW.stride,) * 2)
            self.test_cfg = mmcv.Config(mode if slide else dict(mode="whole"))
            self.align_corners, self.out_channels = False, CLASSES

        def encode_decode(self, img, img_metas):
            logits = torch.nn.functional.conv2d(img, torch.from_numpy(weight), stride=4, padding=3)
            return resize(logits, size=img.shape[2:], mode="bilinear", align_corners=False)

    return Network().eval()


def label_map_of_theirs(network, picture: np.ndarray, augment: bool) -> np.ndarray:
    """Through their MultiScaleFlipAug pipeline and their simple_test or aug_test."""
    from mmseg.datasets.pipelines import Compose

    steps = [
        dict(type="Resize", keep_ratio=True),
        dict(type="RandomFlip"),
        dict(type="Normalize", mean=RULE.mean, std=RULE.std, to_rgb=False),
        dict(type="ImageToTensor", keys=["img"]),
    ]
    scales = dict(img_scale=(LONG, SHORT), img_ratios=list(SCALES) if augment else [1.0], flip=augment)
    pipeline = Compose([dict(type="MultiScaleFlipAug", transforms=steps, **scales)])
    results = pipeline(dict(img=picture, img_shape=picture.shape, ori_shape=picture.shape, img_fields=["img"]))
    images = [image[None] for image in results["img"]]
    keys = ("img_shape", "ori_shape", "flip", "flip_direction")
    metas = [[{key: results[key][i] for key in keys}] for i in range(len(images))]
    with torch.no_grad():
        if augment:
            assert len(images) == 12
            return network.aug_test(images, metas)[0]
        return network.simple_test(images[0], metas[0])[0]


@pytest.mark.parametrize("size", [(61, 97), (90, 60), (130, 131)], ids=lambda size: "x".join(map(str, size)))
@pytest.mark.parametrize(("slide", "augment"), [(True, False), (False, True), (True, True)])
def test_label_maps_equal_mmsegmentations(weight, size, slide, augment):
    picture = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    answer = ours(weight, window=WINDOW if slide else None, augment=augment)(picture)
    expected = label_map_of_theirs(theirs(weight, slide), picture, augment)
    assert len(np.unique(expected)) > 3
    assert np.mean(answer.label_map != expected) <= 1e-4


def test_sliding_logits_equal_mmsegmentations(weight):
    images = np.random.default_rng(2).standard_normal((1, 3, 75, 130)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(weight, slide=True).slide_inference(torch.from_numpy(images), None, rescale=False)[0].numpy()
    seen = Input(np.zeros((75, 130, 3), np.uint8), images[0], Geometry((75, 130), (75, 130), (75, 130)))
    logits = ours(weight).network([seen], None, WINDOW)[0].logits().values
    assert np.linalg.norm(logits - expected) <= 1e-5 * np.linalg.norm(expected)

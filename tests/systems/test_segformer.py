"""SegFormer as a whole."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor

import ms_seg


def test_the_logits_of_a_picture_are_to_the_last_bit_the_same_alone_and_among_others():
    model = ms_seg.create_model("segformer_tiny_shapes").set_train(False)
    images = np.random.default_rng(0).standard_normal((3, 3, 320, 384)).astype(np.float32)
    together = model(Tensor(images)).asnumpy()
    for image, logits in zip(images, together, strict=True):
        np.testing.assert_array_equal(model(Tensor(image[None])).asnumpy()[0], logits)

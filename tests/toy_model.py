"""Networks whose answers are plain to see: a pixel is what its strongest colour channel says."""

from __future__ import annotations

from dataclasses import replace

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from ms_seg.label_sets import LabelSet
from ms_seg.presets import TASKS, Preprocessing, Preset, find_preset
from ms_seg.systems import Model
from ms_seg.text import Tokenizer

PRESET = replace(
    find_preset("segformer_tiny_shapes"),
    name="toy",
    label_set=None,
    preprocessing=Preprocessing("shrink", mean=(0.0, 0.0, 0.0), std=(10.0, 10.0, 10.0), logits_via_input=False),
)


class StrongestChannel(Model):
    """Images (N, 3, H, W) -> their means over 4x4 pixels, (N, 3, H / 4, W / 4), as logits of red, green and blue."""

    def __init__(self, preset: Preset = PRESET):
        super().__init__()
        self.preset = preset
        self.pool = nn.AvgPool2d(kernel_size=4, stride=4)

    def construct(self, images: Tensor) -> Tensor:
        return self.pool(images)


WORD_PRESET = replace(
    PRESET,
    name="toy_words",
    output="words",
    preprocessing=replace(PRESET.preprocessing, pad_multiple=4),
)


class ColourWords(Model):
    """In LSeg's parts, a network that knows words by their first letter: r, g and b; any other means all colours.

    Images (N, 3, H, W) and tokens (K, 77) -> logits (N, K, H, W), how much of its word's colour a pixel has.
    """

    def __init__(self, tokenizer: Tokenizer, preset: Preset = WORD_PRESET):
        super().__init__()
        self.preset = preset
        self.backbone = nn.AvgPool2d(kernel_size=2, stride=2)
        self.decoder = nn.Identity()
        self.text = _FirstLetter([int(tokenizer([letter])[0, 1]) for letter in ("rx", "gx", "bx")])
        self.word_pixel = _Product()

    def pixels(self, images: Tensor) -> Tensor:
        return self.decoder(self.backbone(images))


class _FirstLetter(nn.Cell):
    def __init__(self, ids: list[int]):
        super().__init__()
        self.ids = Tensor([ids])  # (1, 3)
        self.token_embedding = ops.zeros((514, 1))  # of bytes, bytes that end a word, and two marks

    def construct(self, tokens: Tensor) -> Tensor:
        own = (tokens[:, 1:2] == self.ids).astype(ms.float32)  # (K, 3)
        return own + 0.5 * (own.sum(1, keepdims=True) == 0).astype(ms.float32)


class _Product(nn.Cell):
    def construct(self, pixels: Tensor, words: Tensor) -> Tensor:
        n, depth, height, width = pixels.shape
        logits = ops.BatchMatMul()(ops.broadcast_to(words, (n, *words.shape)), pixels.reshape(n, depth, height * width))
        return ops.interpolate(
            logits.reshape(n, -1, height, width), size=(2 * height, 2 * width), mode="bilinear", align_corners=True
        )


QUERY_PRESET = replace(
    PRESET,
    name="toy_queries",
    output="queries",
    tasks=TASKS,
    arguments={"num_classes": 3},
    label_set=LabelSet(
        ("red", "green", "blue"), np.uint8([[250, 0, 0], [0, 250, 0], [0, 0, 250]]), (True, True, False)
    ),
    preprocessing=replace(PRESET.preprocessing, pad_multiple=4),
)


class ColourQueries(Model):
    """Three queries, for red, green and blue, each where its colour channel is above 100; images as StrongestChannel.

    Images (N, 3, H, W) -> class logits (N, 3, 4) and mask logits (N, 3, H / 4, W / 4).
    """

    def __init__(self, preset: Preset = QUERY_PRESET):
        super().__init__()
        self.preset = preset
        self.pool = nn.AvgPool2d(kernel_size=4, stride=4)
        self.classes = Tensor(np.pad(9 * np.eye(3, dtype=np.float32), ((0, 0), (0, 1)))[None])

    def construct(self, images: Tensor, return_all_layers: bool = False) -> tuple[Tensor, Tensor]:
        masks = self.pool(images) - 10
        return self.classes + 0 * masks.mean(), masks

"""A small network in LSeg's parts, and datasets of flags whose stripes have names: one of colours, one of warmth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from ms_seg.cells.conv import Conv2d
from ms_seg.cells.norm import BatchNorm2d
from ms_seg.decoders.word_pixel import WordPixel
from ms_seg.label_sets import LabelSet, numbered_labels
from ms_seg.systems import Model
from ms_seg.text.transformer import TextTransformer
from tests.toy_model import WORD_PRESET

PRESET = replace(
    WORD_PRESET, preprocessing=replace(WORD_PRESET.preprocessing, mean=(127.5,) * 3, std=(127.5,) * 3, pad_multiple=32)
)
COLOURS = {"red": (220, 40, 40), "green": (40, 220, 40), "blue": (40, 40, 220)}
WARMTH = {"warm": [COLOURS["red"]], "cold": [COLOURS["green"], COLOURS["blue"]]}
VOCABULARY = 514  # symbols of one without merges
WIDTH = 8


class SmallLSeg(Model):
    """Two convolutions where LSeg has its image network."""

    def __init__(self, seed: int = 0):
        super().__init__()
        ms.set_seed(seed)
        self.preset = PRESET
        self.backbone = Conv2d(3, WIDTH, 3, stride=2, padding=1)
        self.decoder = _Decoder()
        self.text = TextTransformer(WIDTH, 2, 1, WIDTH, VOCABULARY)
        self.word_pixel = WordPixel("depthwise", 1, "lrelu")

    def construct(self, images: Tensor, tokens: Tensor) -> Tensor:
        return self.word_pixel(self.pixels(images), self.text(tokens))

    def pixels(self, images: Tensor) -> Tensor:
        return self.decoder(self.backbone(images))


class _Decoder(nn.Cell):
    def __init__(self):
        super().__init__()
        self.norm, self.head = BatchNorm2d(WIDTH), Conv2d(WIDTH, WIDTH, 1)

    def construct(self, x: Tensor) -> Tensor:
        return self.head(ops.relu(self.norm(x)))


class Flags:
    """Pictures (32, 48) of stripes; a class is drawn in any of its colours."""

    def __init__(self, classes: dict[str, Sequence[tuple[int, int, int]]], count: int, seed: int = 0):
        self.classes, self.count, self.seed = list(classes.values()), count, seed
        self.label_set = LabelSet(tuple(classes), numbered_labels(len(classes)).palette)

    def __len__(self) -> int:
        return self.count

    def in_words(self) -> Flags:
        return self

    def name(self, index: int) -> str:
        return f"flag_{index}"

    def label_map(self, index: int) -> np.ndarray:
        stripes = self._random(index).integers(0, len(self.classes), 6)
        labels = np.repeat(stripes, 8)[None].repeat(32, axis=0).astype(np.uint8)
        labels[:3] = 255
        return labels

    def picture(self, index: int) -> np.ndarray:
        rng = self._random(index)
        stripes = rng.integers(0, len(self.classes), 6)
        colours = np.array([rng.choice(self.classes[stripe]) for stripe in stripes])
        return np.repeat(colours, 8, axis=0)[None].repeat(32, axis=0).astype(np.uint8)

    def _random(self, index: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, index))


def colours(count: int, seed: int = 0) -> Flags:
    return Flags({name: [colour] for name, colour in COLOURS.items()}, count, seed)


def warmth(count: int, seed: int = 0) -> Flags:
    return Flags(WARMTH, count, seed)


def letters(folder: Path) -> Path:
    """A vocabulary without merges: every letter is a token."""
    path = folder / "letters.txt"
    path.write_text("#version: letters\n")
    return path

"""The word-pixel correlation that ends LSeg: arXiv:2201.03546, section 3, equations 1 and 2."""

from __future__ import annotations

from mindspore import Tensor, nn, ops

from ms_seg.cells.activation import LeakyReLU, tanh
from ms_seg.cells.conv import Conv2d, fan_in_uniform
from ms_seg.cells.norm import SquaredNorm
from ms_seg.cells.precision import in_precision
from ms_seg.cells.resize import Resize

TEMPERATURE = 0.07
HEAD_BLOCKS = ("none", "bottleneck", "depthwise")
ACTIVATIONS = {"lrelu": LeakyReLU, "tanh": tanh, "relu": nn.ReLU}


class WordPixel(nn.Cell):
    """Features of pixels (N, D, h, w) and of K words (K, D), or (N, K, D) -> logits (N, K, 2h, 2w).

    The cosine similarity of the two, divided by the temperature. lang-seg multiplies by its reciprocal, as
    exp(log(1 / 0.07)), and ModelScope divides: the same to 1e-7. As in both, a feature of zeros gives NaN.

    head_block: spatial regularisation (section 3, "Spatial regularization"), "none" for no block at all. block_depth:
    how often the one block is applied, from 1. activation: "lrelu", "tanh" or "relu", after all applications but the
    last. Raises ValueError for other values.
    """

    def __init__(self, head_block: str, block_depth: int, activation: str):
        super().__init__()
        if head_block not in HEAD_BLOCKS:
            raise ValueError(f"head_block must be one of {', '.join(HEAD_BLOCKS)}: it is {head_block!r}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}: it is {activation!r}")
        if block_depth < 1:
            raise ValueError(f"block_depth must be at least 1: it is {block_depth}")
        self.block = None if head_block == "none" else SpatialBlock(head_block == "bottleneck")
        self.block_depth = block_depth
        self.activation = ACTIVATIONS[activation]()
        self.squared_norm = SquaredNorm()
        self.multiply = ops.BatchMatMul()
        self.resize = Resize(align_corners=True)

    def construct(self, pixels: Tensor, words: Tensor) -> Tensor:
        n, depth, height, width = pixels.shape
        lengths = ops.sqrt(self.squared_norm(pixels))  # in float32: squares of float16 may be infinite
        words = words / ops.sqrt((words * words).sum(-1, keepdims=True))
        words = ops.broadcast_to(words, (n, *words.shape[-2:]))
        products = in_precision(self.multiply, words, ops.reshape(pixels, (n, depth, height * width)))
        logits = ops.reshape(products, (n, words.shape[1], height, width)) / lengths / TEMPERATURE
        if self.block is not None:
            for _ in range(self.block_depth - 1):
                logits = self.activation(self.block(logits))
            logits = self.block(logits)
        return self.resize(logits, (2 * height, 2 * width))


class SpatialBlock(nn.Cell):
    """One 3x3 convolution shared by the maps of all words: (N, K, H, W) -> the same.

    add_max: add each pixel's maximum over the words, as lang-seg's "bottleneck" does and "depthwise" does not.
    """

    def __init__(self, add_max: bool):
        super().__init__()
        self.conv = Conv2d(1, 1, 3, padding=1, weight_init=fan_in_uniform())
        self.add_max = add_max

    def construct(self, x: Tensor) -> Tensor:
        n, k, height, width = x.shape
        y = ops.reshape(self.conv(ops.reshape(x, (n * k, 1, height, width))), x.shape)
        if not self.add_max:
            return y
        # The gradient of x.max would take an operator that only Ascend has.
        return y + ops.gather_elements(x, 1, ops.expand_dims(ops.argmax(x, 1), 1))

"""Which word is each pixel closest to? The end of LSeg: arXiv:2201.03546, section 3, equations 1 and 2."""

from __future__ import annotations

from functools import partial

from mindspore import Tensor, nn, ops

from ms_seg.cells.activation import tanh
from ms_seg.cells.conv import Conv2d, fan_in_uniform
from ms_seg.cells.precision import product
from ms_seg.cells.resize import Resize

TEMPERATURE = 0.07
HEAD_BLOCKS = ("none", "bottleneck", "depthwise")
ACTIVATIONS = {"lrelu": partial(nn.LeakyReLU, 0.01), "tanh": tanh, "relu": nn.ReLU}


class WordPixel(nn.Cell):
    """Features of pixels (N, D, h, w) and of K words (K, D), or (N, K, D) -> logits (N, K, 2h, 2w).

    The cosine of the angle between the two, divided by the temperature. lang-seg multiplies by its reciprocal, as
    exp(log(1 / 0.07)), and ModelScope divides: the same to 1e-7. Like both, this gives nan for a feature of zeros.

    head_block: spatial regularisation (section 3, "Spatial regularization"), "none" for no block at all. block_depth:
    how often the one block is applied, from 1. activation: "lrelu", "tanh" or "relu", after all times but the last.
    Raises ValueError for others.
    """

    def __init__(self, head_block: str, block_depth: int, activation: str):
        super().__init__()
        if head_block not in HEAD_BLOCKS:
            raise ValueError(f"head_block is {head_block!r}: it is one of {', '.join(HEAD_BLOCKS)}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is {activation!r}: it is one of {', '.join(ACTIVATIONS)}")
        if block_depth < 1:
            raise ValueError(f"block_depth is {block_depth}: the block is applied once at least")
        self.block = None if head_block == "none" else SpatialBlock(head_block == "bottleneck")
        self.block_depth = block_depth
        self.activation = ACTIVATIONS[activation]()
        self.multiply = ops.BatchMatMul()
        self.resize = Resize(align_corners=True)

    def construct(self, pixels: Tensor, words: Tensor) -> Tensor:
        n, depth, height, width = pixels.shape
        pixels = ops.reshape(pixels, (n, depth, height * width))
        words = words / ops.norm(words, dim=-1, keepdim=True)
        words = ops.broadcast_to(words, (n, *words.shape[-2:]))
        # Lengths are sums over the second axis, which are fast as matrix products. Squares of float16 may be infinite.
        squares = self.multiply(ops.ones((n, 1, depth), pixels.dtype), pixels * pixels)  # (N, 1, h w)
        cosines = product(self.multiply, words, pixels) / ops.sqrt(squares)
        logits = ops.reshape(cosines / TEMPERATURE, (n, words.shape[1], height, width))
        if self.block is not None:
            for _ in range(self.block_depth - 1):
                logits = self.activation(self.block(logits))
            logits = self.block(logits)
        return self.resize(logits, (2 * height, 2 * width))


class SpatialBlock(nn.Cell):
    """One 3x3 convolution that all label maps share: (N, K, H, W) -> the same.

    with_largest: add the largest of the labels' values at each pixel, as lang-seg's "bottleneck"; "depthwise" does not.
    """

    def __init__(self, with_largest: bool):
        super().__init__()
        self.conv = Conv2d(1, 1, 3, padding=1, weight_init=fan_in_uniform())
        self.with_largest = with_largest

    def construct(self, x: Tensor) -> Tensor:
        n, k, height, width = x.shape
        y = ops.reshape(self.conv(ops.reshape(x, (n * k, 1, height, width))), x.shape)
        return y + x.max(1, keepdims=True) if self.with_largest else y

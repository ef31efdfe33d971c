"""The all-MLP decoder of SegFormer: arXiv:2105.15203, section 3.2.

Written from the paper and from transformers' SegformerDecodeHead (Apache-2.0) alone; of mmsegmentation's and EasyCV's
heads nothing is used but key names and numbers, which tell that their files hold a batch norm after each level's
projection (level_norm), the order of the levels, and the classifier's initial deviation.
"""

from __future__ import annotations

from collections.abc import Sequence

from mindspore import Tensor, nn, ops
from mindspore.common.initializer import Normal

from ms_seg.cells import native
from ms_seg.cells.conv import Conv2d, ConvNormReLU
from ms_seg.cells.drop import Dropout2d
from ms_seg.cells.linear import NativeLinear, NativeLinearOfMap, NativeLinearToMap
from ms_seg.cells.norm import affine
from ms_seg.cells.precision import in_float32, in_precision
from ms_seg.cells.resize import NativeResizedSum, Resize

CONCAT_ORDERS = ("fine_to_coarse", "coarse_to_fine")


class AllMLPDecoder(nn.Cell):
    """Four feature maps of strides 4 to 32 -> logits (N, num_classes, H / 4, W / 4).

    level_norm: batch norm and ReLU after each level's projection (mmsegmentation, EasyCV), which is a mere linear layer
    otherwise (the original, transformers). concat_order: of the levels in the fusing weight, one of CONCAT_ORDERS;
    ValueError for others.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        width: int,
        num_classes: int,
        level_norm: bool,
        concat_order: str,
        dropout_rate: float,
    ):
        super().__init__()
        if concat_order not in CONCAT_ORDERS:
            raise ValueError(f"concat_order must be one of {', '.join(CONCAT_ORDERS)}: it is {concat_order!r}")
        levels = len(in_channels)
        self.level_norm = level_norm
        self.project = nn.CellList([ConvNormReLU(c, width) if level_norm else Conv2d(c, width, 1) for c in in_channels])
        self.fuse = ConvNormReLU(levels * width, width)
        self.dropout = Dropout2d(dropout_rate, width)
        self.classify = Conv2d(width, num_classes, 1, weight_init=Normal(0.01))
        self.resize = Resize()
        self.slots = tuple(range(levels)) if concat_order == "fine_to_coarse" else tuple(reversed(range(levels)))
        self.native = levels == 4 and native.available()
        if self.native:
            self.linear, self.to_map = NativeLinear(), NativeLinearToMap()
            self.of_map, self.resized_sum = NativeLinearOfMap(), NativeResizedSum()

    def construct(self, features: tuple[Tensor, ...]) -> Tensor:
        if self.native and not self.training and in_float32():
            return self._folded(features)
        # The paper resizes every level to the finest, concatenates and fuses. A 1x1 convolution commutes with bilinear
        # resizing, so each level is fused at its own size and the results are added: the same sum with a third of the
        # multiplications and no concatenated map.
        size = features[0].shape[2:]
        weights = ops.chunk(self.fuse.conv.weight, len(features), axis=1)
        fused = 0
        for level, feature in enumerate(features):
            projected = in_precision(ops.conv2d, self.project[level](feature), weights[self.slots[level]])
            fused = fused + self.resize(projected, size)
        fused = ops.relu(self.fuse.norm(fused))
        return self.classify(self.dropout(fused))

    def _folded(self, features: tuple[Tensor, ...]) -> Tensor:
        """What `construct` computes, on tokens. Two linear layers with nothing between them, a level's projection and
        its slice of the fusing convolution, are one; batch norm and ReLU are part of the sum."""
        weights = ops.chunk(self.fuse.conv.weight, len(features), axis=1)
        zeros = ops.zeros_like(self.fuse.norm.beta)
        fused: tuple[Tensor, ...] = ()
        for level, feature in enumerate(features):
            project, weight = self.project[level], _as_matrix(weights[self.slots[level]])
            if self.level_norm:
                scale, bias = affine(project.norm)
                projection = _as_matrix(project.conv.weight) * ops.reshape(scale, (-1, 1))
                x = ops.relu(self.of_map(feature, projection, bias))
                fused += (self.linear(x, weight, zeros),)
            else:
                bias = ops.reshape(ops.matmul(weight, ops.reshape(project.bias, (-1, 1))), (-1,))
                fused += (self.of_map(feature, ops.matmul(weight, _as_matrix(project.weight)), bias),)
        scale, bias = affine(self.fuse.norm)
        return self.to_map(self.resized_sum(fused, scale, bias), self.classify.weight, self.classify.bias)


def _as_matrix(weight: Tensor) -> Tensor:
    """The weight of a 1x1 convolution (O, C, 1, 1) as (O, C)."""
    return ops.reshape(weight, weight.shape[:2])

"""SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers (arXiv:2105.15203).

Written from the paper and the Apache-licensed ports in mmsegmentation and transformers.
"""

from __future__ import annotations

from collections.abc import Sequence

from mindspore import Tensor, nn

from ms_seg.backbones.mit import MixTransformer
from ms_seg.decoders.all_mlp import AllMLPDecoder


class SegFormer(nn.Cell):
    """Normalised images (N, 3, H, W) float32 -> logits (N, num_classes, ceil(H / 4), ceil(W / 4)); H and W from 29 up.

    The arguments are those of MixTransformer and AllMLPDecoder; `presets` holds their published values.
    """

    def __init__(
        self,
        embed_dims: Sequence[int],
        depths: Sequence[int],
        heads: Sequence[int],
        head_width: int,
        num_classes: int,
        level_norm: bool,
        concat_order: str,
        norm_eps: float,
        conv_norm_eps: float,
        drop_path_rate: float,
        dropout_rate: float,
    ):
        super().__init__()
        self.backbone = MixTransformer(embed_dims, depths, heads, drop_path_rate, norm_eps, conv_norm_eps)
        self.decoder = AllMLPDecoder(embed_dims, head_width, num_classes, level_norm, concat_order, dropout_rate)

    def construct(self, images: Tensor) -> Tensor:
        return self.decoder(self.backbone(images))

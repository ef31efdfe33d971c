"""SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers (arXiv:2105.15203).

Written from the paper and transformers' port, which is under the Apache licence.
"""

from __future__ import annotations

from mindspore import Tensor, nn

from ms_seg.decoders.all_mlp import AllMLPDecoder
from ms_seg.systems.model import Model


class SegFormer(Model):
    """Normalised images (N, 3, H, W) float32 -> logits (N, num_classes, ceil(H / 4), ceil(W / 4)); H and W from 29 up.

    backbone: any of `ms_seg.backbones`; the paper's is MixTransformer. The other arguments are AllMLPDecoder's;
    `presets` holds their published values.
    """

    def __init__(
        self,
        backbone: nn.Cell,
        num_classes: int,
        head_width: int,
        level_norm: bool,
        concat_order: str,
        dropout_rate: float,
    ):
        super().__init__()
        self.backbone = backbone
        self.decoder = AllMLPDecoder(
            backbone.out_channels, head_width, num_classes, level_norm, concat_order, dropout_rate
        )

    def construct(self, images: Tensor) -> Tensor:
        return self.decoder(self.backbone(images))

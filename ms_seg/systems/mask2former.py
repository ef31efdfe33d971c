"""Mask2Former: Masked-attention Mask Transformer for Universal Image Segmentation (arXiv:2112.01527)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from mindspore import Tensor, nn

from ms_seg.backbones.choice import choose_backbone
from ms_seg.backbones.mit import MixTransformer
from ms_seg.backbones.resnet import ResNet
from ms_seg.backbones.swin import SwinTransformer
from ms_seg.decoders.pixel_decoder import PixelDecoder
from ms_seg.decoders.query_decoder import Prediction, QueryDecoder


class Mask2Former(nn.Cell):
    """Normalised images (N, 3, H, W) float32 -> class logits (N, Q, num_classes + 1) of Q queries, the last class being
    no object, and their mask logits (N, Q, ceil(H / 4), ceil(W / 4)).

    With return_all_layers: a list of such pairs, from the prediction before the first layer of the query decoder to the
    last, which is the answer.

    queries, width, query_layers and query_hidden are QueryDecoder's; width, points, pixel_layers and pixel_hidden are
    PixelDecoder's; both have decoder_heads. The backbone is a SwinTransformer of the five arguments from `channels` to
    `drop_path_rate`, or a ResNet of `resnet_depths` whose batch norms never learn, or a MixTransformer of the three
    that begin with `mit`. `presets` holds their published values. Raises ValueError for arguments of no backbone or of
    several.
    """

    def __init__(
        self,
        num_classes: int,
        queries: int,
        width: int,
        decoder_heads: int,
        points: int,
        pixel_layers: int,
        pixel_hidden: int,
        query_layers: int,
        query_hidden: int,
        channels: int | None = None,
        depths: Sequence[int] | None = None,
        heads: Sequence[int] | None = None,
        window: int | None = None,
        drop_path_rate: float | None = None,
        resnet_depths: Sequence[int] | None = None,
        mit_channels: Sequence[int] | None = None,
        mit_depths: Sequence[int] | None = None,
        mit_heads: Sequence[int] | None = None,
    ):
        super().__init__()
        backbones = {
            SwinTransformer: {
                "channels": channels, "depths": depths, "heads": heads, "window": window,
                "drop_path_rate": drop_path_rate,
            },
            partial(ResNet, frozen_norms=True): {"resnet_depths": resnet_depths},
            MixTransformer: {"mit_channels": mit_channels, "mit_depths": mit_depths, "mit_heads": mit_heads},
        }  # fmt: skip
        self.backbone = choose_backbone("Mask2Former", backbones)
        map_channels = self.backbone.out_channels
        self.pixel_decoder = PixelDecoder(map_channels, width, decoder_heads, points, pixel_layers, pixel_hidden)
        self.query_decoder = QueryDecoder(num_classes, queries, width, decoder_heads, query_layers, query_hidden)

    def construct(self, images: Tensor, return_all_layers: bool = False) -> Prediction | list[Prediction]:
        mask_features, memories, sizes = self.pixel_decoder(self.backbone(images))
        return self.query_decoder(mask_features, memories, sizes, return_all_layers)

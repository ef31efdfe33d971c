"""Mask2Former: Masked-attention Mask Transformer for Universal Image Segmentation (arXiv:2112.01527)."""

from __future__ import annotations

from mindspore import Tensor, nn

from ms_seg.decoders.pixel_decoder import PixelDecoder
from ms_seg.decoders.query_decoder import Prediction, QueryDecoder
from ms_seg.systems.model import Model


class Mask2Former(Model):
    """Normalised images (N, 3, H, W) float32 -> class logits (N, Q, num_classes + 1) of Q queries, the last class being
    no object, and their mask logits (N, Q, ceil(H / 4), ceil(W / 4)).

    With return_all_layers: a list of such pairs, from the prediction before the first layer of the query decoder to the
    last, which is the answer.

    backbone: any of `ms_seg.backbones`; the paper's are SwinTransformer and ResNet. queries, width, query_layers and
    query_hidden are QueryDecoder's; width, points, pixel_layers and pixel_hidden are PixelDecoder's; both have
    decoder_heads. `presets` holds their published values.
    """

    def __init__(
        self,
        backbone: nn.Cell,
        num_classes: int,
        queries: int,
        width: int,
        decoder_heads: int,
        points: int,
        pixel_layers: int,
        pixel_hidden: int,
        query_layers: int,
        query_hidden: int,
    ):
        super().__init__()
        self.backbone = backbone
        self.pixel_decoder = PixelDecoder(
            backbone.out_channels, width, decoder_heads, points, pixel_layers, pixel_hidden
        )
        self.query_decoder = QueryDecoder(num_classes, queries, width, decoder_heads, query_layers, query_hidden)

    def construct(self, images: Tensor, return_all_layers: bool = False) -> Prediction | list[Prediction]:
        finest, memories, sizes = self.pixel_decoder(self.backbone(images))
        conv = self.pixel_decoder.mask_features
        return self.query_decoder(finest, (conv.weight, conv.bias), memories, sizes, return_all_layers)

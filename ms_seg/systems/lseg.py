"""LSeg: Language-driven Semantic Segmentation (arXiv:2201.03546)."""

from __future__ import annotations

from collections.abc import Sequence

from mindspore import Tensor, nn

from ms_seg.backbones.choice import choose_backbone
from ms_seg.backbones.mit import MixTransformer
from ms_seg.backbones.resnet import ResNet
from ms_seg.backbones.vit import ViTPyramid
from ms_seg.decoders.dpt import DPTDecoder
from ms_seg.decoders.word_pixel import WordPixel
from ms_seg.text.transformer import TextTransformer

COARSEST = 32  # the stride of the coarsest map


class LSeg(nn.Cell):
    """Normalised images (N, 3, H, W) float32, H and W multiples of 32, and tokens (K, 77) int32 -> logits (N, K, H, W).

    The backbone is a ViTPyramid of the six arguments from `channels` to `map_channels`, or a ResNet of
    `resnet_depths`, or a MixTransformer of the three that begin with `mit`. features and embed_dim are DPTDecoder's;
    head_block, block_depth and activation are WordPixel's; text_width, text_layers, text_heads and vocabulary are
    TextTransformer's. `presets` holds their published values. Raises ValueError for arguments of no backbone or of
    several, and for images of another size.
    """

    def __init__(
        self,
        features: int,
        embed_dim: int,
        head_block: str,
        block_depth: int,
        activation: str,
        text_width: int,
        text_layers: int,
        text_heads: int,
        vocabulary: int,
        channels: int | None = None,
        depth: int | None = None,
        heads: int | None = None,
        patch: int | None = None,
        grid: int | None = None,
        map_channels: Sequence[int] | None = None,
        resnet_depths: Sequence[int] | None = None,
        mit_channels: Sequence[int] | None = None,
        mit_depths: Sequence[int] | None = None,
        mit_heads: Sequence[int] | None = None,
    ):
        super().__init__()
        backbones = {
            ViTPyramid: {
                "channels": channels, "depth": depth, "heads": heads, "patch": patch, "grid": grid,
                "map_channels": map_channels,
            },
            ResNet: {"resnet_depths": resnet_depths},
            MixTransformer: {"mit_channels": mit_channels, "mit_depths": mit_depths, "mit_heads": mit_heads},
        }  # fmt: skip
        self.backbone = choose_backbone("LSeg", backbones)
        self.decoder = DPTDecoder(self.backbone.out_channels, features, embed_dim)
        self.text = TextTransformer(text_width, text_heads, text_layers, embed_dim, vocabulary)
        self.word_pixel = WordPixel(head_block, block_depth, activation)

    def construct(self, images: Tensor, tokens: Tensor) -> Tensor:
        return self.word_pixel(self.pixels(images), self.text(tokens))

    def pixels(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> features of their pixels (N, embed_dim, H / 2, W / 2), not normalised."""
        height, width = images.shape[2:]
        if height % COARSEST or width % COARSEST:
            raise ValueError(f"the images are {height}x{width}: LSeg needs sides that are multiples of {COARSEST}")
        return self.decoder(self.backbone(images))


class GivenWords(nn.Cell):
    """An LSeg whose words have been read: images (N, 3, H, W), words (K, D) or (N, K, D) -> logits (N, K, H, W).

    words: what `lseg.text(tokens)` gives; each image may have words of its own.
    """

    def __init__(self, lseg: LSeg):
        super().__init__(auto_prefix=False)
        self.lseg = lseg

    def construct(self, images: Tensor, words: Tensor) -> Tensor:
        return self.lseg.word_pixel(self.lseg.pixels(images), words)

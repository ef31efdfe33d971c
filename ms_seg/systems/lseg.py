"""LSeg: Language-driven Semantic Segmentation (arXiv:2201.03546)."""

from __future__ import annotations

from mindspore import Tensor, nn

from ms_seg.decoders.dpt import DPTDecoder
from ms_seg.decoders.word_pixel import WordPixel
from ms_seg.systems.model import Model
from ms_seg.text.transformer import TextTransformer

MAX_STRIDE = 32  # of the coarsest map


class LSeg(Model):
    """Normalised images (N, 3, H, W) float32, H and W multiples of 32, and tokens (K, 77) int32 -> logits (N, K, H, W).

    backbone: any of `ms_seg.backbones`; the paper's is ViTPyramid. features and embed_dim are DPTDecoder's; head_block,
    block_depth and activation are WordPixel's; text_width, text_layers, text_heads and vocabulary are
    TextTransformer's. `presets` holds their published values. Raises ValueError for images of another size.
    """

    def __init__(
        self,
        backbone: nn.Cell,
        features: int,
        embed_dim: int,
        text_width: int,
        text_layers: int,
        text_heads: int,
        vocabulary: int,
        head_block: str,
        block_depth: int,
        activation: str,
    ):
        super().__init__()
        self.backbone = backbone
        self.decoder = DPTDecoder(backbone.out_channels, features, embed_dim)
        self.text = TextTransformer(text_width, text_heads, text_layers, embed_dim, vocabulary)
        self.word_pixel = WordPixel(head_block, block_depth, activation)

    def construct(self, images: Tensor, tokens: Tensor) -> Tensor:
        return self.word_pixel(self.pixels(images), self.text(tokens))

    def pixels(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> features of their pixels (N, embed_dim, H / 2, W / 2), not normalised."""
        height, width = images.shape[2:]
        if height % MAX_STRIDE or width % MAX_STRIDE:
            raise ValueError(f"sides of images must be multiples of {MAX_STRIDE}: {height}x{width} are not")
        return self.decoder(self.backbone(images))


class Pixels(nn.Cell):
    """The part of an LSeg that looks at images: (N, 3, H, W) -> features (N, embed_dim, H / 2, W / 2)."""

    def __init__(self, lseg: LSeg):
        super().__init__(auto_prefix=False)
        self.lseg = lseg

    def construct(self, images: Tensor) -> Tensor:
        return self.lseg.pixels(images)


class GivenWords(nn.Cell):
    """An LSeg whose words have been read: images (N, 3, H, W), words (K, D) or (N, K, D) -> logits (N, K, H, W).

    words: what `lseg.text(tokens)` gives; each image may have words of its own.
    """

    def __init__(self, lseg: LSeg):
        super().__init__(auto_prefix=False)
        self.lseg = lseg

    def construct(self, images: Tensor, words: Tensor) -> Tensor:
        return self.lseg.word_pixel(self.lseg.pixels(images), words)


class FixedWords(nn.Cell):
    """An LSeg that tells the same words apart in every picture: images (N, 3, H, W) -> logits (N, K, H, W).

    words: (K, D), what `lseg.text(tokens)` gives.
    """

    def __init__(self, lseg: LSeg, words: Tensor):
        super().__init__(auto_prefix=False)
        self.lseg, self.words = lseg, words

    def construct(self, images: Tensor) -> Tensor:
        return self.lseg.word_pixel(self.lseg.pixels(images), self.words)

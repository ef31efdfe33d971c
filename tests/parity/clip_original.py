"""OpenAI's own CLIP, in the wheel that carries its files: its tokenizer, its vocabulary and its network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import wheels

if TYPE_CHECKING:
    import torch

PACKAGE = ("clip-anytorch", "2.6.0")


def vocabulary_file() -> Path:
    """CLIP's merges, which the project does not hold."""
    return wheels.unpacked(*PACKAGE) / "clip" / "bpe_simple_vocab_16e6.txt.gz"


def tokenizer(vocabulary: Path) -> Any:
    """The original's tokenizer: `encode(text)` gives tokens without marks. The file is packed with gzip."""
    return wheels.module(wheels.unpacked(*PACKAGE) / "clip" / "simple_tokenizer.py").SimpleTokenizer(str(vocabulary))


def network(width: int, heads: int, layers: int, embed_dim: int, vocabulary: int) -> torch.nn.Module:
    """The original's CLIP with a text tower of these sizes, read by `encode_text`, and a tiny image tower."""
    clip = wheels.module(wheels.unpacked(*PACKAGE) / "clip" / "model.py").CLIP
    image = {"image_resolution": 32, "vision_layers": 1, "vision_width": 64, "vision_patch_size": 16}
    text = {"context_length": 77, "vocab_size": vocabulary, "transformer_width": width, "transformer_heads": heads}
    return clip(embed_dim=embed_dim, **image, **text, transformer_layers=layers).eval()

"""Words to vectors: CLIP's tokenizer and its text transformer."""

from ms_seg.text.tokenizer import Tokenizer

__all__ = ["Tokenizer"]

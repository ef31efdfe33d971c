"""A picture in, an answer out: reading, preprocessing, the network, post-processing, drawing."""

from ms_seg.inference.answer import Answer
from ms_seg.inference.segmenter import Segmenter

__all__ = ["Answer", "Segmenter"]

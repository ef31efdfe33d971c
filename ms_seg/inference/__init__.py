"""A picture in, an answer out: the network of each kind behind one door, whole or by windows, in one view or many."""

from ms_seg.inference.segmenter import Segmenter

__all__ = ["Segmenter"]

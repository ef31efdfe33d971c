"""A backbone and a decoder put together, as the papers' first figures show them."""

from ms_seg.systems.lseg import LSeg
from ms_seg.systems.segformer import SegFormer

SYSTEMS = {"lseg": LSeg, "segformer": SegFormer}

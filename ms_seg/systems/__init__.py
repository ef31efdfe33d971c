"""A backbone and a decoder put together, as the papers' first figures show them."""

from ms_seg.systems.lseg import LSeg
from ms_seg.systems.mask2former import Mask2Former
from ms_seg.systems.segformer import SegFormer

SYSTEMS = {"lseg": LSeg, "mask2former": Mask2Former, "segformer": SegFormer}

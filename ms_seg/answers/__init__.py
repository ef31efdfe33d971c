"""What a person gets: label maps, masks, segments, drawings, files."""

from ms_seg.answers.segments import InstanceAnswer, PanopticAnswer
from ms_seg.answers.semantic import Answer

__all__ = ["Answer", "InstanceAnswer", "PanopticAnswer"]

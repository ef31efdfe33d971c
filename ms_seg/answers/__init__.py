"""What a person gets for a picture: label maps, masks, segments, drawings, files. Needs no MindSpore."""

from __future__ import annotations

from ms_seg.answers.base import BaseAnswer
from ms_seg.answers.segments import InstanceAnswer, PanopticAnswer, SegmentsAnswer
from ms_seg.answers.semantic import Answer

__all__ = ["Answer", "BaseAnswer", "InstanceAnswer", "PanopticAnswer", "SegmentsAnswer"]

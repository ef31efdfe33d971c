"""A backbone and a decoder put together, as the papers' first figures show them."""

from ms_seg.backbones import build_backbone
from ms_seg.presets import Preset
from ms_seg.systems.lseg import LSeg
from ms_seg.systems.mask2former import Mask2Former
from ms_seg.systems.model import Model
from ms_seg.systems.segformer import SegFormer

__all__ = ["SYSTEMS", "LSeg", "Mask2Former", "Model", "SegFormer", "build"]

SYSTEMS: dict[str, type[Model]] = {"lseg": LSeg, "mask2former": Mask2Former, "segformer": SegFormer}


def build(preset: Preset) -> Model:
    """The network of a preset, freshly initialised, in inference mode.

    Raises ValueError for a backbone that there is not, and for arguments that its parts cannot have.
    """
    model = SYSTEMS[preset.system](build_backbone(*preset.backbone), **preset.arguments)
    model.preset = preset
    return model.set_train(False)

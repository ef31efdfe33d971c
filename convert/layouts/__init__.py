"""Every published layout. A system or backbone is a file, in which one table has a line for each layer."""

from __future__ import annotations

from convert.layouts import backbones, clip, lseg, mask2former, segformer
from convert.layouts.row import Layout

LAYOUTS: tuple[Layout, ...] = (
    *segformer.LAYOUTS,
    *lseg.LAYOUTS,
    *mask2former.LAYOUTS,
    *backbones.LAYOUTS,
    *clip.LAYOUTS,
)

# system -> what the shapes of our tensors tell of its constructor's arguments, those of its backbone aside
ARGUMENTS_FROM_SHAPES = {
    "lseg": lseg.arguments_from_shapes,
    "mask2former": mask2former.arguments_from_shapes,
    "segformer": segformer.arguments_from_shapes,
}

"""One rename table for each published key layout."""

from __future__ import annotations

from convert.layouts import clip, lseg, mask2former, segformer, swin
from convert.layouts.row import Layout

LAYOUTS: tuple[Layout, ...] = (
    *segformer.LAYOUTS,
    *lseg.LAYOUTS,
    *clip.LAYOUTS,
    *mask2former.LAYOUTS,
    *swin.LAYOUTS,
)

# system -> what the shapes of our tensors say of its constructor arguments
ARGUMENTS_FROM_SHAPES = {
    "lseg": lseg.arguments_from_shapes,
    "mask2former": mask2former.arguments_from_shapes,
    "segformer": segformer.arguments_from_shapes,
}

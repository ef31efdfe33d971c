"""Every backbone: a system's files may hold any of them."""

from __future__ import annotations

from convert.layouts import mit, resnet, swin, vit, vit_adapter
from convert.layouts.row import Layout, Row

# name -> the constructor's arguments that the shapes of our tensors tell, None if they are another backbone's
BACKBONES_FROM_SHAPES = {
    "mit": mit.sizes_from_shapes,
    "swin": swin.sizes_from_shapes,
    "resnet": resnet.sizes_from_shapes,
    "vit": vit.sizes_from_shapes,
    "vit_adapter": vit_adapter.sizes_from_shapes,
}

# Our own names, which the native layout of every system has.
OWN_BACKBONES: tuple[Row, ...] = tuple(
    dict.fromkeys(row for table in (mit, swin, resnet, vit, vit_adapter) for row in table.TABLE.own)
)

# Files of a backbone alone.
LAYOUTS: tuple[Layout, ...] = (*mit.LAYOUTS, *swin.LAYOUTS, *resnet.LAYOUTS, *vit.LAYOUTS, *vit_adapter.LAYOUTS)

"""LSeg in lang-seg's layout, which is ModelScope's too. `vit` and `resnet` have its backbones, `clip` its words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convert.layouts import clip, resnet, vit
from convert.layouts.backbones import OWN_BACKBONES
from convert.layouts.names import count_cells
from convert.layouts.row import NATIVE, Layout
from convert.layouts.table import read_table

TABLE = read_table("""
    kind       ours                       lang-seg

    under lang-seg  net.scratch.

    dropped    -                          refinenet4.resConfUnit1.{name}
    because the coarsest level has no other to be added to, so that its first unit is never called
    weight     decoder.project.{i}        layer{i+1}_rn
    affine     decoder.fuse.{i}.out_conv  refinenet{i+1}.out_conv
    affine     decoder.head               head1
    affine     word_pixel.block.conv      head_block.depthwise.depthwise

    under ours      decoder.fuse.{i}.skip_unit.               decoder.fuse.{i}.unit.
    under lang-seg  net.scratch.refinenet{i+1}.resConfUnit1.  net.scratch.refinenet{i+1}.resConfUnit2.

    weight     conv1                      conv1
    batchnorm  norm1                      bn1
    weight     conv2                      conv2
    batchnorm  norm2                      bn2
""")

LAYOUTS = (
    # Going back, the parts that are dropped are missing from the file: lang-seg reads it with strict=False.
    Layout(
        name="lang-seg",
        system="lseg",
        title="lang-seg's and ModelScope's LSeg",
        rows=(
            *vit.TABLE.rows("lang-seg"),
            *resnet.TABLE.rows("lang-seg"),
            *TABLE.rows("lang-seg"),
            *clip.TABLE.rows("openai", under="net.clip_pretrained."),
        ),
    ),
    Layout(
        name=NATIVE,
        system="lseg",
        title="ms_seg's own LSeg",
        rows=(*OWN_BACKBONES, *TABLE.own, *clip.TABLE.own),
    ),
)


def arguments_from_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """LSeg's own arguments, or those of its text tower, as far as the shapes by our names tell them.

    Which spatial block an LSeg has they do not tell, only that it has none.
    """
    arguments: dict[str, Any] = {}
    if "text.proj" in shapes:
        arguments["text_width"], arguments["embed_dim"] = shapes["text.proj"][:2]
        arguments["text_layers"] = count_cells(shapes, "text.blocks.")
        arguments["vocabulary"] = shapes.get("text.token_embedding", (0,))[0]
    if "decoder.head.weight" in shapes:
        arguments["embed_dim"], arguments["features"] = shapes["decoder.head.weight"][:2]
        if "word_pixel.block.conv.weight" not in shapes:
            arguments["head_block"] = "none"
    return arguments

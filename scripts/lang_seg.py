"""What the command lines of lang-seg's scripts have in common."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

MODELS = {  # by --backbone
    "clip_vitl16_384": "lseg_vitl16_ade20k",
    "clip_vitb32_384": "lseg_vitb32_ade20k",
    "clipRN50x16_vitl16_384": "lseg_rn50x16_vitl16_ade20k",
}
HEAD_BLOCKS = ("none", "bottleneck", "depthwise")  # by --arch_option


def find_model(backbone: str) -> str:
    """The name of the model with that backbone. Raises ValueError if there is none."""
    if backbone not in MODELS:
        raise ValueError(f"no LSeg model has the backbone {backbone!r}: choose from {', '.join(MODELS)}")
    return MODELS[backbone]


def head_fields(options: argparse.Namespace) -> dict[str, Any]:
    """Fields of the model that --arch_option changes. The original applies its block once with --block_depth 0 too."""
    if not options.arch_option:
        return {}
    depth, block = max(options.block_depth, 1), HEAD_BLOCKS[options.arch_option]
    return {"head_block": block, "block_depth": depth, "activation": options.activation}


def add_head(parser: argparse.ArgumentParser, activations: Sequence[str]) -> None:
    """Give a script the options that `head_fields` reads."""
    add = parser.add_argument
    add("--arch_option", type=int, choices=(0, 1, 2), default=0, help=f"the head's block: {', '.join(HEAD_BLOCKS)}")
    add("--block_depth", type=int, default=0, metavar="N", help="how often that block is applied")
    add("--activation", choices=activations, default="lrelu", help="between those times")


def add_unused(parser: argparse.ArgumentParser, what: str, switches: Sequence[str], values: Sequence[str]) -> None:
    """Take arguments that the original takes, and do nothing with them. what: that does not depend on them."""
    unused = parser.add_argument_group(f"taken as the original takes them; {what} not depend on them")
    for name in switches:
        unused.add_argument(name, action="store_true")
    for name in values:
        unused.add_argument(name, metavar="X")

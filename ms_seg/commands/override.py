"""--override FIELD=VALUE: fields of a model that are to be otherwise than its preset has them; and what of a checkpoint
is the model."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ms_seg.presets.former_names import FORMER_FIELDS


def add_override(parser: argparse._ActionsContainer) -> None:
    """The option; its values are pairs of a field's name and what it is to be."""
    parser.add_argument(
        "--override", metavar="FIELD=VALUE", type=_override, action="append", default=[],
        help="a field of the model that is to be otherwise, such as block_depth=2",
    )  # fmt: skip


def add_choice(parser: argparse._ActionsContainer) -> None:
    """The options that say which tensors of a checkpoint are the model's."""
    parser.add_argument(
        "--weights", metavar="NAME", default="",
        help="of a checkpoint with several sets of weights, such as ema or teacher, the one that is meant",
    )  # fmt: skip
    parser.add_argument(
        "--drop", metavar="PATTERN", action="append", default=[],
        help="tensors of a checkpoint that are not the model's, such as 'auxiliary_head.*'",
    )  # fmt: skip


def _override(text: str) -> tuple[str, Any]:
    """The value in JSON, a list as a tuple, or else a word."""
    field, separator, value = text.partition("=")
    if not field or not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not FIELD=VALUE")
    field = FORMER_FIELDS.get(field, field)
    try:
        value = json.loads(value)
    except ValueError:
        return field, value
    return field, tuple(value) if isinstance(value, list) else value

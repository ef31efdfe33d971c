"""What a layout is made of: rows, each of which renames a tensor or applies an operation. Rows run both ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from convert.layouts.operations import Operation

NATIVE = "native"  # the layout of our own names for a whole model; its files may describe themselves in their metadata


@dataclass(frozen=True)
class Row:
    """theirs -> ours, patterns of names. Without `ours` the tensors are dropped, and `reason` says why.

    restored_beside: for a dropped int64 scalar that PyTorch insists on, the name of ours beside which it is written
    again, as zero, on the way back.
    """

    theirs: tuple[str, ...]
    ours: tuple[str, ...] = ()
    operation: Operation | None = None
    reason: str = ""
    restored_beside: str = ""


@dataclass(frozen=True)
class Layout:
    """One published way to name the tensors of a model or of a part of one.

    system: whose tensors these are; "" for a part that several systems share, such as a backbone.
    covers: the part of the model, as a prefix of our names, that such a file holds; "" is all of it.
    lacks: prefixes of our names within that part that the file does not hold: they are freshly initialised.
    prefixes: what may stand before every key.
    arithmetic: constructor arguments that come with these weights, where layouts of one shape differ in them.
    """

    name: str
    system: str
    title: str
    rows: tuple[Row, ...]
    covers: str = ""
    lacks: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ("", "module.")
    arithmetic: Mapping[str, float] = field(default_factory=dict)


def drop(pattern: str, reason: str) -> Row:
    return Row((pattern,), reason=reason)

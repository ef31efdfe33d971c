"""What a layout is made of: rows, each of which renames a tensor or applies an operation. Rows run both ways."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

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


@dataclass(frozen=True, eq=False)
class Layout:
    """One published way to name the tensors of a model or of a part of one.

    system: whose tensors these are; "" for a part that several systems share, such as a backbone.
    covers: the part of the model, as a prefix of our names, that such a file holds; "" is all of it.
    lacks: prefixes of our names within that part that the file does not hold: they are freshly initialised.
    threshold: of a model with one output, the probability above which its training takes a pixel for the object.
    arithmetic: constructor arguments that come with these weights, where layouts of one shape differ in them.
    found_at: where files of this layout are published, as the beginnings of "hub/name"; empty where that says nothing.
    """

    name: str
    system: str
    title: str
    rows: tuple[Row, ...]
    covers: str = ""
    lacks: tuple[str, ...] = ()
    threshold: float = 0.5
    arithmetic: Mapping[str, float] = field(default_factory=dict)
    found_at: tuple[str, ...] = ()


def drop(pattern: str, reason: str) -> Row:
    return Row((pattern,), reason=reason)


def under(prefix: str, rows: Iterable[Row]) -> tuple[Row, ...]:
    """The rows with this before all of their names."""
    return tuple(replace(row, theirs=tuple(prefix + name for name in row.theirs)) for row in rows)


def renamed(rows: Iterable[Row], changes: Mapping[str, str]) -> tuple[Row, ...]:
    """Rows of a later release that calls the same tensors otherwise: expressions and what takes the place of what they
    match in each name, one after the other."""

    def rename(name: str) -> str:
        for old, new in changes.items():
            name = re.sub(old, new, name)
        return name

    return tuple(replace(row, theirs=tuple(map(rename, row.theirs))) for row in rows)

"""What a layout is made of: rows that rename a tensor, and the few operations that change one.

A pattern is a name with placeholders in braces: {i} stands for a number, {name} (any other word) for any text. Rows run
in both directions; an operation therefore knows its way back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np

Arrays = list[np.ndarray]

NATIVE = "native"  # the layout of our own names, for a whole model: its files may say more of themselves


@dataclass(frozen=True)
class Operation:
    """forward turns the arrays of a row's `theirs` into those of its `ours`; backward undoes it exactly."""

    name: str
    forward: Callable[[Arrays], Arrays]
    backward: Callable[[Arrays], Arrays]

    @property
    def inverse(self) -> Operation:
        return Operation(self.name, self.backward, self.forward)


@dataclass(frozen=True)
class Row:
    """theirs -> ours. Without `ours` the tensors are dropped, and `reason` says why.

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
    """One published way of naming a system's tensors.

    covers: the part of the model, as a prefix of our names, that such a file holds; "" is all of it.
    lacks: prefixes of our names within that part that the file does not hold: they are freshly initialised.
    prefixes: what may stand before every key, beside nothing.
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


# ---------------------------------------------------------------------------------------------------------- operations


def blocks(*parts: int, axis: int = 0) -> Operation:
    """Several tensors stacked along an axis, in sizes of these proportions."""

    def split(arrays: Arrays) -> Arrays:
        (whole,) = arrays
        unit, rest = divmod(whole.shape[axis], sum(parts))
        if rest:
            kind = "rows" if axis == 0 else "columns"
            raise ValueError(f"{whole.shape[axis]} {kind} cannot be split as {':'.join(map(str, parts))}")
        return np.split(whole, np.cumsum(parts)[:-1] * unit, axis)

    return Operation("stack", lambda arrays: [np.concatenate(arrays, axis)], split)


POINTWISE = Operation(
    "linear to 1x1 convolution", lambda arrays: [arrays[0][:, :, None, None]], lambda arrays: [arrays[0][:, :, 0, 0]]
)


# --------------------------------------------------------------------------------- rows for the layers of every network


def affine(theirs: str, ours: str, operation: Operation | None = None) -> tuple[Row, ...]:
    """A linear layer or convolution with bias; the operation acts on its weight."""
    return (
        Row((f"{theirs}.weight",), (f"{ours}.weight",), operation),
        Row((f"{theirs}.bias",), (f"{ours}.bias",)),
    )


def layer_norm(theirs: str, ours: str) -> tuple[Row, ...]:
    return (Row((f"{theirs}.weight",), (f"{ours}.gamma",)), Row((f"{theirs}.bias",), (f"{ours}.beta",)))


def frozen_batch_norm(theirs: str, ours: str) -> tuple[Row, ...]:
    return (
        *layer_norm(theirs, ours),
        Row((f"{theirs}.running_mean",), (f"{ours}.moving_mean",)),
        Row((f"{theirs}.running_var",), (f"{ours}.moving_variance",)),
    )


def batch_norm(theirs: str, ours: str) -> tuple[Row, ...]:
    return (
        *frozen_batch_norm(theirs, ours),
        Row(
            (f"{theirs}.num_batches_tracked",),
            reason="PyTorch's count of batches: unused, since the momentum is fixed",
            restored_beside=f"{ours}.gamma",
        ),
    )


def same(pattern: str) -> Row:
    return Row((pattern,), (pattern,))


def drop(pattern: str, reason: str) -> Row:
    return Row((pattern,), reason=reason)


# ------------------------------------------------------------------------------------------------------------- patterns


def _regex(pattern: str, group: str) -> str:
    """{i} and other single letters are numbers, longer words any text; `group` opens the group of a placeholder."""
    pieces = re.findall(r"([^{]*)(?:\{(\w+)\})?", pattern)
    return "".join(
        re.escape(literal) + (f"{group.format(word=word)}{'[0-9]+' if len(word) == 1 else '.+'})" if word else "")
        for literal, word in pieces
    )


_compiled = cache(lambda pattern: re.compile(_regex(pattern, "(?P<{word}>")))


def match(pattern: str, name: str) -> dict[str, str] | None:
    """What the placeholders of the pattern stand for in this name, or None if it does not match."""
    found = _compiled(pattern).fullmatch(name)
    return found and found.groupdict()


def fill(pattern: str, found: Mapping[str, str]) -> str:
    """The name that a pattern gives with its placeholders filled."""
    return pattern.format(**found)


def any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    """One expression that matches whatever any of the patterns matches."""
    return re.compile("|".join(_regex(pattern, "(?:") for pattern in patterns))


def count_cells(names: Iterable[str], prefix: str) -> int:
    """How many cells a list has, of which the names begin so."""
    return len({name[len(prefix) :].split(".")[0] for name in names if name.startswith(prefix)})

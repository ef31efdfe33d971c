"""Reads a conversion table: a line for each layer, our name first, then what each published layout calls it.

    kind    ours      transformers                mmseg         original

    under ours           backbone.stages.{i}.blocks.{j}.
    under transformers   segformer.encoder.block.{i}.{j}.
    under mmseg          layers.{i}.1.{j}.
    under original       block{i+1}.{j}.

    norm    norm1     layer_norm_1                norm1         norm1
    packed  attn.kv   attention.self.{key,value}  -             attn.kv
    affine  mlp.fc1   mlp.dense1 (linear)         ffn.layers.0  mlp.fc1 (linear)

A published layout is a column; - where it has no such layer. Two spaces or more separate columns.

The kind says which tensors a layer has (PyTorch's name -> ours):
    affine      weight, bias: a linear layer or convolution
    weight      weight alone: a layer without bias
    norm        weight -> gamma, bias -> beta
    batchnorm   the same, running_mean -> moving_mean, running_var -> moving_variance; num_batches_tracked is dropped,
                and written again as zero on the way back
    parameter   one tensor; the names in the line are whole
    packed      affine layers, one above the other where a layout has a single one: attn.qkv is one layer,
                attn.{q,k,v} are three. All have equally many rows; "packed 1:2" says otherwise
    columns     tensors, side by side where a layout has a single one; the names in the line are whole
    dropped     tensors that the model does not need. After one such line or several: because ...

A word in parentheses says what is different about a layout's tensors:
    (linear)        a linear layer, where ours is a 1x1 convolution
    (transposed)    rows and columns are exchanged
    (unfolded)      the channels of four merged patches are in nn.Unfold's order
    (frozen)        a batch norm that counts no batches
    (resized)       a table of relative positions, which may be resized to the model's grid

`under COLUMN PREFIX` opens a section, in which the column's names begin so; a column that is not listed there has
whole names. Several prefixes, as many for each column, repeat the section's lines in as many places. A name that ends
in _ is joined to its tensors' names without a dot, for the in_proj_weight of nn.MultiheadAttention. Placeholders such
as {i}, {i+1} and {name} are explained in `names`. Where several lines match a name, the first is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from convert.layouts.names import PLACEHOLDER, placeholders
from convert.layouts.operations import POINTWISE, RELATIVE_POSITIONS, TRANSPOSED, UNFOLDED, Operation, stacked
from convert.layouts.row import Row
from convert.layouts.row import under as put_under

AFFINE = {"weight": "weight", "bias": "bias"}
NORM = {"weight": "gamma", "bias": "beta"}
TENSORS = {  # kind -> PyTorch's names of a layer's tensors -> ours
    "affine": AFFINE,
    "weight": {"weight": "weight"},
    "norm": NORM,
    "batchnorm": {**NORM, "running_mean": "moving_mean", "running_var": "moving_variance"},
    "parameter": {"": ""},
    "packed": AFFINE,
    "columns": {"": ""},
}
STACKING_AXIS = {"packed": 0, "columns": 1}
MARKS = {"linear": POINTWISE, "transposed": TRANSPOSED, "unfolded": UNFOLDED, "resized": RELATIVE_POSITIONS}
FROZEN = "frozen"
ABSENT = "-"

COUNT_DROPPED = "PyTorch's count of batches: unused, since the momentum is fixed"

_KIND = re.compile(r"([a-z]+)(?: ([1-9](?::[1-9])+))?")
_CELL = re.compile(r"(\S+)(?: \(([a-z]+)\))?")
_CHOICE = re.compile(r"\{([a-z]+(?:,[a-z]+)+)\}")
_NAME = re.compile(rf"(?:[A-Za-z0-9_.]|{PLACEHOLDER.pattern})*")


@dataclass(frozen=True)
class Table:
    """columns: the rows of each published layout. own: rows for a file that has our own names."""

    columns: dict[str, tuple[Row, ...]]
    own: tuple[Row, ...]

    def rows(self, column: str, under: str = "") -> tuple[Row, ...]:
        """The rows of a layout. under: what stands before all of its names in addition, such as "backbone."."""
        return put_under(under, self.columns[column])


def read_table(text: str) -> Table:
    """The table written in this text. ValueError, which quotes the line, for one that is not well-formed."""
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    reader = _Reader()
    for number, line in [(number, line) for number, line in lines if line and not line.startswith("#")]:
        try:
            reader.read(line)
        except ValueError as error:
            raise ValueError(f"line {number} of a conversion table, {line!r}: {error}") from None
    if not reader.own or reader.in_heading or reader.unexplained:
        raise ValueError(f"a conversion table must have layers, and must not break off: {text!r}")
    columns = {column: tuple(rows) for column, rows in reader.rows.items()}
    return Table(columns, tuple(dict.fromkeys(reader.own)))


class _Reader:
    """What has been read so far."""

    def __init__(self) -> None:
        self.columns: list[str] = []  # "ours" and the layouts
        self.rows: dict[str, list[Row]] = {}  # of each layout
        self.own: list[Row] = []
        self.section: dict[str, list[str]] = {}  # column -> its prefixes
        self.in_heading = False
        self.unexplained: list[tuple[str, str]] = []  # columns and names of dropped tensors that await their reason

    def read(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if not self.columns:
            self._open(line.split())
            return
        if self.unexplained and word not in ("dropped", "because"):
            raise ValueError("lines of dropped tensors must be followed by: because ...")
        if word == "under":
            self._open_section(rest.split())
            return
        if self.in_heading and len({len(prefixes) for prefixes in self.section.values()}) > 1:
            raise ValueError("the section above must have equally many prefixes for each of its columns")
        self.in_heading = False
        if word == "because":
            self._explain(rest.strip())
        else:
            self._read_layer(re.split(r"\s{2,}", line))

    def _open(self, words: list[str]) -> None:
        kind, *columns = words
        if kind != "kind" or columns[:1] != ["ours"] or len(columns) < 2 or len(set(columns)) < len(columns):
            raise ValueError("the first line must be: kind, ours, and the different names of the layouts")
        self.columns, self.rows = columns, {column: [] for column in columns[1:]}

    def _open_section(self, words: list[str]) -> None:
        column, *prefixes = words or [""]
        if not self.in_heading:
            self.section, self.in_heading = {}, True
        if column not in self.columns or column in self.section:
            raise ValueError(f"after under must come a column, each once: {', '.join(self.columns)}")
        if not prefixes or not all(prefix.endswith((".", "_")) and _NAME.fullmatch(prefix) for prefix in prefixes):
            raise ValueError("after the column must come a prefix that ends in . or _, or several")
        self.section[column] = prefixes

    def _explain(self, reason: str) -> None:
        if not self.unexplained or not reason:
            raise ValueError("a reason must follow a line of dropped tensors")
        for column, name in self.unexplained:
            self.rows[column] += [Row((theirs,), reason=reason) for theirs in self._places(column, name)]
        self.unexplained = []

    def _read_layer(self, cells: list[str]) -> None:
        kind, *cells = cells
        if len(cells) != len(self.columns):
            raise ValueError(f"there must be {1 + len(self.columns)} cells: {len(cells) + 1} are")
        names = dict(zip(self.columns, cells, strict=True))
        ours = names.pop("ours")
        names = {column: name for column, name in names.items() if name != ABSENT}
        if kind == "dropped":
            if ours != ABSENT or not names:
                raise ValueError("of dropped tensors a layout must have a name, and ours must be -")
            self.unexplained += [(column, name) for column, cell in names.items() for name in _choices(cell)]
            return
        found = _KIND.fullmatch(kind)
        if found is None or found[1] not in TENSORS or (found[2] and found[1] not in STACKING_AXIS):
            raise ValueError(f"the kind must be one of {', '.join(TENSORS)}, dropped: it is {kind!r}")
        proportions = tuple(map(int, found[2].split(":"))) if found[2] else None
        for place, our_name in enumerate(self._places("ours", ours)):
            layer = _Layer(found[1], proportions, tuple(_choices(our_name)))
            self.own += layer.own_rows()
            for column, name in names.items():
                for row in layer.rows(self._places(column, name)[place]):
                    if any(row.theirs == other.theirs for other in self.rows[column]):
                        raise ValueError(f"{column} must not have {', '.join(row.theirs)} twice")
                    self.rows[column].append(row)

    def _places(self, column: str, name: str) -> list[str]:
        """The whole name in every place of the section."""
        places = max((len(prefixes) for prefixes in self.section.values()), default=1)
        return [prefix + name for prefix in self.section.get(column, [""] * places)]


@dataclass(frozen=True)
class _Layer:
    """A line in one place. ours: one name, or several."""

    kind: str
    proportions: tuple[int, ...] | None
    ours: tuple[str, ...]

    def own_rows(self) -> Iterator[Row]:
        for leaf in TENSORS[self.kind].values():
            yield from (Row((name,), (name,)) for name in (_joined(name, leaf) for name in self.ours))

    def rows(self, cell: str) -> Iterator[Row]:
        """The rows of one layout's name for this layer."""
        found = _CELL.fullmatch(cell)
        if found is None:
            raise ValueError(f"a name must have no spaces, and at most a word in parentheses behind it: {cell!r}")
        theirs, mark = _choices(found[1]), found[2] or ""
        if mark and mark not in MARKS and (mark, self.kind) != (FROZEN, "batchnorm"):
            raise ValueError(f"the word in parentheses must be one of {', '.join((*MARKS, FROZEN))}: it is {mark}")
        if any(placeholders(name) != placeholders(self.ours[0]) for name in theirs):
            raise ValueError(f"{cell} must have the placeholders of {self.ours[0]}")
        if self.kind not in STACKING_AXIS and not len(theirs) == len(self.ours) == 1:
            raise ValueError(f"several layers in one line must be of the kind {' or '.join(STACKING_AXIS)}")
        for leaf, our_leaf in TENSORS[self.kind].items():
            names, ours = (
                [_joined(name, end) for name in some] for some, end in ((theirs, leaf), (self.ours, our_leaf))
            )
            operation = None if self.kind == "affine" and leaf == "bias" else MARKS.get(mark)
            if len(names) == len(ours):
                yield from (Row((name,), (our,), operation) for name, our in zip(names, ours, strict=True))
            else:
                yield Row(tuple(names), tuple(ours), self._stacking(len(names), len(ours), operation))
        if self.kind == "batchnorm" and mark != FROZEN:
            count = tuple(_joined(name, "num_batches_tracked") for name in theirs)
            yield Row(count, reason=COUNT_DROPPED, restored_beside=f"{self.ours[0]}.gamma")

    def _stacking(self, theirs: int, ours: int, operation: Operation | None) -> Operation:
        parts = self.proportions or (1,) * max(theirs, ours)
        if operation or min(theirs, ours) != 1 or len(parts) != max(theirs, ours):
            raise ValueError(f"one layer must become {len(parts)}, or {len(parts)} one: {theirs} would become {ours}")
        together = stacked(*parts, axis=STACKING_AXIS[self.kind])
        return together if ours == 1 else together.inverse


def _choices(name: str) -> list[str]:
    """attn.{q,k,v} -> attn.q, attn.k, attn.v; a name without such braces is itself alone."""
    found = _CHOICE.search(name)
    names = [name[: found.start()] + word + name[found.end() :] for word in found[1].split(",")] if found else [name]
    if not all(name and _NAME.fullmatch(name) and not name.endswith(".") for name in names):
        raise ValueError(f"a name must be of letters, digits, dots, _ and placeholders, not {name!r}")
    return names


def _joined(name: str, leaf: str) -> str:
    return f"{name}{leaf}" if not leaf or name.endswith("_") else f"{name}.{leaf}"

"""A plan says where every tensor of a source goes and where every parameter of a model comes from, or what is missing.

Nothing is read to make a plan: names and shapes are enough. `Plan.apply` then gives the result as a mapping of entries
that read, rename and reshape when asked for.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from convert.layouts import ARGUMENTS_FROM_SHAPES, LAYOUTS
from convert.layouts.backbones import BACKBONES_FROM_SHAPES
from convert.layouts.names import fill, match
from convert.layouts.operations import RED_AND_BLUE_EXCHANGED, Operation
from convert.layouts.row import Layout, Row
from convert.reading import CheckpointError, Entry
from convert.reading.entry import ArrayEntry

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """Tensors of the source that become tensors of the target by one row of a layout."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    operation: Operation | None


@dataclass(frozen=True)
class Plan:
    """steps carry tensors over; dropped says why a key of the source is not needed; restored are written as zeros.

    What keeps a plan from being applied: unused keys of the source, unfilled names of the target, and clashes of shape
    (name, shape in the source, shape in the target). hint: what a person may have meant then.
    """

    layout: Layout
    steps: tuple[Step, ...]
    shapes: Mapping[str, Shape]
    dropped: Mapping[str, str]
    restored: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    unfilled: tuple[str, ...] = ()
    clashes: tuple[tuple[str, Shape, Shape | None], ...] = ()
    hint: str = ""

    @property
    def complete(self) -> bool:
        return not (self.unused or self.unfilled or self.clashes)

    def apply(self, source: Mapping[str, Entry]) -> Mapping[str, Entry]:
        """The target's tensors as lazy entries, float32 where they are floating; CheckpointError if incomplete."""
        if not self.complete:
            raise CheckpointError(self.explain())
        entries: dict[str, Entry] = {}
        for step in self.steps:
            for position, name in enumerate(step.targets):
                entries[name] = _Converted(step, position, source, self.shapes[name])
        entries.update({name: ArrayEntry(np.zeros((), np.int64)) for name in self.restored})
        return entries

    @property
    def with_red_first(self) -> Plan:
        """The same for a network that saw blue before red: the convolutions that take a picture get it in RGB."""

        def takes_picture(step: Step) -> bool:
            shape = self.shapes[step.targets[0]]
            return step.operation is None and len(shape) == 4 and shape[1] == 3

        exchanged = RED_AND_BLUE_EXCHANGED
        steps = tuple(replace(step, operation=exchanged) if takes_picture(step) else step for step in self.steps)
        return replace(self, steps=steps)

    def explain(self) -> str:
        """What keeps the plan from being applied: one line that says how much, then a line for each name."""
        head = (
            f"the tensors of {self.layout.title} do not fit: {len(self.unused)} of the source unused, "
            f"{len(self.unfilled)} of the model unfilled, {len(self.clashes)} of another shape"
        )
        lines = [head]
        lines += [f"  unused    {name}{_nearest(name, self.unfilled)}" for name in self.unused]
        lines += [f"  unfilled  {name}{_nearest(name, self.unused)}" for name in self.unfilled]
        lines += [
            f"  shape     {name}: {list(has)} in the source, "
            + (f"{list(wants)} in the model" if wants is not None else "which the model does not have")
            for name, has, wants in self.clashes
        ]
        return "\n".join([*lines, self.hint] if self.hint else lines)


@dataclass(frozen=True)
class Source:
    """A checkpoint's layout, and what its shapes tell of the model's sizes.

    prefix: what was taken off its names. missing: what all names of the layout begin with and these lack. keys: the
    names as the layout knows them -> the names as the file has them. dropped: what is not the model's, and why.
    """

    layout: Layout
    prefix: str
    tensors: Mapping[str, Entry] = field(repr=False)
    missing: str = ""
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    dropped: Mapping[str, str] = field(default_factory=dict, repr=False)

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """The system's own arguments that the shapes tell; none for a part that several systems share."""
        system = self.layout.system
        return ARGUMENTS_FROM_SHAPES[system](self._shapes) if system else {}

    @cached_property
    def backbone(self) -> tuple[str, dict[str, Any]] | None:
        """The backbone's name and the sizes that the shapes tell; None where the file has no backbone."""
        for name, sizes_from_shapes in BACKBONES_FROM_SHAPES.items():
            if (sizes := sizes_from_shapes(self._shapes)) is not None:
                return name, sizes
        return None

    @cached_property
    def _shapes(self) -> Mapping[str, Shape]:
        """Shapes by our names."""
        return self.plan(None).shapes

    def plan(self, target: Mapping[str, Shape] | None) -> Plan:
        """The plan that carries this source to a model with these parameter names and shapes.

        Without a target the plan takes whatever names its layout gives.
        """
        if target is not None:
            covers, lacks = self.layout.covers, self.layout.lacks
            target = {n: shape for n, shape in target.items() if n.startswith(covers) and not n.startswith(lacks)}
        names = {name: key for name, key in self.keys.items() if key not in self.dropped}
        plan = _plan(self.layout, self.layout.rows, names, self.tensors, target)
        met = {*self.keys.values(), *self.dropped}
        outside = tuple(key for key in self.tensors if key not in met)
        return replace(plan, dropped={**plan.dropped, **self.dropped}, unused=(*plan.unused, *outside))

    def find_target(self, name: str) -> Layout:
        """The layout of that name in which this source, which has our own names, can be written.

        A part that several systems share can be written in the layout of any of them: of several that have this name,
        such as "hf", it is the one that knows the most tensors. Raises ValueError if none has it.
        """
        named = [layout for layout in LAYOUTS if layout.name == name]
        if self.layout.system or not named:
            return find_layout(name, self.layout.system)
        return min(named, key=lambda layout: len(self.plan_back(layout).unused))

    def plan_back(self, layout: Layout) -> Plan:
        """The plan that writes this source, which has our own names, in another layout."""
        back = [Row(row.ours, row.theirs, row.operation and row.operation.inverse) for row in layout.rows if row.ours]
        plan = _plan(layout, back, {name: name for name in self.tensors}, self.tensors, None)
        restored = [
            fill(pattern, found)
            for row in layout.rows
            if row.restored_beside
            for name in self.tensors
            if (found := match(row.restored_beside, name)) is not None
            for pattern in row.theirs
        ]
        shapes = {**plan.shapes, **dict.fromkeys(restored, ())}
        return Plan(layout, plan.steps, shapes, plan.dropped, tuple(restored), plan.unused, plan.unfilled, plan.clashes)


def find_layout(name: str, system: str) -> Layout:
    """The layout of that name for a system, or for "" of a part that several systems share.

    Raises ValueError, with the names that there are, for another one.
    """
    layouts = {layout.name: layout for layout in LAYOUTS if layout.system == system}
    if name not in layouts:
        raise ValueError(f"{system or 'a backbone'} has no layout {name!r}; it has {', '.join(layouts)}")
    return layouts[name]


def _plan(
    layout: Layout,
    rows: Sequence[Row],
    names: Mapping[str, str],
    tensors: Mapping[str, Entry],
    target: Mapping[str, Shape] | None,
) -> Plan:
    """names: the keys as the layout knows them -> the keys as the source has them."""
    steps: dict[Step, None] = {}
    shapes: dict[str, Shape] = {}
    dropped: dict[str, str] = {}
    used: set[str] = set()
    clashes: list[tuple[str, Shape, Shape | None]] = []
    for name, key in names.items():
        for row, found in _rows_of(name, rows):
            if not row.ours:
                dropped[key] = row.reason
                break
            theirs = [fill(pattern, found) for pattern in row.theirs]
            if all(part in names for part in theirs):
                targets = tuple(fill(pattern, found) for pattern in row.ours)
                step = Step(tuple(names[part] for part in theirs), targets, row.operation)
                if step not in steps:
                    steps[step] = None
                    after = dict(zip(targets, _shapes_after(step, tensors), strict=True))
                    shapes |= {part: _resizable(step, shape, (target or {}).get(part)) for part, shape in after.items()}
                used.add(key)
                break
    unused = [key for key in names.values() if key not in used and key not in dropped]
    unfilled: list[str] = []
    if target is not None:
        unfilled = [name for name in target if name not in shapes]
        clashes = [(n, shape, target.get(n)) for n, shape in shapes.items() if target.get(n) != shape]
    return Plan(
        layout, tuple(steps), shapes, dropped, unused=tuple(unused), unfilled=tuple(unfilled), clashes=tuple(clashes)
    )


def _rows_of(name: str, rows: Sequence[Row]) -> Iterator[tuple[Row, dict[str, str]]]:
    for row in rows:
        for pattern in row.theirs:
            if (found := match(pattern, name)) is not None:
                yield row, found


def _shapes_after(step: Step, tensors: Mapping[str, Entry]) -> list[Shape]:
    """Shapes of a step's targets, learnt by running its operation on stand-ins that hold no memory."""
    stand_ins = [np.broadcast_to(np.zeros((), np.bool_), tensors[key].shape) for key in step.sources]
    if step.operation is None:
        return [array.shape for array in stand_ins]
    try:
        return [array.shape for array in step.operation.forward(stand_ins)]
    except (ValueError, IndexError) as error:
        raise CheckpointError(f"{', '.join(step.sources)}: {step.operation.name} is not possible: {error}") from error


def _resizable(step: Step, shape: Shape, wanted: Shape | None) -> Shape:
    """The shape that the model wants, if the step can resize its tensor to that; else the tensor's own."""
    if wanted is None or wanted == shape or step.operation is None or step.operation.resize is None:
        return shape
    try:
        return step.operation.resize(np.zeros(shape, np.float32), wanted).shape
    except ValueError:
        return shape


class _Converted:
    """One target tensor of a step, read and converted when asked for."""

    def __init__(self, step: Step, position: int, source: Mapping[str, Entry], shape: Shape):
        self._step, self._position, self._source = step, position, source
        self.shape = shape
        kind = source[step.sources[0]].dtype
        self.dtype = "float32" if "float" in kind else kind

    def numpy(self) -> np.ndarray:
        arrays = [self._source[name].numpy() for name in self._step.sources]
        if self._step.operation is not None:
            arrays = self._step.operation.forward(arrays)
        array = arrays[self._position]
        if array.shape != self.shape and self._step.operation is not None and self._step.operation.resize is not None:
            array = self._step.operation.resize(array, self.shape)
        return np.ascontiguousarray(array, dtype=self.dtype).reshape(self.shape)


def _nearest(name: str, others: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, others, n=1, cutoff=0.6)
    return f"  (nearest on the other side: {near[0]})" if near else ""

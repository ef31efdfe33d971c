"""Configurations that are Python programs, as OpenMMLab has them: read, and never run.

What is read of one are its assignments to names of constants, lists, tuples and tables, `dict(key=value)` too, with
names from above in them, + - * / // between them, and `len` of a list; and the configurations of its `_base_`, as far
as they lie in its folder. Whatever else stands in it, a call, a condition, an f-string, leaves the names that it would
change unknown.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from convert.reading.entry import CheckpointError, shown
from convert.reading.folder import described_file

MAX_BYTES = 1 << 20  # LVIS's 1203 classes take 30,000
MAX_BASES = 32  # files
MAX_ITEMS = 100_000  # of a list or text that is made by adding or repeating
MAX_NUMBER = 1 << 62
MAX_VALUES = 300_000  # of a configuration, of which some may be in several places
BASE, DELETE = "_base_", "_delete_"
UNKNOWN = object()  # the value of what is not read

_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}  # fmt: skip


def read_python(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The names that a configuration assigns and their values, those of its `_base_` included, and which of these are
    not in the folder.

    Raises CheckpointError for what is no Python, for a circle of files, and for a file that leads out of the folder.
    """
    missing: list[str] = []
    return _read(path, [], missing), missing


def parse_python(text: str, title: str) -> dict[str, Any]:
    """The same of a text, whose `_base_` stays a name like others."""
    try:
        tree = ast.parse(text)
        names = _Names()
        for statement in tree.body:
            names.take(statement)
        return _Known().of(names.values)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise CheckpointError(f"{title} must be a Python configuration: it cannot be read as one.") from None


def _read(path: Path, inside: list[Path], missing: list[str]) -> dict[str, Any]:
    if path.resolve() in inside or len(inside) > MAX_BASES:
        raise CheckpointError(f"{path} is among the files of its own {BASE}.")
    try:
        if not path.is_file():  # a pipe would be waited for
            raise CheckpointError(f"{path} must be a file: it is something else.")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise CheckpointError(f"{path} has more than {MAX_BYTES >> 20} MB: refused.")
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise CheckpointError(f"{path} must be a Python configuration: it is no text in UTF-8.") from None
    own = parse_python(text, str(path))
    named = own.pop(BASE, [])
    bases: dict[str, Any] = {}
    for name in [named] if isinstance(named, str) else named if isinstance(named, list | tuple) else []:
        if not isinstance(name, str):
            continue
        base = described_file(path.parent, name) if "/.." not in f"/{name}" and not Path(name).is_absolute() else None
        if base is None:
            missing.append(shown(name))
        else:
            bases = _merged(bases, _read(base, [*inside, path.resolve()], missing))
    return _merged(bases, own)


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """OpenMMLab's rule: tables are merged key by key, unless one says _delete_; everything else replaces."""
    result = dict(base)
    for key, value in changes.items():
        if isinstance(value, dict):
            value, former = dict(value), result.get(key)
            replaced = value.pop(DELETE, False)
            value = _merged(former if isinstance(former, dict) and not replaced else {}, value)
        result[key] = value
    return result


class _Known:
    """Copies values without what is unknown in them: a table's entry is left out, in a list None takes its place."""

    def __init__(self) -> None:
        self._left = MAX_VALUES

    def of(self, value: Any) -> Any:
        """Raises ValueError for more values than a configuration has."""
        self._left -= 1
        if self._left < 0:
            raise ValueError
        if isinstance(value, dict):
            return {key: self.of(part) for key, part in value.items() if part is not UNKNOWN}
        if isinstance(value, list | tuple):
            return type(value)(None if part is UNKNOWN else self.of(part) for part in value)
        return value


class _Names:
    """Names and their values, from one statement after the other."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def take(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Assign) and all(isinstance(target, ast.Name) for target in statement.targets):
            value = self._value(statement.value)
            for target in statement.targets:
                self.values[ast.unparse(target)] = value
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            if statement.value is not None:
                self.values[statement.target.id] = self._value(statement.value)
        elif isinstance(statement, ast.ImportFrom):  # classes, which mmengine's newest configurations name so
            for alias in statement.names:
                self.values[alias.asname or alias.name] = alias.name
        else:
            self._forget(statement)

    def _forget(self, statement: ast.stmt) -> None:
        """What a statement that is not understood may have changed."""
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and (node.id in self.values or isinstance(node.ctx, ast.Store)):
                self.values[node.id] = UNKNOWN

    def _value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str | int | float | bool | None) else UNKNOWN
        if isinstance(node, ast.Name):
            return self.values.get(node.id, UNKNOWN)
        if isinstance(node, ast.List | ast.Tuple):
            values = [self._value(part) for part in node.elts]
            return tuple(values) if isinstance(node, ast.Tuple) else values
        if isinstance(node, ast.Dict):
            return self._table(zip(node.keys, node.values, strict=True))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
            return self._table((word.arg and ast.Constant(word.arg), word.value) for word in node.keywords)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len":
            lists = [self._value(argument) for argument in node.args]
            return len(lists[0]) if len(lists) == 1 and isinstance(lists[0], list | tuple) else UNKNOWN
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            value = self._value(node.operand)
            return -value if type(value) in (int, float) else UNKNOWN
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            return _calculated(_OPERATORS[type(node.op)], self._value(node.left), self._value(node.right))
        return UNKNOWN

    def _table(self, pairs: Any) -> Any:
        """A table of (key, value), in which no key stands for **value."""
        table: dict[Any, Any] = {}
        for key, value in pairs:
            found = self._value(value)
            if key is None:
                if not isinstance(found, dict):
                    return UNKNOWN
                table |= found
                continue
            name = self._value(key)
            if isinstance(name, str | int):
                table[name] = found
        return table


def _calculated(operation: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    """Numbers that stay small, lists and texts that stay short; unknown otherwise."""
    numbers = all(type(value) in (int, float) for value in (left, right))
    if numbers:
        try:
            value = operation(left, right)
        except (ArithmeticError, ValueError):
            return UNKNOWN
        return value if abs(value) < MAX_NUMBER else UNKNOWN
    if operation is operator.add and type(left) is type(right) and isinstance(left, list | tuple | str):
        return left + right if len(left) + len(right) <= MAX_ITEMS else UNKNOWN
    if operation is operator.mul and isinstance(left, list | tuple | str) and type(right) is int:
        return left * right if len(left) * max(right, 0) <= MAX_ITEMS else UNKNOWN
    return UNKNOWN

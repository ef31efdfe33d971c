"""The fields of a configuration that somebody else's program wrote, each checked when it is read."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

from convert import CheckpointError

MAX_COUNT = 65536  # of whatever is counted: classes, channels, layers

# field -> (default, what our networks have: the value, or None for any)
Known = Mapping[str, tuple[Any, Any]]


class Fields:
    """A table of a configuration. title: where it is from. where: the tables that it is in, with dots after each."""

    def __init__(self, title: str, values: Mapping[Any, Any], where: str = ""):
        self.title, self.values, self._where = title, values, where

    def read(self, known: Known) -> dict[str, Any]:
        """The values of fields, lists as tuples. Raises CheckpointError for one that cannot be ours."""
        values = {}
        for key, (default, ours) in known.items():
            value = _tuple(self.values.get(key, default))
            if ours is None:
                value = self._checked(key, value, default)
            elif value != _tuple(ours):
                raise self.error(
                    key, f"{brief(value)}: only {ours if isinstance(ours, str) else brief(ours)} can be loaded here"
                )
            values[key] = value
        return values

    def _checked(self, key: str, value: Any, default: Any) -> Any:
        if isinstance(default, list | tuple):
            if isinstance(value, tuple):
                value = tuple(int(v) if isinstance(v, float) and v.is_integer() else v for v in value)
            if not isinstance(value, tuple) or len(value) != 4 or not all(type(v) is int and v > 0 for v in value):
                raise self.error(key, f"{brief(value)}: it must be four whole numbers, one for each stage")
        elif isinstance(default, float):
            if type(value) not in (int, float) or not 0 <= value:
                raise self.error(key, f"{brief(value)}: it must be a number")
            return float(value)
        elif type(value) is not type(default) or (type(value) is int and not 0 < value <= MAX_COUNT):
            raise self.error(key, f"{brief(value)}: it must be like {default!r}")
        return value

    def error(self, key: str, problem: str) -> CheckpointError:
        return CheckpointError(f"{self.title} has {self._where}{key}={problem}.")

    def inner(self, *keys: str) -> Fields:
        """The table in this one; CheckpointError where it is no table."""
        found = self
        for key in keys:
            value = found.values.get(key)
            if not isinstance(value, dict):
                raise found.error(key, f"{brief(value)}: it must be a table")
            found = Fields(self.title, value, f"{found._where}{key}.")
        return found

    def has(self, *keys: str) -> bool:
        """Whether there is a table in this one."""
        values: Any = self.values
        for key in keys:
            values = values.get(key)
            if not isinstance(values, dict):
                return False
        return True


def brief(value: Any) -> str:
    """A value of a file, fit to stand in a sentence."""
    return reprlib.repr(list(value) if isinstance(value, tuple) else value)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value

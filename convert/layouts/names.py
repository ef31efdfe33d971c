"""Names of tensors, and patterns that stand for many of them.

A pattern is a name with placeholders in braces: {i} (any single letter) stands for a number, {name} (any longer word)
for any text. A layout that counts differently has {i+1}, {2*i} or {2*i+1}: `layer{i+1}` matches layer3 with i = 2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache

PLACEHOLDER = re.compile(r"\{(?:([1-9])\*)?([a-z]+)(?:\+([1-9]))?\}")


def placeholders(pattern: str) -> list[str]:
    """Their words in alphabetical order."""
    return sorted(found[2] for found in PLACEHOLDER.finditer(pattern))


def match(pattern: str, name: str) -> dict[str, str] | None:
    """What the placeholders of the pattern stand for in this name, or None if it does not match."""
    expression, counted = _compiled(pattern)
    found = expression.fullmatch(name)
    if found is None:
        return None
    values = found.groupdict()
    for word, factor, offset in counted:
        number, rest = divmod(int(values[word]) - offset, factor)
        if number < 0 or rest:
            return None
        values[word] = str(number)
    return values


def fill(pattern: str, values: Mapping[str, str]) -> str:
    """The name that a pattern gives with its placeholders filled."""

    def value(found: re.Match[str]) -> str:
        factor, word, offset = found.groups()
        return str(int(factor or 1) * int(values[word]) + int(offset or 0)) if factor or offset else values[word]

    return PLACEHOLDER.sub(value, pattern)


def any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    """One expression that matches whatever any of the patterns matches."""
    return re.compile("|".join(_regex(pattern, named=False) for pattern in patterns))


def count_cells(names: Iterable[str], prefix: str) -> int:
    """The length of a list of cells: how many different words follow this prefix in the names."""
    return len({name[len(prefix) :].split(".")[0] for name in names if name.startswith(prefix)})


@cache
def _compiled(pattern: str) -> tuple[re.Pattern[str], list[tuple[str, int, int]]]:
    """The pattern's expression, and (placeholder, factor, offset) where one counts differently."""
    found = (placeholder.groups() for placeholder in PLACEHOLDER.finditer(pattern))
    counted = [(word, int(factor or 1), int(offset or 0)) for factor, word, offset in found if factor or offset]
    return re.compile(_regex(pattern, named=True)), counted


def _regex(pattern: str, named: bool) -> str:
    regex, reached = "", 0
    for found in PLACEHOLDER.finditer(pattern):
        factor, word, offset = found.groups()
        values = ".+" if len(word) > 1 else _counted(int(offset or 0)) if factor or offset else "[0-9]+"
        regex += re.escape(pattern[reached : found.start()]) + (f"(?P<{word}>{values})" if named else values)
        reached = found.end()
    return regex + re.escape(pattern[reached:])


def _counted(least: int) -> str:
    """An expression of the numbers with which we calculate, from one digit on."""
    return f"(?:[{least}-9]|[1-9][0-9]{{1,5}})"

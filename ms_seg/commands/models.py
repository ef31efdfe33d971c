"""`models`: the table of published models."""

from __future__ import annotations

import argparse
import fnmatch
from collections.abc import Sequence

from ms_seg.hub.address import other_owner
from ms_seg.presets import PRESETS, STARTING_WEIGHTS, Preprocessing, Preset, Published, StartingWeights

_HEADINGS = ("name", "input", "classes", "tasks", "licence of the weights", "published score")
_STARTING_HEADINGS = ("to begin a training with", "part", "network", "licence of the weights")

_Row = Preset | StartingWeights


def add(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="only models that all the words are said of: parts of a name, a dataset, a task, a licence, or the name "
        'on a hub, such as "cityscapes semantic"; with * a pattern of the whole, such as "segformer_b0*" or "damo/*"',
    )
    parser.add_argument("--published", action="store_true", help="also list where the weights of each are published")


def run(options: argparse.Namespace) -> int:
    """Print the tables; ValueError when there is no such model."""
    models, starting = (
        [row for row in rows if all(_matches(row, word) for word in options.words)]
        for rows in (PRESETS.values(), STARTING_WEIGHTS)
    )
    if not models and not starting:
        asked = " ".join(options.words)
        raise ValueError(f"no model matches {asked!r}: `python -m ms_seg models` lists all")
    for headings, rows in ((_HEADINGS, models), (_STARTING_HEADINGS, starting)):
        if rows:
            _print(headings, rows, options.published)
    return 0


def _print(headings: Sequence[str], rows: Sequence[_Row], published: bool) -> None:
    table = [headings, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    places = [(), *(row.published if published else () for row in rows)]
    for cells, entries in zip(table, places, strict=True):
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
        for entry in entries:
            print(f"    {_place(entry)}")


def _matches(row: _Row, word: str) -> bool:
    """Whether a word is a part of what is said of a model, or a pattern of the whole of it."""
    places = [name for entry in row.published for name in (entry.id, entry.file)]
    places += [other_owner(entry.id) for entry in row.published if entry.hub == "modelscope"]
    known = [] if isinstance(row, StartingWeights) else [str(row.label_set), *row.tasks]
    facts = [*_cells(row), *places, *known]
    if any(sign in word for sign in "*?["):
        return any(fnmatch.fnmatchcase(fact, word) for fact in facts)
    return any(word.lower() in fact.lower() for fact in facts)


def _place(entry: Published) -> str:
    file = f"/{entry.file}" if entry.file else ""
    checksum = f" {entry.checksum}" if entry.checksum else ""
    return f"{entry.hub}: {entry.id}{file}{checksum}"


def _cells(row: _Row) -> tuple[str, ...]:
    if isinstance(row, StartingWeights):
        return row.passed_as, row.part, row.name, row.licence
    return row.name, _input(row), _classes(row), ", ".join(row.tasks), row.licence, row.score


def _classes(preset: Preset) -> str:
    if preset.num_classes is None:
        return "any words"
    return f"{preset.num_classes} {preset.label_set or ''}".rstrip()


def _input(preset: Preset) -> str:
    windows = f", in windows of {preset.window.crop}" if preset.window else ""
    return _size(preset.preprocessing) + windows


def _size(rule: Preprocessing) -> str:
    if rule.resize == "shrink":
        return f"short side up to {rule.short_side}"
    if rule.resize == "squash":
        return f"{rule.short_side}x{rule.short_side}"
    if rule.resize.startswith("stretch"):
        return f"{rule.short_side}x{rule.long_side}"
    if rule.short_side >= rule.long_side:
        return f"long side {rule.long_side}"
    return f"short side {rule.short_side}"

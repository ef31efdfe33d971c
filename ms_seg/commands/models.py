"""`models`: the table of published models."""

from __future__ import annotations

import argparse
import fnmatch

from ms_seg.presets import PRESETS, Preprocessing, Preset, Published

_HEADINGS = ("name", "input", "classes", "tasks", "licence of the weights", "published score")


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
    """Print the table; ValueError when there is no such model."""
    found = [preset for preset in PRESETS.values() if all(_matches(preset, word) for word in options.words)]
    if not found:
        asked = " ".join(options.words)
        raise ValueError(f"no model matches {asked!r}: `python -m ms_seg models` lists all")
    rows = [_HEADINGS, *map(_row, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    places = [(), *(preset.published if options.published else () for preset in found)]
    for row, published in zip(rows, places, strict=True):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        for entry in published:
            print(f"    {_place(entry)}")
    return 0


def _matches(preset: Preset, word: str) -> bool:
    """Whether a word is a part of what is said of a model, or a pattern of the whole of it."""
    places = (name for entry in preset.published for name in (entry.id, entry.file))
    facts = [*_row(preset), *places, str(preset.label_set), *preset.tasks]
    if any(sign in word for sign in "*?["):
        return any(fnmatch.fnmatchcase(fact, word) for fact in facts)
    return any(word.lower() in fact.lower() for fact in facts)


def _place(entry: Published) -> str:
    file = f"/{entry.file}" if entry.file else ""
    checksum = f" {entry.checksum}" if entry.checksum else ""
    return f"{entry.hub}: {entry.id}{file}{checksum}"


def _row(preset: Preset) -> tuple[str, ...]:
    return (
        preset.name,
        _input(preset),
        _classes(preset),
        ", ".join(preset.tasks),
        preset.licence,
        preset.score,
    )


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
    if rule.resize == "stretch":
        return f"{rule.short_side}x{rule.long_side}"
    if rule.short_side >= rule.long_side:
        return f"long side {rule.long_side}"
    return f"short side {rule.short_side}"

"""`models`: the table of published models."""

from __future__ import annotations

import argparse
import fnmatch

from ms_seg.presets import PRESETS, Preprocessing, Preset

_HEADINGS = ("name", "input", "classes", "tasks", "licence of the weights", "published score", "published as")


def add(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "pattern",
        nargs="?",
        default="*",
        metavar="PATTERN",
        help='of a name, a dataset, a task or a name on a hub: "segformer_b0*", "cityscapes", "damo/*" (default: all)',
    )


def run(options: argparse.Namespace) -> int:
    """Print the table; ValueError when nothing of a model matches the pattern."""
    found = [preset for preset in PRESETS.values() if fnmatch.filter(_searched(preset), options.pattern)]
    if not found:
        raise ValueError(f"no model matches {options.pattern!r}: `python -m ms_seg models` lists all")
    rows = [_HEADINGS, *map(_row, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _row(preset: Preset) -> tuple[str, ...]:
    tasks, published = ", ".join(preset.tasks), ", ".join(map(str, preset.published))
    return preset.name, _input(preset), _classes(preset), tasks, preset.licence, preset.score, published


def _searched(preset: Preset) -> list[str]:
    """What a pattern may match of a model."""
    published = (name for entry in preset.published for name in (entry.id, entry.file) if name)
    classes = [preset.label_set] if isinstance(preset.label_set, str) else []
    return [preset.name, *classes, *preset.tasks, *published]


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

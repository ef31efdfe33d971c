"""`models`: the table of published models."""

from __future__ import annotations

import argparse

from ms_seg.presets import Preprocessing, Preset, find_preset, list_models

_HEADINGS = ("name", "input", "classes", "licence of the weights", "published score")


def add(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "pattern", nargs="?", default="*", metavar="PATTERN", help='such as "segformer_b0*" (default: all)'
    )


def run(options: argparse.Namespace) -> int:
    """Print the table; ValueError when no name matches the pattern."""
    names = list_models(options.pattern)
    if not names:
        raise ValueError(f"no model matches {options.pattern!r}: `python -m ms_seg models` lists all")
    rows = [_HEADINGS, *(_row(find_preset(name)) for name in names)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _row(preset: Preset) -> tuple[str, ...]:
    return preset.name, _input(preset), _classes(preset), preset.licence, preset.score


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

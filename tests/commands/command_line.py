"""The program, called within the test's own process."""

from __future__ import annotations

from pathlib import Path

from ms_seg.__main__ import main


def run(*arguments: object) -> int:
    """The exit code of `python -m ms_seg` with these arguments."""
    return main([str(argument) for argument in arguments])


def written(folder: Path) -> list[str]:
    """The names of the files in a folder."""
    return sorted(path.name for path in folder.iterdir())

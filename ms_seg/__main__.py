"""python -m ms_seg segment | train | evaluate | models | demo: segmentation models of PyTorch, on MindSpore."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from convert.exit_code import exit_code
from ms_seg.commands import demo, evaluate, models, segment, train

_COMMANDS = {
    "segment": (segment, "segment pictures: overlay, label map and segments of each"),
    "train": (train, "train a model on a dataset by its published recipe"),
    "evaluate": (evaluate, "score a model, or label maps in a folder, on a dataset"),
    "models": (models, "list the published models"),
    "demo": (demo, "convert the embedded PyTorch checkpoint, segment two pictures, compare with PyTorch"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit code: 0 if all went well, 1 if a part failed, 2 if it could not be done."""
    options = _parser().parse_args(arguments)
    return exit_code(f"ms_seg {options.command}", partial(options.run, options))


def _parser() -> argparse.ArgumentParser:
    program = "ms_seg" if Path(sys.argv[0]).stem == "ms_seg" else "python -m ms_seg"
    parser = argparse.ArgumentParser(prog=program, description=__doc__.split(": ")[1])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (command, help_text) in _COMMANDS.items():
        subparser = commands.add_parser(name, help=help_text, description=help_text)
        command.add(subparser)
        subparser.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""python -m ms_seg segment | train | evaluate | export | ...: segmentation models of PyTorch, on MindSpore."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

import ms_seg
from convert.exit_code import exit_code

_COMMANDS = {  # each a module of ms_seg.commands
    "segment": "segment pictures and videos: overlay, label map and segments of each",
    "serve": "show a page in the browser that segments pictures, with a door for programs",
    "train": "train a model on a dataset by its published recipe",
    "evaluate": "score a model, or label maps in a folder, on a dataset",
    "export": "write a model as a MindIR file, for Ascend and for MindSpore Lite, and compare it with the model",
    "data": "look at a dataset: what its labels mean, how often each class occurs, which files are broken",
    "models": "list the published models",
    "demo": "convert the embedded PyTorch checkpoint, segment two pictures, compare with PyTorch",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit code: 0 if all went well, 1 if a part failed, 2 if it could not be done."""
    return exit_code("ms_seg", partial(_run, arguments))  # Ctrl-C may come while it is still imported


def _run(arguments: Sequence[str] | None) -> int:
    from ms_seg.commands.third_party import warnings_to_log

    options = _parser().parse_args(arguments)
    with warnings_to_log():
        return exit_code(f"ms_seg {options.command}", partial(options.run, options))


def _parser() -> argparse.ArgumentParser:
    from ms_seg.commands.parser import Parser

    program = "ms_seg" if Path(sys.argv[0]).stem == "ms_seg" else "python -m ms_seg"
    parser = Parser(prog=program, description=__doc__.split(": ")[1])
    parser.add_argument("--version", action="version", version=f"ms_seg {ms_seg.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, help_text in _COMMANDS.items():
        command = import_module(f"ms_seg.commands.{name}")
        subparser = commands.add_parser(name, help=help_text, description=help_text)
        command.add(subparser)
        subparser.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())

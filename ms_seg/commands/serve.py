"""`serve`: a page in the browser, and a door for programs, in front of one or several models."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import ms_seg
from ms_seg.commands.demo import MODEL, PANOPTIC_MODEL, WORDS, WORDS_MODEL
from ms_seg.commands.device import add_device, add_mode, add_precision, set_up_device
from ms_seg.commands.override import add_choice, add_override
from ms_seg.hub import choose_model
from ms_seg.presets import TASKS

_NOTE = (
    "No model is named: these are the small ones that come with the package, which know a drawn world alone. "
    "Pass --model NAME, --checkpoint FILE, or both."
)


def add(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.usage = "%(prog)s [--model NAME] [--checkpoint FILE] ... [--host ADDRESS] [--port N] [option ...]"
    parser.set_defaults(named=[])
    parser.add_argument(
        "--model", metavar="NAME", action=_Named,
        help="see `models`, or a hub's name; may be given several times, each with its --checkpoint behind it",
    )  # fmt: skip
    parser.add_argument(
        "--checkpoint", metavar="FILE", action=_Named,
        help="the weights, as published for PyTorch or converted, or a hub's name",
    )  # fmt: skip
    parser.add_argument("--vocab", metavar="FILE", help="of models that take words, CLIP's vocabulary or its folder")
    parser.add_argument("--task", choices=TASKS, help="what to answer unasked, of models that can do several")
    parser.add_argument(
        "--host", metavar="ADDRESS", default="127.0.0.1",
        help="where to listen; others than the default let other machines in (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--port", type=_port, metavar="N", default=7860, help="the port; 0 for any that is free (default: %(default)s)"
    )
    add_override(parser)
    add_choice(parser)
    add_device(parser)
    add_mode(parser)
    add_precision(parser)


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    if missing := [name for name in ("starlette", "uvicorn") if find_spec(name) is None]:
        raise ValueError(f"the page needs {' and '.join(missing)}: pip install {' '.join(missing)}")
    from ms_seg.serving.app import build_app
    from ms_seg.serving.limits import Limits
    from ms_seg.serving.server import listen, make_server

    chosen = [choose_model(*pair) for pair in pairs(options.named)]
    note = "" if chosen else _NOTE
    with listen(options.host, options.port) as listening:
        set_up_device(options.device, options.full_float32)
        models: dict[str, Any] = {}
        for name, checkpoint in chosen or [choose_model(name, None) for name in (MODEL, WORDS_MODEL, PANOPTIC_MODEL)]:
            cell = ms_seg.create_model(
                name, checkpoint, weights=options.weights, drop=options.drop, **dict(options.override)
            )
            takes_words = cell.preset.output == "words"
            task = options.task if options.task in cell.preset.tasks else None
            vocab = options.vocab if takes_words else None
            segmenter = ms_seg.Segmenter(cell, options.mode, vocab=vocab, task=task, precision=options.precision)
            models[_free_name(segmenter.preset.name, models)] = segmenter
        if options.task and all(segmenter.task != options.task for segmenter in models.values()):
            raise ValueError(f"{', '.join(models)} gives no {options.task} answers")
        limits = Limits()
        app = build_app(models, limits, names=[options.host], words=WORDS.split(","), note=note)
        server = make_server(app, limits)
        if note:
            print(note, file=sys.stderr)
        address, port = listening.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        print(f"{', '.join(models)}: http://{shown}:{port}/ (Ctrl-C ends it)", flush=True)
        server.run(sockets=[listening])
    return 0


class _Named(argparse.Action):
    """Keeps --model and --checkpoint in the order in which they are given."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        namespace.named = [*namespace.named, (self.dest, values)]
        setattr(namespace, self.dest, values)


def pairs(named: Sequence[tuple[str, str]]) -> list[tuple[str | None, str | None]]:
    """The models and their checkpoints, as --model and --checkpoint name them one after the other.

    One of each goes together in any order; of several, a checkpoint goes with the model before it.
    Raises ValueError where a checkpoint has no model before it that lacks one, though others have.
    """
    kinds = [kind for kind, _ in named]
    if kinds == ["checkpoint", "model"]:
        named = named[::-1]
    found: list[tuple[str | None, str | None]] = []
    for kind, value in named:
        if kind == "model":
            found.append((value, None))
        elif found and found[-1][1] is None:
            found[-1] = (found[-1][0], value)
        elif "model" not in kinds:
            found.append((None, value))
        else:
            raise ValueError(f"which model --checkpoint {value} is for is not said: put its --model before it")
    return found


def _free_name(name: str, taken: Any) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"it must be a number from 0 to 65535: {text!r} is not")
    return int(text)

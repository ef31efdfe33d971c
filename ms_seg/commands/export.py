"""`export`: a model as a file for devices that run no Python."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import ms_seg
from ms_seg.commands.device import set_up_device, size
from ms_seg.commands.override import add_choice, add_override
from ms_seg.data.drawn.scenes import draw_scene
from ms_seg.data.picture import read_picture
from ms_seg.hub import choose_model, on_this_machine

if TYPE_CHECKING:
    from ms_seg.systems import Model

_SEED = 18  # of the drawn picture


def add(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.usage = "%(prog)s --size HxW [--model NAME] [--checkpoint FILE] [option ...] OUTPUT.mindir"
    parser.add_argument(
        "output", metavar="OUTPUT.mindir", type=Path, help="where to write; OUTPUT.mindir.json says what it is"
    )
    parser.add_argument("--model", metavar="NAME", help="see `models`; with --checkpoint the file says it by default")
    parser.add_argument("--checkpoint", metavar="FILE", help="the weights, as published for PyTorch or converted")
    parser.add_argument("--to", choices=("mindir", "onnx"), default="mindir", help="the format (default: %(default)s)")
    parser.add_argument(
        "--size", type=size, required=True, metavar="HxW", help="height and width of the network's input"
    )
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="pictures at once (default: %(default)s)")
    parser.add_argument(
        "--fit", choices=("stretch", "pad", "windows"),
        help="how pictures come to that size, where the model's own rule gives others: stretched, resized by the rule "
        "and padded, or resized by the rule and seen in windows",
    )  # fmt: skip
    parser.add_argument(
        "--include", metavar="PART,PART", default="",
        help="what else the graph does: normalize (takes uint8 pictures), semantic (scores of classes instead of "
        "queries), resize (outputs at the input's size), argmax (the class of each pixel)",
    )  # fmt: skip
    parser.add_argument(
        "--precision", choices=("float32", "float16"), default="float32",
        help="of convolutions and products (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--labels", metavar="A,B,C", help="words to tell apart, of a model that takes words")
    parser.add_argument(
        "--words", type=int, default=0, metavar="K",
        help="instead of --labels: let the graph take the vectors of K words as an input",
    )  # fmt: skip
    parser.add_argument("--vocab", metavar="FILE", help="of a model that takes words, CLIP's vocabulary or its folder")
    parser.add_argument(
        "--picture", metavar="FILE", help="a picture that the graph is compared on (default: a portrait)"
    )
    add_override(parser)
    add_choice(parser)


def run(options: argparse.Namespace) -> int:
    """Export, compare, report."""
    if options.to == "onnx":
        raise ValueError(
            "MindSpore's ONNX exporter lacks operators of every network here, such as ResizeBilinearV2: "
            "docs/devices.md#onnx shows the way over transformers"
        )
    target = options.output
    if target.suffix != ".mindir":
        raise ValueError(f"OUTPUT must end in .mindir: {target} does not")
    if not target.absolute().parent.is_dir():
        raise ValueError(f"OUTPUT must be in a folder that exists: there is no {target.parent}")
    pictures = {"a drawn picture": draw_scene(_SEED, (320, 480)).picture, **_real_picture(options.picture)}
    model, checkpoint = choose_model(options.model, options.checkpoint)
    set_up_device("CPU")
    from ms_seg.deploy.export import Choices, export_mindir

    model, file = on_this_machine(model, checkpoint)
    cell = ms_seg.create_model(model, file, weights=options.weights, drop=options.drop, **dict(options.override))
    parts = tuple(part.strip() for part in options.include.split(",")) if options.include else ()
    choices = Choices(options.size, options.batch, options.fit, parts, options.precision, options.words)
    labels = options.labels.split(",") if options.labels is not None else None
    versions = {"ms_seg": ms_seg.__version__, "mindspore": version("mindspore")}
    origin = {"checkpoint": _weights(cell), "made_with": versions}
    compared = export_mindir(cell, target, choices, pictures, origin, labels, options.vocab)
    for each in compared:
        beyond = "" if options.precision == "float32" else f"; to the network in float32: {each.float32_error:.1e}"
        print(f"{each.picture}: error of the graph to the network {each.error:.1e}{beyond}")
    shown = "{}x{}".format(*options.size)
    print(f"{cell.preset.name} at {shown} written to {target}; what it takes and gives: {target}.json")
    return 0


def _real_picture(named: str | None) -> Mapping[str, np.ndarray]:
    """The picture named, or the photograph that comes with Matplotlib, by what it is called in sentences."""
    if named is not None:
        return {named: read_picture(named)}
    home = find_spec("matplotlib")
    folders = home.submodule_search_locations if home else None
    for folder in folders or ():
        photograph = Path(folder) / "mpl-data" / "sample_data" / "grace_hopper.jpg"
        if photograph.is_file():
            return {"a photograph": read_picture(photograph)}
    raise ValueError("Matplotlib has no photograph here to compare on: pass one (--picture FILE)")


def _weights(cell: Model) -> dict[str, Any]:
    """The file of a model's weights, by its name and content."""
    from convert import open_checkpoint
    from ms_seg.deploy.description import file_digest

    path = Path(cell.checkpoint or "")
    if path.is_dir():
        with open_checkpoint(path) as tensors:
            path = tensors.file or path
    return {"file": path.name, "sha256": file_digest(path)} if path.is_file() else {}

"""python -m convert SOURCE TARGET: a checkpoint of any published layout becomes a MindSpore one, or goes back."""

from __future__ import annotations

import argparse
import json
import math
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convert import open_checkpoint
from convert.atomic import whole_file
from convert.exit_code import exit_code
from convert.plan import Plan, Source
from convert.progress import progress_bar
from convert.reading import Checkpoint
from convert.recognition import recognise
from convert.writing import write_checkpoint
from ms_seg.cells.interrupts import load_mindspore
from ms_seg.commands.override import add_choice, add_override
from ms_seg.commands.parser import Parser
from ms_seg.hub import on_this_machine

if TYPE_CHECKING:
    from ms_seg.checkpoints.loading import Match

MINDSPORE_SUFFIXES = (".ckpt", ".safetensors")
TORCH_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    return exit_code("convert", partial(convert, options), "convert: stopped, nothing was written")


def convert(options: argparse.Namespace) -> None:
    """Recognise, plan, report, write. Raises ValueError unless every tensor on both sides is accounted for."""
    if options.to == "hf" and not options.target.suffix:
        convert_to_folder(options)
        return
    _check_target(options.target, Path(options.source), TORCH_SUFFIXES if options.to else MINDSPORE_SUFFIXES)
    options.model, file = on_this_machine(options.model, options.source)
    with open_checkpoint(file, options.weights) as tensors:
        metadata: dict[str, str] = {}
        if options.to:
            source = recognise(tensors, options.weights, options.drop)
            model = f"{source.layout.system or _part(source)} for {options.to}"
            plan = source.plan_back(source.find_target(options.to))
        else:
            source, model, metadata, plan = _plan_forward(tensors, options)
        report = _report(options.source, tensors, model, source, plan)
        print(_summary(report))
        if options.report:
            with whole_file(options.report) as draft:
                draft.write_text(json.dumps(report, indent=2) + "\n")
        entries = plan.apply(tensors)
        if not options.dry_run:
            size = sum(math.prod(entry.shape) for entry in entries.values()) * 4
            with progress_bar(size, f"writing {options.target.name}") as advance:
                write_checkpoint(options.target, entries, metadata=metadata, progress=advance)
            print(f"  written to {options.target}")


def convert_to_folder(options: argparse.Namespace) -> None:
    """A checkpoint of any layout as a folder that transformers opens."""
    load_mindspore()
    from ms_seg.checkpoints.transformers.writing import write_pretrained
    from ms_seg.presets import title_of

    options.model, file = on_this_machine(options.model, options.source)
    with open_checkpoint(file, options.weights) as tensors:
        found = _match(tensors, options)
        if found.part:
            raise ValueError(f"{options.source} holds a {found.part} alone: a folder of transformers has a whole model")
        for line in found.lines:
            print(f"  {line}")
        title = f"{title_of(found.preset)} for transformers"
        print(_summary(_report(options.source, tensors, title, found.source, found.plan)))
        if not options.dry_run:
            write_pretrained(options.target, found.preset, found.plan.apply(tensors))
            print(f"  written to {options.target}")


def _check_target(target: Path, source: Path, suffixes: tuple[str, ...]) -> None:
    """Raise ValueError before any work if the result cannot be written there."""
    if target.suffix not in suffixes:
        raise ValueError(f"TARGET must end in {' or '.join(suffixes)}: {target} does not")
    if not target.parent.is_dir():
        raise ValueError(f"TARGET must be in a folder that exists: there is no {target.parent}")
    if target.exists() and source.exists() and target.samefile(source):
        raise ValueError(f"TARGET must be another file than SOURCE: {target} is the same")


def _plan_forward(tensors: Checkpoint, options: argparse.Namespace) -> tuple[Source, str, dict[str, str], Plan]:
    """What the file holds, what it becomes, the metadata of the file to be written, and the plan."""
    load_mindspore()
    from ms_seg.checkpoints.metadata import describe
    from ms_seg.presets import title_of

    found = _match(tensors, options)
    for line in found.lines:
        print(f"  {line}")
    if found.part and not found.source.layout.covers:
        raise ValueError(f"{options.source} holds a {found.part}: a training can begin with it, no file be made of it")
    title = title_of(found.preset)
    model = f"{found.part} of {title}" if found.part else title
    return found.source, model, describe(found.preset, found.part), found.plan


def _match(tensors: Checkpoint, options: argparse.Namespace) -> Match:
    from ms_seg.checkpoints.loading import Choice, match

    chosen = Choice(options.weights, tuple(options.drop))
    return match(tensors, options.model, dict(options.override), chosen=chosen)


def _part(source: Source) -> str:
    """The part of a model that the file holds; empty for a whole one."""
    return source.layout.covers.rstrip(".")


def _report(path: str, tensors: Checkpoint, model: str, source: Source, plan: Plan) -> dict[str, Any]:
    return {
        "source": str(path),
        "container": tensors.container,
        "layout": source.layout.name,
        "layout_title": source.layout.title,
        "prefix": source.prefix,
        "weights": tensors.taken,
        "other_weights": list(tensors.others),
        "model": model,
        "tensors": [
            {
                "from": list(step.sources),
                "to": list(step.targets),
                "operation": step.operation.name if step.operation else "rename",
                "shapes": [list(plan.shapes[name]) for name in step.targets],
            }
            for step in plan.steps
        ],
        "dropped": dict(plan.dropped),
        "restored": list(plan.restored),
        "unused": list(plan.unused),
        "unfilled": list(plan.unfilled),
        "clashes": [list(clash) for clash in plan.clashes],
    }


def _summary(report: dict[str, Any]) -> str:
    sources = sum(len(tensor["from"]) for tensor in report["tensors"])
    targets = sum(len(tensor["to"]) for tensor in report["tensors"]) + len(report["restored"])
    lines = [
        f"{report['source']}: {report['container']}, {report['layout_title']}",
        f"  -> {report['model']}: {targets} tensors filled from {sources}, {len(report['dropped'])} dropped",
    ]
    if report["prefix"]:
        lines.append(f"  {report['prefix']} was taken off the names")
    if report["other_weights"]:
        lines.append(
            f"  of several sets of weights {report['weights']}; --weights {report['other_weights'][0]} for others"
        )
    by_reason: dict[str, list[str]] = {}
    for key, reason in report["dropped"].items():
        by_reason.setdefault(reason, []).append(key)
    lines += [f"  dropped {len(keys)} ({keys[0]}, ...): {reason}" for reason, keys in by_reason.items()]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="ms_seg-convert" if Path(sys.argv[0]).stem == "ms_seg-convert" else "python -m convert",
        description="Convert a PyTorch checkpoint to MindSpore, or a MindSpore one back, without PyTorch.",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="any checkpoint, .pth .pt .bin .ckpt .pkl .npz .safetensors .zip, a folder, or a hub's name",
    )
    parser.add_argument(
        "target",
        metavar="TARGET",
        help=".ckpt or .safetensors; with --to also .pth; with --to hf also a folder",
        type=Path,
    )
    parser.add_argument(
        "--model", metavar="NAME", default="auto", help="what it becomes (default: inferred from keys and shapes)"
    )
    add_override(parser)
    add_choice(parser)
    parser.add_argument(
        "--to",
        metavar="LAYOUT",
        help="write a MindSpore checkpoint back in this layout, such as hf, mmseg, mmdet or vit-adapter",
    )
    parser.add_argument("--dry-run", action="store_true", help="make the plan and report it, write no checkpoint")
    parser.add_argument("--report", metavar="FILE.json", help="write where every tensor went", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())

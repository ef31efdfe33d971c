"""`data look`: what a dataset holds, without a model: a sheet of pictures and labels, the classes, and what is odd."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from convert.atomic import whole_file
from ms_seg.answers.drawing.labels import Labelled, draw_sheet
from ms_seg.commands.labels import add_label_options, drawing_readings, label_options, look
from ms_seg.data.class_maps import ClassMaps
from ms_seg.data.datasets import DATASETS, open_for_task, root_of
from ms_seg.data.own_folder import OWN, splits_of
from ms_seg.data.pairing import MissingSplit
from ms_seg.data.preflight import Seen, check_contents, check_splits
from ms_seg.data.readings import AmbiguousLabels, spread
from ms_seg.data.semantic import SPLITS, first_pictures

_SHOWN = 12  # pictures of a sheet


def add(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parts = parser.add_subparsers(dest="part", required=True, metavar="look")
    parser = parts.add_parser("look", help="read every file, show what the labels mean, and say what is odd")
    parser.add_argument("data", metavar="FOLDER", nargs="?", help="where the dataset lies; what is drawn needs none")
    parser.add_argument("--dataset", choices=DATASETS, default=OWN, help="whose layout it has (default: your own)")
    parser.add_argument("--split", choices=SPLITS, help="look at this one alone (default: at each that is there)")
    add_label_options(parser)
    parser.add_argument("--pictures", metavar="N", type=int, help="look at the first N of each split alone")
    parser.add_argument("--output", metavar="DIR", default="look", type=Path, help="where to (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    """Look at each split, then say what the dataset cannot be used for; 1 if some files cannot be read."""
    with drawing_readings(options.output):
        datasets, problems = _open(options)
    damaged = 0
    for split, dataset in datasets.items():
        seen = Seen(dataset if hasattr(dataset, "label_map") else ClassMaps(dataset), len(dataset.label_set))
        whole = look(seen, split)
        damaged += len(dataset) - len(whole)
        if not whole:
            raise ValueError(f"no picture of the {split} split can be read")
        path = _draw(seen, whole, options.output / f"{split}.png")
        print("\n".join([f"{split}: {path}", *(f"  {line}" for line in seen.lines())]))
        problems += _problems(check_contents, seen, split != "validation")
    if len(datasets) > 1:
        problems += _problems(check_splits, *datasets.values())
    if problems:
        raise ValueError("\n".join(problems))
    return 1 if damaged else 0


def _open(options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """The splits that are there by name, and why another cannot be opened. One that is not there at all is only said.

    Raises ValueError as `open_for_task` does if none is there, and for labels that can be read in several ways.
    """
    splits = splits_of(root_of(OWN, options.data)) if options.dataset == OWN else SPLITS
    said, opened = replace(label_options(options), skip_damaged=True), dict[str, Any]()
    absent, problems = list[str](), list[str]()
    for split in [options.split] if options.split else splits:
        try:
            dataset: Any = open_for_task(options.dataset, options.data, split, said=said)
        except AmbiguousLabels:
            raise
        except MissingSplit as error:
            absent.append(f"{split}: {error}")
            continue
        except ValueError as error:
            problems.append(str(error))
            continue
        opened[split] = dataset if options.pictures is None else first_pictures(dataset, options.pictures)
    if not opened:
        raise ValueError([*problems, *absent][0])
    print("".join(f"{line}\n" for line in absent), end="")
    return opened, problems


def _draw(seen: Seen, whole: list[int], path: Path) -> Path:
    """Write the sheet of a split."""
    maps = seen.dataset
    pairs = [Labelled(maps.name(index), maps.picture(index), maps.label_map(index)) for index in spread(whole, _SHOWN)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as draft:
        draw_sheet(pairs, maps.label_set, seen.counts).save(draft, "PNG")
    return path


def _problems(check: Any, *what: Any) -> list[str]:
    try:
        check(*what)
    except ValueError as error:
        return [str(error)]
    return []

"""`evaluate`: the figures of a model, or of predictions in a folder, on a dataset.

Label maps get aAcc, mIoU and mAcc; panoptic maps PQ, SQ and RQ; instances box and mask AP.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import ms_seg
from ms_seg.commands.device import (
    add_batch_size,
    add_device,
    add_mode,
    add_precision,
    add_sizes,
    padded_line,
    set_up_device,
)
from ms_seg.commands.labels import add_label_options, drawing_readings, label_options
from ms_seg.commands.override import add_choice, add_override
from ms_seg.data.datasets import DATASETS, DRAWN, open_for_task, task_of
from ms_seg.data.numbering import from_record
from ms_seg.data.own_folder import OWN, TEST
from ms_seg.data.semantic import SPLITS
from ms_seg.distributed import start
from ms_seg.evaluation.evaluator import check_task, evaluate, max_outputs
from ms_seg.evaluation.predictions import CachedPredictions
from ms_seg.evaluation.report import write_report
from ms_seg.evaluation.results import Results
from ms_seg.evaluation.semantic.instance_iou import instances_of
from ms_seg.evaluation.tally import TallyFiles, file_stamp
from ms_seg.evaluation.tasks import TASKS
from ms_seg.hub import choose_model
from ms_seg.presets import Preset, Window

if TYPE_CHECKING:
    from ms_seg.inference import Segmenter
    from ms_seg.systems import Model

# Options that --predictions does without.
_OF_A_MODEL = ("model", "checkpoint", "tta", "slide", "save_predictions", "vocab", "override", "sizes")


def add(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.usage = "%(prog)s --dataset NAME [--data DIR] [--model NAME] [--checkpoint FILE] [--output DIR] [option ...]"
    parser.add_argument("--model", metavar="NAME", help="see `models`; with --checkpoint the file says it by default")
    parser.add_argument("--checkpoint", metavar="FILE", help="the weights, as published for PyTorch or converted")
    parser.add_argument(
        "--dataset", choices=DATASETS, required=True, metavar="NAME",
        help=f"whose layout --data has: {', '.join(DATASETS)}",
    )  # fmt: skip
    parser.add_argument("--data", metavar="DIR", help="where the dataset lies; what is drawn needs none")
    add_label_options(parser)
    parser.add_argument(
        "--split", choices=(*SPLITS, TEST), default="validation",
        help=f"{TEST} is of --dataset {OWN}, in folders of that name (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--output", metavar="DIR", default="evaluation", help="where to write (default: %(default)s)")
    parser.add_argument("--tta", action="store_true", help="average over six scales and mirror images")
    parser.add_argument("--slide", action="store_true", help="run the network on overlapping windows of its input")
    parser.add_argument("--crop", type=int, metavar="N", help="side of a window (default: the model's short side)")
    parser.add_argument("--stride", type=int, metavar="N", help="how far a window moves (default: two thirds of it)")
    parser.add_argument("--save-predictions", metavar="DIR", help="write them: PNG files, of panoptic maps JSON too")
    parser.add_argument(
        "--predictions", metavar="PATH",
        help="score such files, without a model: a folder; of panoptic maps and instances, COCO's JSON file",
    )  # fmt: skip
    parser.add_argument("--vocab", metavar="FILE", help="of a model that takes words, CLIP's vocabulary or its folder")
    add_batch_size(parser)
    add_sizes(parser)
    add_override(parser)
    add_choice(parser)
    add_device(parser)
    add_mode(parser)
    add_precision(parser)


def run(options: argparse.Namespace) -> int:
    """Count, then print and write the figures; under msrun, each process counts its share and rank 0 reports."""
    _check(options)
    task = task_of(options.dataset)
    row = TASKS[task]
    output = Path(options.output)
    if options.predictions:
        dataset = _open(options, None)
        outputs = max_outputs(options.dataset, dataset.label_set)
        predictions = CachedPredictions(row.from_files(Path(options.predictions), dataset, outputs))
        world = start(options.device)
        tally = evaluate(dataset, predictions, row.tally(dataset), world)
        if world.rank == 0:
            _report(output, row.results(tally, dataset, predictions), dataset, _about(options, None))
        return 0
    model, checkpoint = choose_model(options.model, options.checkpoint)
    set_up_device(options.device, options.full_float32)
    world = start(options.device)
    cell = ms_seg.create_model(model, checkpoint, weights=options.weights, drop=options.drop, **dict(options.override))
    check_task(cell.preset.tasks, task, cell.preset.name)
    dataset = _open(options, cell.preset)
    segmenter = ms_seg.Segmenter(
        cell,
        options.mode,
        _window(options, cell.preset),
        options.tta,
        options.vocab,
        task,
        options.batch_size,
        precision=options.precision,
        sizes=options.sizes,
    )
    dataset, segment = segmenter.for_dataset(dataset)
    about = _about(options, segmenter)
    folder = Path(options.save_predictions) if options.save_predictions else None
    made = row.from_model(segment, dataset, folder)
    predictions = CachedPredictions(made)
    kept = TallyFiles(output, {**about, **_identity(options, cell, dataset)}, _stamps(dataset))
    try:
        tally = evaluate(dataset, predictions, row.tally(dataset), world, kept)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped: the same command goes on with the pictures that are left") from None
    padded = int(world.sum(np.array(segmenter.padded)))
    if world.rank == 0:
        _report(output, row.results(tally, dataset, predictions), dataset, about)
        if padded and options.sizes:
            print(padded_line(padded))
        made.finish(tally)
        kept.finish()
    return 0


def _open(options: argparse.Namespace, preset: Preset | None) -> Any:
    """The dataset, its labels read as the model learned to read them, where it has learned from a person's own."""
    said = label_options(options)
    if preset is not None and preset.label_values is not None:
        said = replace(said, recorded=from_record(preset.label_values))
    with drawing_readings(Path(options.output)):
        return open_for_task(options.dataset, options.data, options.split, preset is not None, said)


def _check(options: argparse.Namespace) -> None:
    """Raise ValueError for options that contradict each other."""
    if options.predictions:
        for name in _OF_A_MODEL:
            if getattr(options, name):
                raise ValueError(f"--predictions scores files without a model: leave out --{name.replace('_', '-')}")
    if options.data and options.dataset in DRAWN:
        raise ValueError(f"{options.dataset} is drawn and lies in no folder: leave out --data {options.data}")
    if not options.slide and (options.crop or options.stride):
        raise ValueError("--crop and --stride belong to --slide: add it, or leave them out")


def _window(options: argparse.Namespace, preset: Preset) -> Window | None:
    """mmsegmentation's windows on a model trained with crops of 512 move by 341, two thirds."""
    if not options.slide:
        return None
    side = preset.preprocessing.short_side
    published = preset.window or Window(side, max(1, side * 2 // 3))
    if not options.crop and not options.stride:
        return published
    crop = options.crop or published.crop
    stride = options.stride or (max(1, crop * 2 // 3) if options.crop else published.stride)
    return Window(crop, stride, published.exact)


def _about(options: argparse.Namespace, segmenter: Segmenter | None) -> dict[str, Any]:
    """What was evaluated, for the report."""
    about = {"dataset": options.dataset, "split": options.split}
    if segmenter is None:
        return {"predictions": options.predictions, **about}
    shown = segmenter.window
    window: dict[str, Any] | None = {"crop": shown.crop, "stride": shown.stride} if shown else None
    if window and shown and shown.across:
        window["across"] = shown.across
    made_by = {"model": segmenter.preset.name, "checkpoint": options.checkpoint}
    if options.sizes:
        made_by["sizes"] = [list(size) for size in options.sizes]
    if options.override:
        made_by["override"] = dict(options.override)
    if options.precision != "float32":
        made_by["precision"] = options.precision
    return {**made_by, **about, "tta": options.tta, "slide": window}


def _identity(options: argparse.Namespace, cell: Model, dataset: Any) -> dict[str, Any]:
    """What else an interrupted evaluation must share with the one that goes on: the weights and the pictures."""
    names = "\n".join(dataset.name(index) for index in range(len(dataset)))
    return {
        "version": ms_seg.__version__,
        "preset": repr(cell.preset),
        "weights": _digest(cell),
        "device": options.device,
        "mode": options.mode,
        "data": str(Path(options.data).resolve()) if options.data else None,
        "names": hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest(),
        "classes": list(dataset.label_set.names),
        "save_predictions": str(Path(options.save_predictions).resolve()) if options.save_predictions else None,
    }


def _digest(cell: Model) -> str:
    """Of the weights, whatever file they came from."""
    digest = hashlib.blake2b(digest_size=16)
    for parameter in sorted(cell.get_parameters(), key=lambda parameter: parameter.name):
        digest.update(parameter.name.encode())
        digest.update(np.ascontiguousarray(parameter.asnumpy()).data)
    return digest.hexdigest()


def _stamps(dataset: Any) -> np.ndarray:
    """(N,) uint64, see `TallyFiles`; what is drawn from a seed has no files, and does not change."""
    things = instances_of(dataset)
    more = [() if things is None else (things.map_file(index),) for index in range(len(dataset))]
    return np.array([file_stamp(*dataset.paths(index), *files) for index, files in enumerate(more)], np.uint64)


def _report(output: Path, results: Results, dataset: Any, about: dict[str, Any]) -> None:
    write_report(output, results, dataset, about)
    print(results.table)
    print(f"{len(dataset)} pictures of {about['dataset']} ({about['split']}): metrics.json and more in {output}")

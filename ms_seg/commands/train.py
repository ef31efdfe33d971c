"""`train`: a model on a dataset by its published recipe, every number of which is an option."""

from __future__ import annotations

import argparse
import logging
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import ms_seg
from ms_seg.commands.beginning import find_beginning
from ms_seg.commands.device import add_device, set_up_device
from ms_seg.commands.labels import (
    add_label_options,
    drawing_readings,
    label_options,
    naming_skip_damaged,
    without_damaged,
)
from ms_seg.commands.override import add_choice, add_override
from ms_seg.commands.parser import Parser
from ms_seg.commands.resumed import as_tuple, find_finished, find_run, known_labels, recorded, refuse_moved
from ms_seg.data.class_balance import median_frequency
from ms_seg.data.datasets import DATASETS, DRAWN, open_for_task, task_of
from ms_seg.data.preflight import ALLOWED, check_splits
from ms_seg.data.readings import LabelOptions
from ms_seg.data.semantic import first_pictures
from ms_seg.distributed import start
from ms_seg.presets import PRESETS, Preset
from ms_seg.presets.former_names import FORMER_RECIPE
from ms_seg.presets.recipe import GROUPS, Recipe, check_warmup, shortened, steps_of, without_effect

Source = tuple[str, str | None]  # a dataset's name, and the folder it lies in

_MAX_WORKERS = 8
_BALANCED = "median-frequency"
_NUMBERS = tuple(field.name for field in fields(Recipe))


def add(parser: Parser) -> None:
    """What the command takes."""
    parser.usage = "%(prog)s --dataset NAME --output RUN [--model NAME] [--checkpoint FILE] [--data DIR] [option ...]"
    model, data, run = map(parser.add_argument_group, ("model and weights", "data", "run"))
    model.add_argument(
        "--model", metavar="NAME", help="see `models`, or a hub's name; with --checkpoint the file says it by default"
    )
    add_override(model)
    add_choice(model)
    model.add_argument(
        "--checkpoint", metavar="FILE", action="append", default=[],
        help="weights to begin with, of any classes or a backbone's; several files, if each holds a part",
    )  # fmt: skip
    model.add_argument("--vocab", metavar="FILE", help="of a model that takes words, CLIP's vocabulary or its folder")
    data.add_argument(
        "--dataset", choices=DATASETS, action="append", default=[], metavar="NAME",
        help=f"whose layout --data has: {', '.join(DATASETS)}; a model that takes words learns from several",
    )  # fmt: skip
    data.add_argument(
        "--data", metavar="DIR", action="append", default=[],
        help="where the dataset lies, in the order of those that do; what is drawn needs none",
    )  # fmt: skip
    add_label_options(data)
    data.add_argument(
        "--allow", choices=ALLOWED, action="append", default=[],
        help="what would be refused: classes that no training picture shows, pictures that are in both splits",
    )  # fmt: skip
    data.add_argument(
        "--skip-damaged", action="store_true",
        help="read every picture and label file first, and leave out those that cannot be read",
    )  # fmt: skip
    data.add_argument("--pictures", metavar="N", type=_count, help="take the first N of each split alone, to try out")
    run.add_argument("--output", metavar="RUN", required=True, type=Path, help="the run's folder")
    run.add_argument("--resume", action="store_true", help="go on with the run in that folder, by its own options")
    run.add_argument("--tensorboard", action="store_true", help="write for TensorBoard too, into RUN/tensorboard")
    run.add_argument(
        "--workers",
        metavar="N",
        type=_count,
        default=default_workers(os.cpu_count() or 1),
        help="processes that load pictures; with 0 a thread does (default: two less than cores, at most "
        f"{_MAX_WORKERS}; here %(default)s)",
    )
    add_device(run)
    actions: dict[str, argparse.Action] = {}
    numbers = run
    for name, hint in get_type_hints(Recipe, include_extras=True).items():
        kind, text = get_args(hint)
        values = _values(kind)
        if name in GROUPS:
            numbers = parser.add_argument_group(f"recipe: {GROUPS[name]}")
        if name == "steps":
            numbers.description = (
                "the defaults are the model's published recipe: those shown are SegFormer's, or those of --model NAME "
                "where it stands before --help"
            )
            numbers.add_argument(
                "--epochs", type=_positive, metavar="N", help="how often each picture is shown, for --steps"
            )
        if name == "ce_class_weight":
            text, values["type"] = f"{text}; or {_BALANCED}: from how often each class is met", _weights
        actions[name] = numbers.add_argument(_option(name), help=text, **values)
        for former in (former for former, now in FORMER_RECIPE.items() if now == name):
            numbers.add_argument(_option(former), dest=name, help=argparse.SUPPRESS, **_values(kind))
    parser.prepare_help = partial(_show_defaults, actions)


def _show_defaults(actions: Mapping[str, argparse.Action], known: argparse.Namespace) -> None:
    """Say of each number what it is in the recipe of the model that is named, if one is."""
    recipe = PRESETS[known.model].recipe if known.model in PRESETS else Recipe()
    for name, action in actions.items():
        value = getattr(recipe, name)
        shown = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        shown = shown.lower() if isinstance(value, bool) else shown
        action.help = f"{action.help} (default: {shown or 'none'})".replace("%", "%%")


def default_workers(cores: int) -> int:
    """How many processes load pictures: as many as there are cores left beside the two that a thread makes do with.

    On two cores of a CPU a worker only takes them from the operators, and a picture costs more: 17.7 ms instead of the
    9.7 ms of the thread (ADE20K, crops of 512).
    """
    return min(max(cores - 2, 0), _MAX_WORKERS)


def run(options: argparse.Namespace) -> int:
    """Train to the recipe's last step."""
    can_skip = not options.resume and all(task_of(name) == "semantic" for name in options.dataset or ())
    with naming_skip_damaged() if can_skip else nullcontext():
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    set_up_device(options.device, options.full_float32)
    world = start(options.device)
    import mindspore as ms

    from ms_seg.checkpoints.loading import load_part
    from ms_seg.training.journal import check_tensorboard
    from ms_seg.training.record import files_of, refuse_other_files
    from ms_seg.training.run import train
    from ms_seg.training.tasks import training_task

    if options.tensorboard:
        check_tensorboard()
    begun = find_run(options)
    beginning = find_beginning(options, begun)
    preset = beginning.preset.override(**dict(options.override))
    recipe, lines = _recipe(options, preset, begun)
    said = replace(label_options(options), skip_damaged=options.skip_damaged)
    if begun and not said and (finished := find_finished(options, recipe)):
        if world.rank == 0:
            print(finished)
        return 0
    if begun:
        refuse_moved(options, begun)
    task, *_ = [training_task(preset, task_of(name), name) for name in options.dataset]
    sources = _sources(options)
    said = known_labels(begun, said)
    with drawing_readings(options.output):
        training = [_open(options, source, "training", said) for source in sources]
    known = replace(said, numbering=getattr(training[0], "numbering", None))
    validation = _open(options, sources[0], "validation", known)
    if options.skip_damaged:
        *training, validation = [without_damaged(dataset) for dataset in (*training, validation)]
    recipe, lines = _with_data(options, preset, begun, recipe, lines, [task.learnable(data) for data in training])
    if begun:
        refuse_other_files(options.output, begun.get("files", {}), files_of(training, validation))
    task.check(preset, training, recipe)
    vocabulary = task.find_vocabulary(preset, beginning.vocabulary_beside, options.vocab)  # before large files are read
    overrides = _with(options.override, task.overrides(preset, training[0].label_set, recipe))
    ms.set_seed(recipe.seed)
    logging.disable(logging.WARNING if world.rank or beginning.of_run else logging.NOTSET)  # what is fresh is said once
    model = ms_seg.create_model(
        beginning.model, beginning.first, fine_tune=True, weights=beginning.set, drop=beginning.drop, **overrides
    )
    for part in beginning.others:
        load_part(model, part)
    logging.disable(logging.NOTSET)
    allowed = [*options.allow, *(["missing-classes"] if options.pictures is not None else [])]
    preflight = [task.preflight(dataset, model.preset, True, allowed) for dataset in training]
    lines += beginning.lines
    lines += _preflight_lines(sources, preflight, task.preflight(validation, model.preset, False, allowed))
    check_splits(training[0], validation, allowed)
    if world.rank == 0:
        print("\n".join(lines))
    train(
        model,
        training,
        validation,
        recipe,
        options.output,
        world=world,
        workers=options.workers,
        resume=options.resume,
        tensorboard=options.tensorboard,
        vocab=vocabulary,
        options=recorded(options),
    )
    if world.rank == 0 and (finished := find_finished(options, recipe)):
        print(finished)
    return 0


def _sources(options: argparse.Namespace) -> list[Source]:
    """The datasets by name, each with its folder. Raises ValueError for a folder without a dataset."""
    folders = list(options.data)
    sources = [(name, folders.pop(0) if folders and name not in DRAWN else None) for name in options.dataset]
    if folders:
        raise ValueError(f"no --dataset lies in {folders[0]}: name one for each --data")
    return sources


def _open(options: argparse.Namespace, source: Source, split: str, said: LabelOptions) -> Any:
    dataset: Any = open_for_task(*source, split, said=said)
    return dataset if options.pictures is None else first_pictures(dataset, options.pictures)


def _recipe(options: argparse.Namespace, preset: Preset, begun: Mapping[str, Any] | None) -> tuple[Recipe, list[str]]:
    """The numbers of the run, and lines about those that follow from others.

    Raises ValueError for a number that would change nothing, and for another one than the run was begun with.
    """
    from ms_seg.training.record import refuse_others

    given = {name: value for name in _NUMBERS if (value := getattr(options, name)) not in (None, _BALANCED)}
    if begun:
        numbers = {name: as_tuple(value) for name, value in begun["recipe"].items()}
        recipe = Recipe(**{**numbers, **given})
        refuse_others(options.output, begun, {"recipe": asdict(recipe)})
        return recipe, []
    recipe, follows = shortened(preset.recipe, given)
    check_warmup(recipe)
    idle = without_effect(recipe, preset.output)
    for name in given:
        if name in idle:
            raise ValueError(f"{_option(name)} would change nothing for {preset.name}: {idle[name]}")
    lines = ["crops are squares, for --crop-width is not given"] if "crop_width" in follows else []
    told = " and ".join(f"{_option(name)} {value}" for name, value in follows.items() if name != "crop_width")
    if told:
        lines.append(f"{recipe.steps} steps instead of the recipe's {preset.recipe.steps}, and so {told}")
    return recipe, lines


def _with_data(
    options: argparse.Namespace,
    preset: Preset,
    begun: Mapping[str, Any] | None,
    recipe: Recipe,
    lines: list[str],
    training: Sequence[Any],
) -> tuple[Recipe, list[str]]:
    """The same once the pictures to train on are known: with the steps of --epochs, and weights of classes by their
    frequencies."""
    if options.epochs is None and options.ce_class_weight != _BALANCED:
        return recipe, lines
    if options.epochs is not None:
        if options.steps is not None:
            raise ValueError("--epochs and --steps say the same in two ways: pass one of them")
        options.steps = steps_of(options.epochs, [len(dataset) for dataset in training], recipe.batch_size)
    if options.ce_class_weight == _BALANCED:
        if preset.output != "logits":
            raise ValueError(f"--ce-class-weight would change nothing for {preset.name}: it is for logits of classes")
        from ms_seg.training.tasks.row import classes_of

        outputs = classes_of(preset, training[0].label_set)["num_classes"]
        options.ce_class_weight = median_frequency(training[0], outputs)
    recipe, lines = _recipe(options, preset, begun)
    epochs = [] if options.epochs is None else [f"{options.epochs:g} epochs are {recipe.steps} steps"]
    return recipe, epochs + lines


def _with(overrides: Sequence[tuple[str, Any]], following: Mapping[str, Any]) -> dict[str, Any]:
    """A person's overrides and those that follow from the data. Raises ValueError for a field that is in both."""
    for field, _ in overrides:
        if field in following:
            raise ValueError(f"{field} cannot be overridden: it follows from the dataset and the recipe")
    return {**following, **dict(overrides)}


def _preflight_lines(sources: Sequence[Source], training: Sequence[list[str]], validation: list[str]) -> list[str]:
    """What preflight said of the splits to train on, and in a line what else of the other."""
    lines = training[0]
    if len(training) > 1:
        titles = [name if folder is None else f"{name} in {folder}" for name, folder in sources]
        pairs = zip(titles, training, strict=True)
        lines = [line for title, said in pairs for line in (f"{title}:", *(f"  {part}" for part in said))]
    first, *more = validation
    return [*lines, "; ".join([f"validation: {first}", *(line for line in more if line not in training[0])])]


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _values(kind: Any) -> dict[str, Any]:
    """What argparse is told of an option of a type: int, float, str, bool, Literal["a", "b"], or tuple[float, ...]."""
    if get_origin(kind) is tuple:
        return {"type": _numbers, "metavar": "FLOAT,..."}
    if words := get_args(kind):
        return {"choices": words}
    if kind is bool:
        return {"type": _boolean, "metavar": "{true,false}"}
    return {"type": kind, "metavar": kind.__name__.upper()}


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number from 0: {text!r} is not")
    return int(text)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be numbers with commas between them: {text!r} is not") from None


def _weights(text: str) -> tuple[float, ...] | str:
    return text if text == _BALANCED else _numbers(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0: {text!r} is not")
    return value


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"must be true or false: {text!r} is not")
    return text == "true"

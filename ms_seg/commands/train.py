"""`train`: a model on a dataset by its published recipe, every number of which is an option."""

from __future__ import annotations

import argparse
import fcntl
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import ms_seg
from convert.atomic import whole_file
from ms_seg.commands.device import add_device, set_up_device
from ms_seg.commands.override import add_override
from ms_seg.data.datasets import DRAWN, PANOPTIC, open_for_task, task_of
from ms_seg.data.panoptic import PanopticDataset
from ms_seg.data.preflight import preflight, preflight_panoptic
from ms_seg.data.semantic import DATASETS as SEMANTIC
from ms_seg.data.semantic import SemanticDataset, first_pictures
from ms_seg.distributed import World, start
from ms_seg.label_sets import LabelSet, labels_of
from ms_seg.presets import Preset, find_preset
from ms_seg.presets.recipe import Recipe
from ms_seg.text.vocabulary import find_vocabulary

OPTIONS = "options.json"

Dataset = SemanticDataset | PanopticDataset
Source = tuple[str, str | None]  # a dataset's name, and the folder it lies in

_MOST_WORKERS = 8


def add(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--model", metavar="NAME", required=True, help="see `models`")
    add_override(parser)
    parser.add_argument(
        "--checkpoint", metavar="FILE", action="append", default=[],
        help="weights to begin with, of any classes or a backbone's; several files, if each holds a part",
    )  # fmt: skip
    parser.add_argument("--vocab", metavar="FILE", help="of a model that takes words, CLIP's vocabulary or its folder")
    parser.add_argument(
        "--dataset", choices=(*SEMANTIC, *PANOPTIC), action="append", required=True,
        help="whose layout --data has; a model that takes words learns from several",
    )  # fmt: skip
    parser.add_argument(
        "--data", metavar="DIR", action="append", default=[],
        help="where the dataset lies, in the order of those that do; what is drawn needs none",
    )  # fmt: skip
    parser.add_argument("--pictures", metavar="N", type=_count, help="take the first N of each split alone, to try out")
    parser.add_argument("--output", metavar="RUN", required=True, type=Path, help="the run's folder")
    parser.add_argument("--resume", action="store_true", help="go on with the run in that folder")
    parser.add_argument("--tensorboard", action="store_true", help="write for TensorBoard too, into RUN/tensorboard")
    parser.add_argument(
        "--workers",
        metavar="N",
        type=_count,
        default=default_workers(os.cpu_count() or 1),
        help="processes that load pictures; with 0 a thread does (default: two less than cores, at most "
        f"{_MOST_WORKERS}; here %(default)s)",
    )
    add_device(parser)
    numbers = parser.add_argument_group("recipe", "the defaults are the model's published recipe")
    for name, hint in get_type_hints(Recipe, include_extras=True).items():
        kind, text = get_args(hint)
        numbers.add_argument(f"--{name.replace('_', '-')}", help=text, **_values(kind))


def default_workers(cores: int) -> int:
    """How many processes load pictures: as many as there are cores left beside the two that a thread makes do with.

    On two cores of a CPU a worker only takes them from the operators, and a picture costs more: 17.7 ms instead of the
    9.7 ms of the thread (ADE20K, crops of 512).
    """
    return min(max(cores - 2, 0), _MOST_WORKERS)


def run(options: argparse.Namespace) -> int:
    """Train to the recipe's last step."""
    import mindspore as ms

    from ms_seg.checkpoints.loading import load_part
    from ms_seg.training.checkpoints import Checkpoints
    from ms_seg.training.tensorboard import check_tensorboard

    if options.tensorboard:
        check_tensorboard()
    set_up_device(options.device)
    world = start(options.device)
    preset = find_preset(options.model)
    sources = _sources(options, preset)
    first, *others = options.checkpoint or [None]
    if preset.output == "words":
        find_vocabulary(options.vocab, first, preset.embedded)  # for what it raises, before large files are read
    training = [_open(options, source, "training", preset) for source in sources]
    validation = _open(options, sources[0], "validation", preset)
    recipe = _recipe(options, preset)
    ms.set_seed(recipe.seed)
    logging.disable(logging.WARNING if world.rank or options.resume else logging.NOTSET)  # what is fresh is said once
    model = ms_seg.create_model(
        options.model, first, fine_tune=True, **_changes(options, preset, recipe, training[0].label_set)
    )
    for part in others:
        load_part(model, part)
    logging.disable(logging.NOTSET)
    lines = _look_at(sources, training, validation, model.preset.num_classes)
    if world.rank == 0:
        print("\n".join(lines))
    _open_run(options, recipe, world)
    how = {"workers": options.workers, "resume": options.resume, "tensorboard": options.tensorboard}
    with _sole_trainer(options.output) if world.rank == 0 else nullcontext():
        try:
            if preset.output == "words":
                from ms_seg.training.tasks.words import train_on_words

                train_on_words(model, training, validation, recipe, options.output, world, options.vocab, **how)
            elif _task(preset) == "panoptic":
                from ms_seg.training.tasks.panoptic import train_panoptic

                train_panoptic(model, training[0], validation, recipe, options.output, world, **how)
            else:
                from ms_seg.training.tasks.semantic import train_semantic

                train_semantic(model, training[0], validation, recipe, options.output, world, **how)
        except BaseException:
            if not Checkpoints(options.output, recipe.keep).newest():  # over a broken picture, say: it may begin again
                (options.output / OPTIONS).unlink(missing_ok=True)
            raise
    return 0


def _sources(options: argparse.Namespace, preset: Preset) -> list[Source]:
    """The datasets by name, each with its folder. Raises ValueError for what the model cannot learn from."""
    if not (preset.output == "words") and (len(options.dataset) > 1 or options.vocab):
        given = "--vocab" if options.vocab else f"{len(options.dataset)} datasets"
        raise ValueError(f"{preset.name} has classes of its own: {given} are for a model that takes words, as lseg_*")
    for name in options.dataset:
        if task_of(name) != _task(preset):
            raise ValueError(f"{preset.name} learns {_task(preset)} segmentation, and {name} is for {task_of(name)}")
    folders = list(options.data)
    sources = [(name, folders.pop(0) if folders and name not in DRAWN else None) for name in options.dataset]
    if folders:
        raise ValueError(f"no --dataset lies in {folders[0]}: name one for each --data")
    return sources


def _task(preset: Preset) -> str:
    """What a model learns; the other answers that it has follow from it."""
    return preset.tasks[0]


def _open(options: argparse.Namespace, source: Source, split: str, preset: Preset) -> Dataset:
    dataset = open_for_task(*source, split)
    if preset.output == "words":
        dataset = dataset.in_words()
    return dataset if options.pictures is None else first_pictures(dataset, options.pictures)


def _look_at(
    sources: Sequence[Source], training: Sequence[Dataset], validation: Dataset, outputs: int | None
) -> list[str]:
    """What preflight says of the splits to train on, and in a line what else of the other. Raises as it does.

    outputs: of the model; None where they are the dataset's own classes.
    """
    look = preflight_panoptic if task_of(sources[0][0]) == "panoptic" else preflight
    of_each = [look(dataset, outputs or len(dataset.label_set)) for dataset in training]
    lines = of_each[0]
    if len(of_each) > 1:
        titles = [name if folder is None else f"{name} in {folder}" for name, folder in sources]
        lines = [f"{title}: {'; '.join(said)}" for title, said in zip(titles, of_each, strict=True)]
    first, *more = look(validation, outputs or len(validation.label_set))
    return [*lines, "; ".join([f"validation: {first}", *(line for line in more if line not in of_each[0])])]


def _changes(options: argparse.Namespace, preset: Preset, recipe: Recipe, labels: LabelSet) -> dict[str, Any]:
    """What the model has otherwise than its preset. Raises ValueError for an override of what follows from the data."""
    changes = {} if (preset.output == "words") else _classes(preset, labels)
    if not (preset.output == "words") and _task(preset) == "semantic":
        # Pictures are validated at the scale they are trained at.
        changes |= {"short_side": recipe.short_side, "long_side": recipe.long_side}
    for field, value in options.override:
        if field in changes:
            raise ValueError(f"{field} cannot be overridden: it follows from the dataset and the recipe")
        changes[field] = value
    return changes


def _classes(preset: Preset, labels: LabelSet) -> dict[str, Any]:
    """Outputs and labels of a model for the classes of a dataset: its own where it was published for them."""
    published = labels_of(preset.label_set)
    if published and published.names == labels.names:
        return {"num_classes": preset.num_classes, "label_set": preset.label_set}
    return {"num_classes": len(labels), "label_set": labels}


def _open_run(options: argparse.Namespace, recipe: Recipe, world: World) -> None:
    """Record the options in the run's folder, or check that they are those it was begun with.

    Raises ValueError for a folder that holds a run and is not to be resumed, and for a run with other options.
    """
    chosen = {"model": options.model, "overrides": dict(options.override), "pictures": options.pictures}
    chosen |= {key: _one_or_all(getattr(options, key)) for key in ("checkpoint", "dataset", "data")}
    recorded = json.dumps({**chosen, "recipe": asdict(recipe)}, indent=1)
    path = options.output / OPTIONS
    begun = path.is_file()
    world.barrier()  # nobody writes before all have looked
    if begun:
        before = json.loads(path.read_text())
        if not options.resume:
            raise ValueError(f"{options.output} holds a run: go on with --resume, or choose another folder")
        before, now = _all_options(before), _all_options(json.loads(recorded))
        other = [f"{key} {before.get(key)}, not {now[key]}" for key in now if before.get(key) != now[key]]
        if other:
            raise ValueError(f"{options.output} was begun with {'; '.join(other)}")
    elif world.rank == 0:
        options.output.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as draft:
            draft.write_text(recorded + "\n")
    world.barrier()


def _all_options(record: dict[str, Any]) -> dict[str, Any]:
    """Of a run; what there was no option for when it was begun is at its default."""
    defaults = json.loads(json.dumps(asdict(Recipe())))  # as they are recorded
    return {"overrides": {}, **defaults, **record.pop("recipe"), **record}


@contextmanager
def _sole_trainer(run: Path) -> Iterator[None]:
    """Hold the run's folder until the block, or the process, ends; ValueError if another process holds it."""
    with (run / OPTIONS).open() as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another process is training the run in {run}") from None
        yield


def _recipe(options: argparse.Namespace, preset: Preset) -> Recipe:
    given = {field.name: getattr(options, field.name) for field in fields(Recipe)}
    return replace(preset.recipe, **{key: value for key, value in given.items() if value is not None})


def _values(kind: Any) -> dict[str, Any]:
    """What argparse is told of an option of a type: int, float, str, bool, some words, Literal["a", "b"], or several
    numbers, tuple[float, ...]."""
    if get_origin(kind) is tuple:
        return {"type": _numbers, "metavar": "FLOAT,..."}
    if words := get_args(kind):
        return {"choices": words}
    if kind is bool:
        return {"type": _boolean, "metavar": "{true,false}"}
    return {"type": kind, "metavar": kind.__name__.upper()}


def _one_or_all(values: list[str]) -> str | list[str] | None:
    """What an option that may stand several times is recorded as."""
    return values if len(values) > 1 else values[0] if values else None


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0")
    return int(text)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not numbers with commas between them") from None


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text == "true"

"""`train`: a model on a dataset by its published recipe, every number of which is an option."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import ms_seg
from convert.atomic import whole_file
from ms_seg.commands.device import add_device, set_up_device
from ms_seg.data.labels import LabelSet, read_labels
from ms_seg.data.preflight import preflight
from ms_seg.data.semantic import open_dataset
from ms_seg.distributed import World, start
from ms_seg.presets import Preset, find_preset
from ms_seg.training.recipe import Recipe, recipe_for

OPTIONS = "options.json"


def add(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--model", metavar="NAME", required=True, help="see `models`")
    parser.add_argument("--checkpoint", metavar="FILE", help="weights to begin with; a backbone's alone will do")
    parser.add_argument("--dataset", metavar="NAME", required=True, help="ade20k, cocostuff164k, folder or shapes")
    parser.add_argument("--data", metavar="DIR", help="the folder the dataset is published in")
    parser.add_argument("--output", metavar="RUN", required=True, type=Path, help="the run's folder")
    parser.add_argument("--resume", action="store_true", help="go on with the run in that folder")
    parser.add_argument("--workers", metavar="N", type=int, default=2, help="processes that load pictures")
    add_device(parser)
    numbers = parser.add_argument_group("recipe", "the defaults are the model's published recipe")
    for field in fields(Recipe):
        kind = _boolean if field.type == "bool" else {"int": int, "float": float, "str": str}[field.type]
        numbers.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=None, metavar=field.type.upper())


def run(options: argparse.Namespace) -> int:
    """Train to the recipe's last step."""
    import mindspore as ms

    from ms_seg.training.semantic import train_semantic

    set_up_device(options.device)
    world = start(options.device)
    training, validation = (open_dataset(options.dataset, options.data, split) for split in ("training", "validation"))
    preset = find_preset(options.model)
    recipe = _recipe(options, preset)
    ms.set_seed(recipe.seed)
    changes = _classes(preset, training.label_set)
    # Pictures are validated at the scale they are trained at.
    changes |= {"short_side": recipe.short_side, "long_side": recipe.long_side}
    model = ms_seg.create_model(options.model, options.checkpoint, **changes)
    lines = preflight(training, model.preset.arguments["num_classes"])
    if world.rank == 0:
        print("\n".join(lines))
    _open_run(options, recipe, world)
    train_semantic(model, training, validation, recipe, options.output, world, options.workers, options.resume)
    return 0


def _classes(preset: Preset, labels: LabelSet) -> dict[str, Any]:
    """What must change of a model for the classes of a dataset: nothing where it was made for them."""
    if preset.label_set and read_labels(preset.label_set).names == labels.names:
        return {}
    return {"num_classes": len(labels)}


def _open_run(options: argparse.Namespace, recipe: Recipe, world: World) -> None:
    """Record the options in the run's folder, or check that they are those it was begun with.

    Raises ValueError for a folder that holds a run and is not to be resumed, and for a run with other options.
    """
    chosen = {key: getattr(options, key) for key in ("model", "checkpoint", "dataset", "data")}
    recorded = {**chosen, "recipe": asdict(recipe)}
    path = options.output / OPTIONS
    begun = path.is_file()
    world.barrier()  # nobody writes before all have looked
    if begun:
        before = json.loads(path.read_text())
        if not options.resume:
            raise ValueError(f"{options.output} holds a run: go on with --resume, or choose another folder")
        before, now = {**before, **before.pop("recipe")}, {**chosen, **asdict(recipe)}
        other = [f"{key} {before.get(key)}, not {now[key]}" for key in now if before.get(key) != now[key]]
        if other:
            raise ValueError(f"{options.output} was begun with {'; '.join(other)}")
    elif world.rank == 0:
        options.output.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as draft:
            draft.write_text(json.dumps(recorded, indent=1) + "\n")
    world.barrier()


def _recipe(options: argparse.Namespace, preset: Preset) -> Recipe:
    given = {field.name: getattr(options, field.name) for field in fields(Recipe)}
    return replace(recipe_for(preset), **{key: value for key, value in given.items() if value is not None})


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text == "true"

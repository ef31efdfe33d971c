"""`build_trainer`: a model, a dataset and a recipe, trained as `python -m ms_seg train` trains."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convert.reading.folder import described_file, read_json
from ms_seg.checkpoints import modelscope as configuration
from ms_seg.commands import train as command
from ms_seg.commands.parser import Parser
from ms_seg.data.datasets import open_for_task
from ms_seg.data.own_folder import OWN
from ms_seg.distributed import processes
from ms_seg.hub import choose_model, on_this_machine
from ms_seg.modelscope.constants import Trainers
from ms_seg.modelscope.msdatasets import MsDataset
from ms_seg.modelscope.pipelines import checkpoint_of, open_model
from ms_seg.presets import PRESETS, Preset, find_preset
from ms_seg.presets.recipe import steps_of

# What EasyCV's configurations call the numbers of a recipe.
_EPOCHS, _PICTURES = "train.max_epochs", "train.dataloader.batch_size_per_gpu"
_RECIPE = {
    "train.optimizer.lr": "learning_rate",
    "train.optimizer.weight_decay": "weight_decay",
    "train.optimizer.options.weight_decay": "weight_decay",
    "train.lr_scheduler.warmup_ratio": "warmup_ratio",
    "train.lr_scheduler.warmup_iters": "warmup_steps",
    "train.lr_scheduler.power": "power",
}
# Those that a model's own configuration.json is asked for, and what EasyCV's configurations of SegFormer and of
# Mask2Former say, for models without one. EasyCV's batches of 16 are those of eight processes.
_OF_FOLDERS = (_EPOCHS, _PICTURES, "train.optimizer.lr", "train.optimizer.weight_decay")
_EPOCHS_BY_OUTPUT, _PER_PROCESS = {"logits": 20, "queries": 50}, 2
_WITHOUT_EFFECT = ("evaluation.dataloader.batch_size_per_gpu", "train.hooks", "model.decode_head.norm_cfg.type")


def build_trainer(name: str | None = None, default_args: Mapping[str, Any] | None = None) -> Trainer:
    """A trainer of what `default_args` name, as ModelScope's function of that name gives one.

    Args:
        name: `Trainers.easycv`, or None.
        default_args: model, as `pipeline` takes it, but by a name; train_dataset and eval_dataset, as `MsDataset.load`
            gives them; work_dir, the run's folder; and if need be seed, max_epochs and cfg_options, numbers by the
            dotted names of EasyCV's configurations. Epochs and the pictures of each process are otherwise those of the
            model's configuration.json, or EasyCV's: 20 epochs for SegFormer, 50 for Mask2Former, 2 pictures.

    Raises ValueError for another trainer, for what is missing or not known, and for datasets of two folders.
    """
    if name not in (None, Trainers.easycv):
        raise ValueError(f"there is no trainer {name!r}: {Trainers.easycv} trains SegFormer and Mask2Former")
    return Trainer(**(default_args or {}))


class Trainer:
    """What `build_trainer` gives."""

    def __init__(
        self,
        model: str | os.PathLike[str] = "",
        train_dataset: MsDataset | None = None,
        eval_dataset: MsDataset | None = None,
        work_dir: str | os.PathLike[str] = "work_dir",
        cfg_options: Mapping[str, Any] | None = None,
        max_epochs: int | None = None,
        seed: int | None = None,
        model_revision: str | None = None,
        trust_remote_code: bool = False,
    ):
        if not model:
            raise ValueError("model must be named: it is what is trained")
        self._model, self._revision, self._work_dir = model, model_revision, Path(work_dir)
        self._folder = _folder(train_dataset, eval_dataset)
        self._dataset = _layout(self._folder)
        self._recipe, self._counts = _numbers(cfg_options or {})
        if max_epochs is not None:
            self._counts = {**_numbers({_EPOCHS: max_epochs})[1], **self._counts}
        if seed is not None:
            self._recipe["seed"] = seed

    def train(self, checkpoint_path: str | os.PathLike[str] | None = None) -> None:
        """Train to the last epoch, from the model's weights or from those of a file; see `python -m ms_seg train`.

        The run's folder is as that command leaves it: the best and the newest checkpoints, and a journal of losses and
        scores. Raises as the command does.
        """
        preset, checkpoint = _begun_with(checkpoint_of(self._model, self._revision))
        if preset.output not in _EPOCHS_BY_OUTPUT:
            raise ValueError(f"{Trainers.easycv} trains SegFormer and Mask2Former: {preset.name} is neither")
        recipe, counts = _said_in(checkpoint)
        recipe, counts = recipe | self._recipe, counts | self._counts
        epochs, pictures = counts.get(_EPOCHS, _EPOCHS_BY_OUTPUT[preset.output]), counts.get(_PICTURES, _PER_PROCESS)
        batch_size = pictures * processes()
        steps = steps_of(epochs, [len(open_for_task(self._dataset, self._folder, "training"))], batch_size)
        logging.getLogger("ms_seg").warning(
            "%d epochs, %d pictures a step in each process: %s and %s in cfg_options say otherwise",
            epochs, pictures, _EPOCHS, _PICTURES,
        )  # fmt: skip
        recipe |= {"batch_size": batch_size, "steps": steps, "validate_every": max(1, steps // epochs)}
        arguments = ["--model", preset.name, "--checkpoint", os.fspath(checkpoint_path or checkpoint)]
        arguments += ["--dataset", self._dataset, "--data", str(self._folder), "--output", str(self._work_dir)]
        if self._dataset != OWN:  # as EasyCV: a part of a published dataset does not show all of its classes
            arguments += ["--allow", "missing-classes"]
        for key, value in recipe.items():
            arguments += [f"--{key.replace('_', '-')}", str(value)]
        parser = Parser("train", exit_on_error=False)
        command.add(parser)
        command.run(parser.parse_args(arguments))


def _begun_with(name: str) -> tuple[Preset, Path]:
    """The model of a name, and its weights on this machine."""
    if name in PRESETS:
        known, checkpoint = choose_model(name, None)
        return find_preset(known), Path(checkpoint)
    known, file = on_this_machine("auto", name)
    return find_preset(known) if known != "auto" else open_model(file).preset, Path(file)


def _folder(training: MsDataset | None, validation: MsDataset | None) -> Path:
    if training is None or training.folder is None:
        raise ValueError("train_dataset must be a dataset in a folder, as MsDataset.load gives one")
    if validation is not None and validation.folder != training.folder:
        raise ValueError(
            f"train_dataset and eval_dataset must be splits in one folder: {training.folder} is one, and "
            f"{validation.folder} another"
        )
    return training.folder


def _layout(folder: Path) -> str:
    """The name of the dataset that a folder is laid out as."""
    if any(folder.glob("annotations/panoptic_*.json")):
        return "coco_panoptic"
    if (folder / "labels.txt").is_file():
        return OWN
    if (folder / "ADEChallengeData2016").is_dir() or (folder / "objectInfo150.txt").is_file():
        return "ade20k"
    return "cocostuff164k"


def _said_in(model: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """What the configuration.json beside a model's weights says of a training, as `_numbers` gives it.

    Raises ValueError for one that cannot be read.
    """
    folder = model if model.is_dir() else model.parent
    path = described_file(folder, configuration.FILE)
    if path is None:
        return {}, {}
    config, said = read_json(path), {}
    for key in _OF_FOLDERS:
        value: Any = config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            said[key] = value
    return _numbers(said, f" of {path}")


def _numbers(options: Mapping[str, Any], of: str = "") -> tuple[dict[str, Any], dict[str, int]]:
    """The numbers of a recipe that EasyCV's options mean, and those of them that are counted in another way: of epochs,
    and of pictures in each process.

    Raises ValueError for other options; of: where they stand.
    """
    recipe, counts = {}, {}
    for key, value in options.items():
        if key in (_EPOCHS, _PICTURES):
            if type(value) is not int or value < 1:
                raise ValueError(f"{key}{of} must be a whole number from 1: {value!r} is not")
            counts[key] = value
        elif key in _RECIPE:
            if type(value) not in (int, float):
                raise ValueError(f"{key}{of} must be a number: {value!r} is not")
            recipe[_RECIPE[key]] = value
        elif key in _WITHOUT_EFFECT:
            logging.getLogger("ms_seg").warning("%s has no effect here", key)
        else:
            known = ", ".join((_EPOCHS, _PICTURES, *_RECIPE, *_WITHOUT_EFFECT))
            raise ValueError(f"{key} is no option that is known here: these are {known}")
    return recipe, counts

"""`build_trainer`: a model, a dataset and a recipe, trained as `python -m ms_seg train` trains."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ms_seg.commands import train as command
from ms_seg.commands.parser import Parser
from ms_seg.data.datasets import open_for_task
from ms_seg.hub import find_address
from ms_seg.modelscope.constants import Trainers
from ms_seg.modelscope.msdatasets import MsDataset
from ms_seg.modelscope.pipelines import checkpoint_of, open_model
from ms_seg.presets import find_preset

# What EasyCV's configurations call the numbers of a recipe.
_RECIPE = {
    "train.dataloader.batch_size_per_gpu": "batch_size",
    "train.optimizer.lr": "learning_rate",
    "train.optimizer.options.weight_decay": "weight_decay",
    "train.lr_scheduler.warmup_ratio": "warmup_ratio",
    "train.lr_scheduler.warmup_iters": "warmup_steps",
    "train.lr_scheduler.power": "power",
}
_EPOCHS = "train.max_epochs"
_WITHOUT_EFFECT = ("evaluation.dataloader.batch_size_per_gpu", "train.hooks", "model.decode_head.norm_cfg.type")


def build_trainer(name: str | None = None, default_args: Mapping[str, Any] | None = None) -> Trainer:
    """A trainer of what `default_args` name, as ModelScope's function of that name gives one.

    Args:
        name: `Trainers.easycv`, or None.
        default_args: model, as `pipeline` takes it, but by a name; train_dataset and eval_dataset, as `MsDataset.load`
            gives them; work_dir, the run's folder; and if need be seed, max_epochs and cfg_options, numbers by the
            dotted names of EasyCV's configurations.

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
        self._recipe, self._epochs = _numbers(cfg_options or {}, max_epochs)
        if seed is not None:
            self._recipe["seed"] = seed

    def train(self, checkpoint_path: str | os.PathLike[str] | None = None) -> None:
        """Train to the last epoch, from the model's weights or from those of a file; see `python -m ms_seg train`.

        The run's folder is as that command leaves it: the best and the newest checkpoints, and a journal of losses and
        scores. Raises as the command does.
        """
        checkpoint = checkpoint_of(self._model, self._revision)
        preset = find_preset(_preset_of(checkpoint))
        arguments = ["--model", preset.name, "--checkpoint", os.fspath(checkpoint_path or checkpoint)]
        arguments += ["--dataset", self._dataset, "--data", str(self._folder), "--output", str(self._work_dir)]
        if self._epochs is not None:
            pictures = len(open_for_task(self._dataset, self._folder, "training"))
            batch_size = self._recipe.get("batch_size", preset.recipe.batch_size)
            steps = self._epochs * max(1, -(-pictures // batch_size))
            self._recipe |= {"steps": steps, "validate_every": max(1, steps // self._epochs)}
        for key, value in self._recipe.items():
            arguments += [f"--{key.replace('_', '-')}", str(value)]
        parser = Parser("train", exit_on_error=False)
        command.add(parser)
        command.run(parser.parse_args(arguments))


def _preset_of(checkpoint: str) -> str:
    """The name of the model that a checkpoint is for."""
    address = find_address(checkpoint)
    known = address.model if address else "auto"
    return known if known != "auto" else open_model(checkpoint).preset.name


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
        return "folder"
    if (folder / "ADEChallengeData2016").is_dir() or (folder / "objectInfo150.txt").is_file():
        return "ade20k"
    return "cocostuff164k"


def _numbers(options: Mapping[str, Any], max_epochs: int | None) -> tuple[dict[str, Any], int | None]:
    """The numbers of a recipe that EasyCV's options mean, and of epochs. Raises ValueError for other options."""
    options = dict(options)
    epochs = options.pop(_EPOCHS, max_epochs)
    if epochs is not None and (type(epochs) is not int or epochs < 1):
        raise ValueError(f"{_EPOCHS} must be a whole number from 1: {epochs!r} is not")
    recipe = {}
    for key, value in options.items():
        if key in _RECIPE:
            recipe[_RECIPE[key]] = value
        elif key in _WITHOUT_EFFECT:
            logging.getLogger("ms_seg").warning("%s has no effect here", key)
        else:
            known = ", ".join((_EPOCHS, *_RECIPE, *_WITHOUT_EFFECT))
            raise ValueError(f"{key} is no option that is known here: these are {known}")
    return recipe, epochs

"""Checkpoints of a run: written whole or not at all, the newest few and the best kept, found again to go on.

RUN/checkpoints/00000300/ holds

    model.ckpt      the model as any other converted file: `create_model` reads it
    average.ckpt    the exponential moving average of the weights, likewise, if the recipe keeps one
    optimizer.ckpt  the optimiser's state: Adam's moments, SGD's momentum
    progress.json   the next step, the best score so far, and the loss scale of float16

The schedule, the order of the pictures and everything random depend on the step and the recipe's seed alone.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from mindspore import Parameter, Tensor

from convert import CheckpointError, open_checkpoint
from convert.atomic import naming
from convert.reading.entry import ArrayEntry
from convert.writing import write_checkpoint
from ms_seg.training.schedule import LossScale

Files = Mapping[str, Mapping[str, Parameter]]

MODEL, AVERAGE, OPTIMIZER, PROGRESS = "model.ckpt", "average.ckpt", "optimizer.ckpt", "progress.json"


@dataclass(frozen=True)
class Progress:
    """Where a run is: the next step, the best validation score with its step and name, and float16's loss scale.

    validation_due: the validation of the last step was stopped, and comes before the next.
    """

    step: int = 0
    best_score: float | None = None
    best_step: int | None = None
    loss_scale: LossScale | None = None
    validation_due: bool = False
    best_figure: str = ""


class Checkpoints:
    """The checkpoints of one run folder. `keep`: how many of the newest stay beside the best."""

    def __init__(self, run: Path, keep: int):
        self.folder, self.keep = run / "checkpoints", keep

    def save(self, progress: Progress, files: Files, metadata: Mapping[str, str]) -> Path:
        """Write a checkpoint under the step's name; the folder gets its name when all of it is on the disk.

        files: the parameters of each file by name. metadata: that of MODEL and AVERAGE.
        """
        final = self.folder / f"{progress.step:08}"
        draft = self.folder / f".{final.name}.part"
        shutil.rmtree(draft, ignore_errors=True)  # of a run that was killed
        draft.mkdir(parents=True)
        for name, parameters in files.items():
            entries = {key: ArrayEntry(parameter.asnumpy()) for key, parameter in parameters.items()}
            write_checkpoint(draft / name, entries, metadata=metadata if name != OPTIMIZER else {})
        with naming(final / PROGRESS):
            (draft / PROGRESS).write_text(json.dumps(asdict(progress)) + "\n")
        _remove(final)
        os.replace(draft, final)
        self._remove_old(progress)
        return final

    def newest(self) -> Path | None:
        """The folder of the newest whole checkpoint, or None."""
        return max(self._all(), default=None)

    def load(self, folder: Path, files: Files) -> Progress:
        """Load a checkpoint into the parameters. Raises CheckpointError if names or shapes differ."""
        for name, parameters in files.items():
            with open_checkpoint(folder / name) as tensors:
                for key, parameter in parameters.items():
                    entry = tensors.get(key)
                    if entry is None or tuple(entry.shape) != tuple(parameter.shape):
                        raise CheckpointError(f"{folder / name} has no {key} of shape {tuple(parameter.shape)}")
                    parameter.set_data(Tensor(entry.numpy()))
        return self.progress(folder)

    def progress(self, folder: Path) -> Progress:
        """Where the run was when it wrote a checkpoint."""
        progress = json.loads((folder / PROGRESS).read_text())
        scale = progress.pop("loss_scale", None)
        return Progress(**progress, loss_scale=LossScale(**scale) if scale else None)

    def _all(self) -> list[Path]:
        return [path for path in self.folder.glob("[0-9]*") if (path / PROGRESS).is_file()]

    def _remove_old(self, progress: Progress) -> None:
        for path in sorted(self._all())[: -self.keep]:
            if int(path.name) != progress.best_step:
                _remove(path)


def _remove(folder: Path) -> None:
    """Delete a checkpoint so that half of it is never taken for a whole one."""
    if folder.exists():
        doomed = folder.with_name(f".{folder.name}.removed")
        shutil.rmtree(doomed, ignore_errors=True)
        os.replace(folder, doomed)
        shutil.rmtree(doomed)

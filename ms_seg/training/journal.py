"""What a person sees of a run: a line for each step in `log.jsonl`, curves in `curves.png`, pictures in `validation`,
and all of it for TensorBoard, if asked for."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from convert.atomic import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOG, CURVES, PICTURES, EVENTS = "log.jsonl", "curves.png", "validation", "tensorboard"

_TENSORBOARD = "tensorboardX"  # the package that writes TensorBoard's files; it need not be installed
_FLUSH_SECONDS = 5


class Journal:
    """The log of one run folder; `step` of its lines counts finished steps.

    A line holds step, loss, learning_rate, images_per_second and with float16 loss_scale; or step and the metrics of a
    validation. A context: when it ends, the files are complete.
    """

    def __init__(self, run: Path, finished: int, tensorboard: bool = False):
        """finished: steps that the run has behind it; lines of later ones, of a run that was killed, are removed.
        tensorboard: whether to write for TensorBoard too.
        """
        self.run = run
        self.lines = [line for line in _read(run / LOG) if line["step"] <= finished]
        with whole_file(run / LOG) as draft:
            draft.write_text("".join(json.dumps(line) + "\n" for line in self.lines))
        self._file = (run / LOG).open("a", buffering=1)
        self._events = _Events(run / EVENTS, finished) if tensorboard else None

    def write(self, **line: Any) -> None:
        self.lines.append(line)
        self._file.write(json.dumps(line) + "\n")
        if self._events:
            self._events.write(**line)

    def show(self, step: int, picture: Image.Image) -> None:
        """Keep a picture of what a validation predicted."""
        folder = self.run / PICTURES
        folder.mkdir(exist_ok=True)
        with whole_file(folder / f"{step:08}.png") as draft:
            picture.save(draft, "PNG")
        if self._events:
            self._events.show(step, picture)

    def draw(self) -> None:
        """Write the curves as a picture."""
        figure = self.curves()
        with whole_file(self.run / CURVES) as draft:
            figure.savefig(draft, format="png", dpi=110)

    def curves(self) -> Figure:
        """Panels of the loss, the learning rate and, after a validation, of every metric that was measured, by step."""
        from matplotlib.figure import Figure  # imported late: it takes half a second

        steps = [line for line in self.lines if "loss" in line]
        validations = [line for line in self.lines if "loss" not in line]
        metrics = list(dict.fromkeys(key for line in validations for key in line if key != "step"))
        figure = Figure(figsize=(9, 7), layout="constrained")
        panels = figure.subplots(3 if metrics else 2, 1, sharex=True)
        x = [line["step"] for line in steps]
        panels[0].plot(x, [line["loss"] for line in steps], linewidth=0.8)
        panels[0].set(ylabel="loss", yscale="log")
        panels[1].plot(x, [line["learning_rate"] for line in steps])
        panels[1].set(ylabel="learning rate")
        for metric in metrics:
            points = [(line["step"], line[metric]) for line in validations if metric in line]
            panels[2].plot(*zip(*points, strict=True), marker="o", label=metric)
        if metrics:
            panels[2].set(ylabel="validation", ylim=(0, 1))
            panels[2].legend()
        panels[-1].set(xlabel="step")
        for panel in panels:
            panel.grid(alpha=0.3)
        return figure

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._events:
            self._events.close()


def check_tensorboard() -> None:
    """Raise ValueError unless the package that writes for TensorBoard is installed."""
    if find_spec(_TENSORBOARD) is None:
        raise ValueError(f"--tensorboard needs a package that is not installed: pip install {_TENSORBOARD}")


class _Events:
    """Scalars and pictures by step as TensorBoard reads them, in a folder; every start of a run adds a file to it."""

    def __init__(self, folder: Path, finished: int):
        """finished: steps that the run has behind it; TensorBoard forgets what earlier files hold of later ones."""
        from tensorboardX import SummaryWriter

        # A file's name holds the second in which it was made; the suffix tells files of one second apart.
        self._writer = SummaryWriter(
            str(folder), purge_step=finished + 1, flush_secs=_FLUSH_SECONDS, filename_suffix=f".{finished:08}"
        )

    def write(self, step: int, **scalars: float) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)

    def show(self, step: int, picture: Image.Image) -> None:
        self._writer.add_image("validation", np.asarray(picture), step, dataformats="HWC")

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


def _read(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; the last one may be cut off in the middle."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines

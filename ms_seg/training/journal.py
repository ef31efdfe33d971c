"""What a person sees of a run: a line a step in `log.jsonl`, its curves in `curves.png`, pictures in `validation`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from convert.atomic import whole_file
from ms_seg.training.tensorboard import Events

LOG, CURVES, PICTURES, EVENTS = "log.jsonl", "curves.png", "validation", "tensorboard"


class Journal:
    """The log of one run folder; `step` of its lines counts finished steps.

    A line holds step, loss, learning_rate, images_per_second and with float16 loss_scale, or step and what a validation
    measured. A context: at
    its end the files are complete.
    """

    def __init__(self, run: Path, finished: int, tensorboard: bool = False):
        """finished: steps that the run has behind it; lines of later ones, of a run that was killed, are taken away.
        tensorboard: whether to write what TensorBoard reads too.
        """
        self.run = run
        self.lines = [line for line in _read(run / LOG) if line["step"] <= finished]
        with whole_file(run / LOG) as draft:
            draft.write_text("".join(json.dumps(line) + "\n" for line in self.lines))
        self._file = (run / LOG).open("a", buffering=1)
        self._events = Events(run / EVENTS, finished) if tensorboard else None

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
        """Loss, learning rate and validation scores over the steps, as a picture."""
        from matplotlib.figure import Figure  # imported late: it takes half a second

        steps = [line for line in self.lines if "loss" in line]
        scores = [line for line in self.lines if "mIoU" in line]
        figure = Figure(figsize=(9, 7), layout="constrained")
        panels = figure.subplots(3 if scores else 2, 1, sharex=True)
        x = [line["step"] for line in steps]
        panels[0].plot(x, [line["loss"] for line in steps], linewidth=0.8)
        panels[0].set(ylabel="loss", yscale="log")
        panels[1].plot(x, [line["learning_rate"] for line in steps])
        panels[1].set(ylabel="learning rate")
        if scores:
            panels[2].plot([line["step"] for line in scores], [line["mIoU"] for line in scores], marker="o")
            panels[2].set(ylabel="mIoU", ylim=(0, 1))
        panels[-1].set(xlabel="step")
        for panel in panels:
            panel.grid(alpha=0.3)
        with whole_file(self.run / CURVES) as draft:
            figure.savefig(draft, format="png", dpi=110)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._events:
            self._events.close()


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

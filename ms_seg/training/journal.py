"""What a person sees of a run: a line a step in `log.jsonl`, and its curves in `curves.png`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from convert.atomic import whole_file

LOG, CURVES = "log.jsonl", "curves.png"


class Journal:
    """The log of one run folder; `step` of its lines counts finished steps.

    A line holds step, loss, learning_rate and images_per_second, or step and what a validation measured.
    """

    def __init__(self, run: Path, finished: int):
        """finished: steps that the run has behind it; lines of later ones, of a run that was killed, are taken away."""
        self.run = run
        self.lines = [line for line in _read(run / LOG) if line["step"] <= finished]
        with whole_file(run / LOG) as draft:
            draft.write_text("".join(json.dumps(line) + "\n" for line in self.lines))
        self._file = (run / LOG).open("a", buffering=1)

    def write(self, **line: Any) -> None:
        self.lines.append(line)
        self._file.write(json.dumps(line) + "\n")

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

    def close(self) -> None:
        self._file.close()


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

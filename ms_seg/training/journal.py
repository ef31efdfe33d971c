"""What a person sees of a run: a line for each step in `log.jsonl`, curves in `curves.png`, those of the classes in
`classes.png`, pictures and tables of classes in `validation`, and all of it for TensorBoard, if asked for; and in
`augmented.png` what the network is shown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from convert.atomic import naming, whole_file
from ms_seg.answers.drawing.panels import titled
from ms_seg.training.class_figure import draw_classes
from ms_seg.training.curves import draw_curves

LOG, CURVES, PICTURES, EVENTS = "log.jsonl", "curves.png", "validation", "tensorboard"
CLASS_CURVES, AUGMENTED = "classes.png", "augmented.png"

_TENSORBOARD = "tensorboardX"  # the package that writes TensorBoard's files; it need not be installed
_FLUSH_SECONDS = 5


class Journal:
    """The log of one run folder; `step` of its lines counts finished steps.

    A line holds step, loss, learning_rate, images_per_second (without the wait for data), waiting_for_data (of the
    step's time with that wait, 0..1) and with float16 loss_scale; or step, the metrics of a validation, and `classes`,
    figures of one class each. A context: when it ends, the files are complete.
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
        """Add a line. A number that is not finite, which JSON does not have, is written as null."""
        line = _in_json(line)
        self.lines.append(line)
        with naming(self.run / LOG):
            self._file.write(json.dumps(line, allow_nan=False) + "\n")
        if self._events:
            self._events.write(line["step"], {key: v for key, v in line.items() if isinstance(v, float)})

    def show(self, step: int, picture: Image.Image, title: str) -> None:
        """Keep a picture of what a validation predicted, under what it measured."""
        picture = titled(picture, title)
        with whole_file(self._in_folder(f"{step:08}.png")) as draft:
            picture.save(draft, "PNG")
        if self._events:
            self._events.show(step, picture)

    def keep_table(self, step: int, table: str) -> Path:
        """Keep the table of a validation's classes; returns the file."""
        path = self._in_folder(f"{step:08}.txt")
        with whole_file(path) as draft:
            draft.write_text(table + "\n", encoding="utf-8")
        return path

    def _in_folder(self, name: str) -> Path:
        folder = self.run / PICTURES
        folder.mkdir(exist_ok=True)
        return folder / name

    def draw(self, best_step: int | None = None, model: str = "", best_figure: str = "") -> None:
        """Write the curves as pictures; see `draw_curves` and `draw_classes`."""
        title = f"{model} in {self.run}" if model else str(self.run)
        self._keep(CURVES, draw_curves(self.lines, best_step, title, best_figure))
        if measured := [(line["step"], line["classes"]) for line in self.lines if line.get("classes")]:
            self._keep(CLASS_CURVES, draw_classes(measured))

    def show_seen(self, picture: Image.Image) -> None:
        """Keep a picture of what the network is shown; see `draw_seen`."""
        self._keep(AUGMENTED, picture)

    def _keep(self, name: str, picture: Image.Image) -> None:
        with whole_file(self.run / name) as draft:
            picture.save(draft, "PNG")

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

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)

    def show(self, step: int, picture: Image.Image) -> None:
        self._writer.add_image("validation", np.asarray(picture), step, dataformats="HWC")

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


def _in_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _in_json(part) for key, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


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

"""The curves of a run as a picture: loss, learning rate, and what the validations measured, by step."""

from __future__ import annotations

import gc
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

Lines = Sequence[Mapping[str, Any]]  # of the log, see `Journal`

_SMOOTHED = 50  # the mean of so many parts of the steps is the thick line
_SPAN = 0.005  # of the losses is above the panel, and as much below
_DECADES = 10.0  # a loss that spans more has a logarithmic scale
_DPI = 110


def draw_curves(lines: Lines, best_step: int | None = None, title: str = "", best_figure: str = "") -> Image.Image:
    """The panels: the loss, with many steps pale and smoothed; the learning rate; after a validation its metrics.

    best_step: whose weights are the best, marked. best_figure: by what, a metric or a class's own figure; "" for the
    first metric. Each panel is scaled to its data; what is not finite is left out.
    """
    image = _drawn(lines, best_step, title, best_figure)
    gc.collect()  # the parts of a figure point to each other: it would stay, a megabyte, until Python looks for such
    return image


def _drawn(lines: Lines, best_step: int | None, title: str, best_figure: str) -> Image.Image:
    # Imported late: it takes half a second.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    metrics = metrics_of(lines)
    figure = Figure(figsize=(9, 8 if metrics else 5.5), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(3 if metrics else 2, 1, sharex=True)
    _draw_loss(panels[0], *_points(lines, "loss"))
    panels[1].plot(*_points(lines, "learning_rate"), color="tab:gray")
    panels[1].set_ylabel("learning rate")
    for name, points in metrics.items():
        panels[2].plot(*points, marker="o", markersize=3, label=name)
    if metrics:
        panels[2].set_ylabel("validation")
        _mark_best(panels[2], lines, best_step, best_figure or next(iter(metrics)))
        panels[2].legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    panels[-1].set_xlabel("step")
    for panel in panels:
        panel.grid(alpha=0.3)
        panel.margins(x=0.01)
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_formatter(_plain)
            axis.set_minor_formatter(_between if axis.get_scale() == "log" else lambda value, place: "")
    figure.suptitle(title, fontsize=10)
    buffer = io.BytesIO()
    canvas.print_figure(buffer, dpi=_DPI)
    image = Image.open(buffer)
    image.load()
    return image


def metrics_of(lines: Lines) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Steps and values of each metric that validations measured, where it is a number."""
    validations = [line for line in lines if "loss" not in line]
    names = dict.fromkeys(key for line in validations for key in line if key not in ("step", "classes"))
    return {name: _points(validations, name) for name in names}


def smoothed(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The means of up to _SMOOTHED parts of a curve, each at the middle of its steps."""
    parts = np.array_split(np.arange(len(steps)), min(_SMOOTHED, len(steps)))
    return tuple(np.array([curve[part].mean() for part in parts]) for curve in (steps, values))  # type: ignore


def _draw_loss(panel: Any, steps: np.ndarray, losses: np.ndarray) -> None:
    if len(steps) > _SMOOTHED:
        panel.plot(steps, losses, linewidth=0.6, color="tab:blue", alpha=0.3)
        steps_of_parts, means = smoothed(steps, losses)
        panel.plot(steps_of_parts, means, linewidth=1.6, color="tab:blue")
    else:
        panel.plot(steps, losses, linewidth=1.6, color="tab:blue")
    panel.set_ylabel("loss")
    if not len(losses):
        return
    low, high = np.quantile(losses, [_SPAN, 1 - _SPAN])
    if low > 0 and high / low > _DECADES:
        panel.set_yscale("log")
        panel.set_ylim(low / 1.1, high * 1.1)
    elif high > low:
        margin = (high - low) / 20
        panel.set_ylim(low - margin, high + margin)


def _mark_best(panel: Any, lines: Lines, step: int | None, name: str) -> None:
    """A line at the step of the best weights, with the figure there that they are the best by."""
    if step is None:
        return
    figures = [{**line.get("classes", {}), **line} for line in lines if line["step"] == step]
    here = next((figure[name] for figure in figures if figure.get(name) is not None), None)
    panel.axvline(step, color="tab:red", linewidth=0.8, linestyle="--")
    text = f"best: step {step}" + (f", {name} {here:.4f}" if here is not None else "")
    middle = sum(panel.get_xlim()) / 2
    panel.annotate(
        text, (step, 0), (-4 if step > middle else 4, 4), xycoords=("data", "axes fraction"),
        textcoords="offset points", ha="right" if step > middle else "left", fontsize=8, color="tab:red",
    )  # fmt: skip


def _points(lines: Lines, name: str) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
    steps, values = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(steps), np.array(values, np.float64)


def _between(value: float, place: int) -> str:
    """Of a logarithmic scale, which may span hardly more than one power of ten, 2 and 5 times these are written too."""
    return f"{value:g}" if f"{value:e}"[0] in "25" else ""


def _plain(value: float, place: int) -> str:
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e9 else f"{value:g}"

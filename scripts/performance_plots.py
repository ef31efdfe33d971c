"""The plots of docs/performance.md, as SVG, from the measurements of performance_page.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from performance_tables import PEERS, SCALE, Rows, grown  # noqa: E402

# The same measurements give the same file.
_STYLE = {"svg.hashsalt": "performance", "axes.spines.top": False, "axes.spines.right": False, "font.size": 9}


def write_plots(stored: Mapping[str, Any], folder: Path) -> list[Path]:
    """One file for each part that has a plot and was measured; returns their paths."""
    paths = []
    with plt.rc_context(_STYLE):
        for part, draw in _PLOTS.items():
            if not stored["rows"].get(part):
                continue
            folder.mkdir(parents=True, exist_ok=True)
            figure = draw(stored["rows"][part])
            paths.append(folder / f"{part}.svg")
            figure.savefig(paths[-1], metadata={"Date": None}, bbox_inches="tight")
            plt.close(figure)
    return paths


def draw_forward(rows: Rows) -> Figure:
    """Our time as a share of each other's, a group of bars for each network; the line is 1."""
    figure, axes = plt.subplots(figsize=(8, 3))
    width = 0.8 / len(PEERS)
    for place, who in enumerate(PEERS):
        shares = [(x, row["figures"][who]["ratio"]) for x, row in enumerate(rows.values()) if who in row["figures"]]
        bars = axes.bar(
            [x + (place - 1.5) * width for x, _ in shares], [share for _, share in shares], width, label=who
        )
        axes.bar_label(bars, fmt="%.2f", fontsize=6)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_xticks(range(len(rows)), [key.split("_")[0] + "\n" + _short(key) for key in rows])
    axes.set_ylabel("our time / theirs")
    axes.legend(ncols=len(PEERS), frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.2))
    return figure


def _short(key: str) -> str:
    """What tells the models of a system apart, and the input."""
    name, _, shape = key.partition(" ")
    return " ".join((*name.split("_")[1:3], shape.removeprefix("1x3x"))).strip()


def draw_first_answer(rows: Rows) -> Figure:
    """Two bars for each network: ours by its parts, and PyTorch's whole."""
    figure, axes = plt.subplots(figsize=(8, 0.6 + 0.6 * len(rows)))
    titles = ("imports", "model and weights", "preparing or compiling", "one look", "saving")
    for place, row in enumerate(rows.values()):
        seconds = {part: wall for part, (wall, _) in row["ours"]["parts"].items()}
        lengths = (
            seconds["imports"],
            seconds["model"],
            max(seconds["first"] - seconds["second"], 0),
            seconds["second"],
            seconds["saving"],
        )
        left = 0.0
        for number, (title, length) in enumerate(zip(titles, lengths, strict=True)):
            axes.barh(place - 0.2, length, 0.35, left=left, color=f"C{number}", label=title if not place else None)
            left += length
        whole = row["PyTorch"]["seconds"]
        axes.barh(place + 0.2, whole, 0.35, color="lightgrey", label="PyTorch" if not place else None)
    axes.set_yticks(range(len(rows)), ["_".join(name.split("_")[:3]) for name in rows])
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    axes.legend(frameon=False, fontsize=7)
    return figure


def draw_scale(rows: Rows) -> Figure:
    """Above, time over what grows, beside a line of time in proportion to it; below, memory."""
    shown = [what for what in SCALE if grown(rows, what)]
    figure, axes = plt.subplots(2, len(shown), figsize=(2.4 * len(shown), 4.2), squeeze=False, sharex="col")
    for (above, below), what in zip(axes.T, shown, strict=True):
        points = grown(rows, what)
        numbers = [number for number, _ in points]
        above.loglog(numbers, [row["seconds"] for _, row in points], "o-", label="on the clock")
        above.loglog(numbers, [row["cpu_seconds"] for _, row in points], "s--", label="processor")
        last = points[-1][1]["seconds"]
        above.loglog(
            numbers, [last * number / numbers[-1] for number in numbers], ":", color="grey", label="in proportion"
        )
        below.semilogx(numbers, [row["peak_mb"] for _, row in points], "o-")
        below.set_ylim(bottom=0)
        below.set_xlabel(what)
    axes[0][0].set_ylabel("seconds")
    axes[1][0].set_ylabel("MB")
    axes[0][0].legend(frameon=False, fontsize=6)
    figure.tight_layout()
    return figure


_PLOTS: dict[str, Callable[[Rows], Figure]] = {
    "forward": draw_forward,
    "first_answer": draw_first_answer,
    "scale": draw_scale,
}

"""The confusion matrix as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from ms_seg.answers.drawing.semantic import NO_CLASS_NAME
from ms_seg.answers.drawing.text import font_file, legible
from ms_seg.evaluation.results import per_cent
from ms_seg.evaluation.semantic.confusion import ConfusionMatrix

_WRITTEN_UP_TO = 30  # classes; with more, percentages in the cells would be illegible
_CELL, _SMALL_CELL = 0.42, 0.17  # inches, with and without percentages
_DPI = 100
_MAX_NAME_LENGTH = 24  # characters


def draw_confusion(matrix: ConfusionMatrix, names: Sequence[str]) -> Image.Image:
    """What each true class (row) was predicted as (column), in shares of its pixels: the darker, the more.

    Classes in no truth have no row; those in no prediction either have no column. Shades follow the square root of the
    share, so that a confusion of one per cent is visible. Beside each row stands the class's IoU. Up to _WRITTEN_UP_TO
    classes, percentages are written into the cells.
    """
    # Imported late: it takes a second. The object interface needs no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

    shares, rows, columns = _shares(matrix)
    titles = [*(_short(legible(name, index)) for index, name in enumerate(names)), NO_CLASS_NAME]
    written = max(len(rows), len(columns)) <= _WRITTEN_UP_TO
    cell, font = (_CELL, 8) if written else (_SMALL_CELL, 7)
    figure = Figure((3.8 + cell * len(columns), 2.6 + cell * len(rows)), _DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks(range(len(columns)), [titles[column] for column in columns], rotation=90, fontsize=font)
    ious = [per_cent(iou) for iou in matrix.per_class_iou.tolist()]
    axes.set_yticks(range(len(rows)), [f"{titles[row]}  {ious[row]}" for row in rows], fontsize=font)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        if file := font_file(label.get_text()):
            label.set_fontproperties(FontProperties(fname=file, size=font))
    axes.tick_params(top=True, labeltop=not written, right=True, labelright=not written, length=2)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true, and its IoU")
    figure.suptitle(f"Share of each true class's pixels; mIoU {100 * matrix.miou:.2f}", fontsize=11)
    if written:
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.005:
                colour = "white" if share > 0.4 else "black"
                axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color=colour)
    else:
        axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="0.93", linewidth=0.4)
        axes.tick_params(which="minor", length=0)
    ticks = np.array([0, 0.01, 0.05, 0.2, 0.5, 1])
    bar = figure.colorbar(image, ax=axes, shrink=0.5, ticks=np.sqrt(ticks))
    bar.ax.set_yticklabels([f"{tick:.0%}" for tick in ticks], fontsize=font)
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    return Image.open(buffer)


def _shares(matrix: ConfusionMatrix) -> tuple[np.ndarray, list[int], list[int]]:
    """Shares (rows, columns) float64 of 0..1, and their classes; the last column may be "no class"."""
    counts = matrix.counts
    totals = counts.sum(axis=1)
    if not totals.any():
        return np.zeros((1, 1)), [0], [0]
    rows = np.flatnonzero(totals)
    columns = np.flatnonzero(np.append(totals, 0) + counts.sum(axis=0))
    return counts[np.ix_(rows, columns)] / totals[rows, None], rows.tolist(), columns.tolist()


def _short(name: str) -> str:
    return name if len(name) <= _MAX_NAME_LENGTH else name[: _MAX_NAME_LENGTH - 1] + "…"

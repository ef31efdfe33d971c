"""The figures of an evaluation: on the screen, and as files."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from convert.atomic import whole_file
from ms_seg.data.semantic import SemanticDataset
from ms_seg.evaluation.evaluator import WORST, worst_pictures
from ms_seg.evaluation.figures import draw_confusion
from ms_seg.evaluation.predictions import Predictions
from ms_seg.evaluation.semantic import ConfusionMatrix
from ms_seg.evaluation.tally import Tally
from ms_seg.inference.drawing import draw_comparison

_CLASS_COLUMNS = ("index", "class", "IoU", "Acc", "pixels", "predicted")
_PICTURE_COLUMNS = ("picture", "mIoU", "aAcc", "pixels")


def table(matrix: ConfusionMatrix, names: Sequence[str]) -> str:
    """IoU and accuracy of every class in per cent, then the three figures of them all; "-" where nothing counts."""
    rows = [("class", "IoU", "Acc")]
    for row in class_rows(matrix, names):
        rows.append((row["class"], _per_cent(row["IoU"]), _per_cent(row["Acc"])))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"{name:{widths[0]}}  {iou:>{widths[1]}}  {acc:>{widths[2]}}" for name, iou, acc in rows]
    totals = (("aAcc", matrix.aacc), ("mIoU", matrix.miou), ("mAcc", matrix.macc))
    return "\n".join([*lines, "", "  ".join(f"{name} {_per_cent(_number(value))}" for name, value in totals)])


def class_rows(matrix: ConfusionMatrix, names: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each class: index, class, IoU and Acc (fractions, or None), pixels of the truth, pixels predicted."""
    figures = zip(
        names,
        matrix.per_class_iou.tolist(),
        matrix.per_class_accuracy.tolist(),
        matrix.counts.sum(axis=1).tolist(),
        matrix.counts[:, :-1].sum(axis=0).tolist(),
        strict=True,
    )
    return [
        dict(zip(_CLASS_COLUMNS, (index, name, _number(iou), _number(accuracy), *pixels), strict=True))
        for index, (name, iou, accuracy, *pixels) in enumerate(figures)
    ]


def write_report(
    folder: Path, tally: Tally, dataset: SemanticDataset, predictions: Predictions, about: Mapping[str, Any]
) -> None:
    """Write what is known of an evaluation into a folder, made if missing; each file is whole or not there.

    metrics.json: what was evaluated (`about`), aAcc, mIoU and mAcc as fractions, and the rows of the classes.
    classes.csv, pictures.csv: the rows of the classes, and of the pictures, the worst first.
    confusion.png: see `draw_confusion`. worst/: the WORST pictures with the lowest mIoU, see `draw_comparison`.

    Raises OSError; ValueError or RuntimeError when a picture cannot be read or segmented again.
    """
    matrix, names = tally.matrix, dataset.label_set.names
    folder.mkdir(parents=True, exist_ok=True)
    rows = class_rows(matrix, names)
    figures = {"aAcc": _number(matrix.aacc), "mIoU": _number(matrix.miou), "mAcc": _number(matrix.macc)}
    _write_csv(folder / "classes.csv", _CLASS_COLUMNS, (row.values() for row in rows))
    _write_csv(folder / "pictures.csv", _PICTURE_COLUMNS, _picture_rows(tally, dataset))
    with whole_file(folder / "confusion.png") as draft:
        draw_confusion(matrix, names).save(draft, "PNG")
    _draw_worst(folder / "worst", tally, dataset, predictions)
    with whole_file(folder / "metrics.json") as draft:  # last, so that it stands for all the others
        content = {**about, "pictures": len(dataset), **figures, "classes": rows}
        draft.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _picture_rows(tally: Tally, dataset: SemanticDataset) -> Iterable[tuple]:
    for index in worst_pictures(tally, len(dataset)):
        found, counted = tally.pixels[index].tolist()
        yield dataset.name(index), float(tally.ious[index]), found / counted, counted


def _draw_worst(folder: Path, tally: Tally, dataset: SemanticDataset, predictions: Predictions) -> None:
    folder.mkdir(exist_ok=True)
    for old in folder.glob("[0-9][0-9]_*.png"):  # of an evaluation before
        old.unlink()
    for place, index in enumerate(worst_pictures(tally, WORST), start=1):
        maps = dataset.labels(index), predictions.label_map(index)
        with whole_file(folder / f"{place:02}_{dataset.name(index)}.png") as draft:
            draw_comparison(dataset.picture(index), *maps, dataset.label_set).save(draft, "PNG", compress_level=1)


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Iterable]) -> None:
    with whole_file(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def _number(value: float) -> float | None:
    """JSON knows no nan."""
    return None if math.isnan(value) else value


def _per_cent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"

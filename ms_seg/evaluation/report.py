"""The results of an evaluation, as files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from convert.atomic import ESCAPED, whole_file
from ms_seg.answers.drawing.panels import titled
from ms_seg.evaluation.results import Results


def write_report(folder: Path, results: Results, dataset: Any, about: Mapping[str, Any]) -> None:
    """Write the results of an evaluation into a folder, made if missing. Each file is whole or absent.

    metrics.json: what was evaluated (`about`), the figures as fractions, and the rows of the classes.
    classes.csv, pictures.csv: the rows of the classes, and of the pictures, the worst first.
    confusion.png: of label maps, see `draw_confusion`. worst/: the WORST pictures beside their ground truth, see
    `draw_comparison`. What a task does not have is left out.

    Raises OSError; ValueError or RuntimeError if a picture cannot be read or segmented again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_csv(folder / "classes.csv", results.class_columns, (row.values() for row in results.classes))
    if results.picture_columns:
        _write_csv(folder / "pictures.csv", results.picture_columns, results.pictures)
    for name, draw in results.drawings.items():
        with whole_file(folder / name) as draft:
            draw().save(draft, "PNG")
    if results.compare:
        _draw_worst(folder / "worst", {dataset.name(index): index for index in results.worst}, results)
    with whole_file(folder / "metrics.json") as draft:  # last: it stands for all the others
        content = {**about, "pictures": len(dataset), **results.figures, "classes": results.classes}
        text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
        draft.write_text(text, encoding="utf-8", errors=ESCAPED)


def _draw_worst(folder: Path, worst: Mapping[str, int], results: Results) -> None:
    """Each under its name and its score, which `results.pictures` has in the same order."""
    assert results.compare is not None
    figure = results.picture_columns[1]
    folder.mkdir(exist_ok=True)
    for old in folder.glob("[0-9][0-9]_*.png"):  # of an earlier evaluation
        old.unlink()
    for place, ((name, index), row) in enumerate(zip(worst.items(), results.pictures, strict=False), start=1):
        with whole_file(folder / f"{place:02}_{name}.png") as draft:
            drawing = titled(results.compare(index), f"{name}: {figure} {row[1]:.4f}")
            drawing.save(draft, "PNG", compress_level=1)


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Iterable]) -> None:
    with whole_file(path) as draft, draft.open("w", newline="", encoding="utf-8", errors=ESCAPED) as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)

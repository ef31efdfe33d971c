"""The figures of an evaluation, as files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from convert.atomic import whole_file
from ms_seg.evaluation.evaluator import WORST, worst_pictures
from ms_seg.evaluation.instance.report import detection_findings
from ms_seg.evaluation.instance.tally import DetectionTally
from ms_seg.evaluation.panoptic.report import panoptic_findings
from ms_seg.evaluation.panoptic.tally import PanopticTally
from ms_seg.evaluation.results import Findings
from ms_seg.evaluation.semantic.report import semantic_findings
from ms_seg.evaluation.semantic.tally import SemanticTally
from ms_seg.evaluation.tally import Tally

_FINDINGS = {SemanticTally: semantic_findings, PanopticTally: panoptic_findings, DetectionTally: detection_findings}


def write_report(folder: Path, tally: Tally, dataset: Any, predictions: Any, about: Mapping[str, Any]) -> Findings:
    """Write what is known of an evaluation into a folder, made if missing; each file is whole or not there.

    metrics.json: what was evaluated (`about`), the figures as fractions, and the rows of the classes.
    classes.csv, pictures.csv: the rows of the classes, and of the pictures, the worst first.
    confusion.png: of label maps, see `draw_confusion`. worst/: the WORST pictures with the lowest score, see
    `draw_comparison`. What a kind of evaluation does not know is left out.

    Raises OSError; ValueError or RuntimeError when a picture cannot be read or segmented again.
    """
    findings = _FINDINGS[type(tally)](tally, dataset, predictions)
    folder.mkdir(parents=True, exist_ok=True)
    _write_csv(folder / "classes.csv", findings.class_columns, (row.values() for row in findings.classes))
    if findings.picture_columns:
        _write_csv(folder / "pictures.csv", findings.picture_columns, findings.pictures)
    for name, draw in findings.drawings.items():
        with whole_file(folder / name) as draft:
            draw().save(draft, "PNG")
    if findings.compare:
        _draw_worst(folder / "worst", findings, worst_pictures(tally, WORST), dataset)
    with whole_file(folder / "metrics.json") as draft:  # last, so that it stands for all the others
        content = {**about, "pictures": len(dataset), **findings.figures, "classes": findings.classes}
        draft.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return findings


def _draw_worst(folder: Path, findings: Findings, worst: Sequence[int], dataset: Any) -> None:
    folder.mkdir(exist_ok=True)
    for old in folder.glob("[0-9][0-9]_*.png"):  # of an evaluation before
        old.unlink()
    for place, index in enumerate(worst, start=1):
        with whole_file(folder / f"{place:02}_{dataset.name(index)}.png") as draft:
            findings.compare(index).save(draft, "PNG", compress_level=1)


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Iterable]) -> None:
    with whole_file(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)

"""The results of an evaluation of panoptic maps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

from ms_seg.answers.drawing.semantic import draw_comparison
from ms_seg.data.panoptic import NO_CLASS, PanopticDataset, PanopticMap
from ms_seg.evaluation.panoptic.quality import FALSE_ALARM, MISSED, PanopticQuality
from ms_seg.evaluation.panoptic.tally import PanopticTally
from ms_seg.evaluation.predictions import Predictions
from ms_seg.evaluation.results import WORST, Results, number, table_of

_CLASS_COLUMNS = ("index", "class", "isthing", "PQ", "SQ", "RQ", "matched", "missed", "false_alarms")
_PICTURE_COLUMNS = ("picture", "PQ", "matched", "missed", "false_alarms")
_GROUPS = {"all": None, "things": True, "stuff": False}


def panoptic_results(tally: PanopticTally, dataset: PanopticDataset, predictions: Predictions[PanopticMap]) -> Results:
    """PQ, SQ and RQ of all classes, things and stuff, and a row for each class and picture."""
    quality = tally.quality
    figures = {name: _figures(quality, things) for name, things in _GROUPS.items()}
    rows = class_rows(quality)
    lines = [(row["class"], row["PQ"], row["SQ"], row["RQ"]) for row in rows]
    group_lines = [(name, *(means[key] for key in ("PQ", "SQ", "RQ"))) for name, means in figures.items()]
    totals = {key: figures["all"][key] for key in ("PQ", "SQ", "RQ")}

    def compare(index: int) -> Image.Image:
        truth, prediction = dataset.panoptic(index).classes(), predictions[index].classes()
        return draw_comparison(dataset.picture(index), truth, prediction, dataset.label_set, NO_CLASS)

    return Results(
        figures={**figures.pop("all"), **figures},
        class_columns=_CLASS_COLUMNS,
        classes=rows,
        table=table_of(("class", "PQ", "SQ", "RQ"), [*lines, ("", None, None, None), *group_lines], totals),
        picture_columns=_PICTURE_COLUMNS,
        pictures=list(_picture_rows(tally, dataset)),
        worst=tally.worst(WORST),
        compare=compare if dataset.has_pictures else None,
    )


def class_rows(quality: PanopticQuality) -> list[dict[str, Any]]:
    """A row for each class: its figures as fractions, or None, and how many of its segments had which outcome."""
    label_set = quality.label_set
    counts = np.stack((quality.matched, quality.missed, quality.false_alarms), axis=1).tolist()
    return [
        dict(zip(_CLASS_COLUMNS, (index, name, isthing, *map(number, figures), *outcomes), strict=True))
        for index, (name, isthing, figures, outcomes) in enumerate(
            zip(label_set.names, label_set.isthing, quality.per_class.tolist(), counts, strict=True)
        )
    ]


def _figures(quality: PanopticQuality, things: bool | None) -> dict[str, Any]:
    means = quality.average(things)
    return {"PQ": number(means.pq), "SQ": number(means.sq), "RQ": number(means.rq), "N": means.classes}


def _picture_rows(tally: PanopticTally, dataset: PanopticDataset) -> Iterable[tuple]:
    for index in tally.worst(len(dataset)):
        ious = tally.records[index]["iou"]
        counts = [np.count_nonzero(which) for which in (ious > 0, ious == MISSED, ious == FALSE_ALARM)]
        yield dataset.name(index), float(tally.qualities[index]), *counts

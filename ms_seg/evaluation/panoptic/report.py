"""What an evaluation of panoptic maps has to say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

from ms_seg.answers.drawing import draw_comparison
from ms_seg.data.panoptic import NO_CLASS, PanopticDataset
from ms_seg.evaluation.evaluator import worst_pictures
from ms_seg.evaluation.panoptic.predictions import PanopticPredictions
from ms_seg.evaluation.panoptic.quality import FALSE_ALARM, MISSED, PanopticQuality
from ms_seg.evaluation.panoptic.tally import PanopticTally
from ms_seg.evaluation.results import Findings, number, table_of

_CLASS_COLUMNS = ("index", "class", "isthing", "PQ", "SQ", "RQ", "matched", "missed", "false_alarms")
_PICTURE_COLUMNS = ("picture", "PQ", "matched", "missed", "false_alarms")
_KINDS = {"all": None, "things": True, "stuff": False}


def panoptic_findings(tally: PanopticTally, dataset: PanopticDataset, predictions: PanopticPredictions) -> Findings:
    """PQ, SQ and RQ of all, things and stuff, and the rows of classes and pictures."""
    quality = tally.quality
    figures = {name: _figures(quality, things) for name, things in _KINDS.items()}
    rows = class_rows(quality)
    of_classes = [(row["class"], row["PQ"], row["SQ"], row["RQ"]) for row in rows]
    means = [(name, *(quality_of[key] for key in ("PQ", "SQ", "RQ"))) for name, quality_of in figures.items()]
    totals = {key: figures["all"][key] for key in ("PQ", "SQ", "RQ")}

    def compare(index: int) -> Image.Image:
        truth, prediction = dataset.panoptic(index).classes(), predictions.panoptic(index).classes()
        return draw_comparison(dataset.picture(index), truth, prediction, dataset.label_set, NO_CLASS)

    return Findings(
        figures={**figures.pop("all"), **figures},
        class_columns=_CLASS_COLUMNS,
        classes=rows,
        picture_columns=_PICTURE_COLUMNS,
        pictures=list(_picture_rows(tally, dataset)),
        table=table_of(("class", "PQ", "SQ", "RQ"), [*of_classes, ("", None, None, None), *means], totals),
        compare=compare if dataset.has_pictures else None,
    )


def class_rows(quality: PanopticQuality) -> list[dict[str, Any]]:
    """A row for each class: its figures as fractions, or None, and how many of its segments had which fate."""
    labels = quality.label_set
    counts = np.stack((quality.matched, quality.missed, quality.false_alarms), axis=1).tolist()
    return [
        dict(zip(_CLASS_COLUMNS, (index, name, isthing, *map(number, figures), *fates), strict=True))
        for index, (name, isthing, figures, fates) in enumerate(
            zip(labels.names, labels.things, quality.per_class.tolist(), counts, strict=True)
        )
    ]


def _figures(quality: PanopticQuality, things: bool | None) -> dict[str, Any]:
    means = quality.over(things)
    return {"PQ": number(means.pq), "SQ": number(means.sq), "RQ": number(means.rq), "N": means.classes}


def _picture_rows(tally: PanopticTally, dataset: PanopticDataset) -> Iterable[tuple]:
    for index in worst_pictures(tally, len(dataset)):
        fates = tally.records[index]["iou"]
        counts = [np.count_nonzero(which) for which in (fates > 0, fates == MISSED, fates == FALSE_ALARM)]
        yield dataset.name(index), float(tally.qualities[index]), *counts

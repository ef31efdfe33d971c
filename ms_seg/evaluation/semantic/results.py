"""The results of an evaluation of label maps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ms_seg.answers.drawing.semantic import draw_comparison
from ms_seg.data.semantic import SemanticDataset
from ms_seg.evaluation.predictions import Predictions
from ms_seg.evaluation.results import WORST, Results, number, table_of
from ms_seg.evaluation.semantic.confusion import ConfusionMatrix, merged
from ms_seg.evaluation.semantic.figure import draw_confusion
from ms_seg.evaluation.semantic.tally import SemanticTally

_CLASS_COLUMNS = ("index", "class", "IoU", "Acc", "pixels", "predicted")
_PICTURE_COLUMNS = ("picture", "mIoU", "aAcc", "pixels")


def semantic_results(tally: SemanticTally, dataset: SemanticDataset, predictions: Predictions[np.ndarray]) -> Results:
    """aAcc, mIoU and mAcc, a row for each class and picture, and a drawing of the confusion matrix; for classes that
    are in categories, such as Cityscapes', also the mean IoU of these."""
    matrix, class_names = tally.matrix, dataset.label_set.names
    categories = dataset.label_set.categories
    more = {"mIoU of categories": merged(matrix, categories).miou} if categories else {}

    def compare(index: int) -> Image.Image:
        maps = dataset.label_map(index), predictions[index]
        return draw_comparison(dataset.picture(index), *maps, dataset.label_set)

    return Results(
        figures={
            "aAcc": number(matrix.aacc),
            "mIoU": number(matrix.miou),
            "mAcc": number(matrix.macc),
            **{name: number(value) for name, value in more.items()},
        },
        class_columns=_CLASS_COLUMNS,
        classes=class_rows(matrix, class_names),
        table=table(matrix, class_names, more),
        picture_columns=_PICTURE_COLUMNS,
        pictures=list(_picture_rows(tally, dataset)),
        drawings={"confusion.png": lambda: draw_confusion(matrix, class_names)},
        worst=tally.worst(WORST),
        compare=compare,
    )


def table(matrix: ConfusionMatrix, class_names: Sequence[str], more: Mapping[str, float] | None = None) -> str:
    """IoU and accuracy of each class in per cent, "-" where nothing was counted, then the three overall figures, and
    more of them."""
    rows = [(row["class"], row["IoU"], row["Acc"]) for row in class_rows(matrix, class_names)]
    totals = {"aAcc": matrix.aacc, "mIoU": matrix.miou, "mAcc": matrix.macc, **(more or {})}
    return table_of(("class", "IoU", "Acc"), rows, totals)


def class_rows(matrix: ConfusionMatrix, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each class: index, class, IoU and Acc (fractions, or None), its pixels in the truth, and predicted."""
    figures = zip(
        class_names,
        matrix.per_class_iou.tolist(),
        matrix.per_class_accuracy.tolist(),
        matrix.counts.sum(axis=1).tolist(),
        matrix.counts[:, :-1].sum(axis=0).tolist(),
        strict=True,
    )
    return [
        dict(zip(_CLASS_COLUMNS, (index, name, number(iou), number(accuracy), *pixels), strict=True))
        for index, (name, iou, accuracy, *pixels) in enumerate(figures)
    ]


def _picture_rows(tally: SemanticTally, dataset: SemanticDataset) -> Iterable[tuple]:
    for index in tally.worst(len(dataset)):
        correct, counted = tally.pixels[index].tolist()
        yield dataset.name(index), float(tally.ious[index]), correct / counted, counted

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
from ms_seg.evaluation.semantic.confusion import ConfusionMatrix, mean, merged
from ms_seg.evaluation.semantic.figure import draw_confusion
from ms_seg.evaluation.semantic.instance_iou import per_category_niou, per_class_niou
from ms_seg.evaluation.semantic.tally import SemanticTally

_CLASS_COLUMNS = ("index", "class", "IoU", "Acc", "pixels", "predicted")
_PICTURE_COLUMNS = ("picture", "mIoU", "aAcc", "pixels")


def semantic_results(tally: SemanticTally, dataset: SemanticDataset, predictions: Predictions[np.ndarray]) -> Results:
    """aAcc, mIoU and mAcc, a row for each class and picture, and a drawing of the confusion matrix; for classes that
    are in categories, such as Cityscapes', also the mean IoU of these, and the nIoU of both where things are known."""
    matrix, labels, class_names = tally.matrix, dataset.label_set, dataset.label_set.names
    more = {"mIoU of categories": merged(matrix, labels.categories).miou} if labels.categories else {}
    pixels, niou = tally.weighted.sum(axis=0), None
    if len(pixels):
        niou = per_class_niou(matrix, pixels, labels)
        more |= {"nIoU": mean(niou), "nIoU of categories": mean(per_category_niou(matrix, pixels, labels))}

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
        class_columns=_class_columns(niou),
        classes=class_rows(matrix, class_names, niou),
        table=table(matrix, class_names, more, niou),
        picture_columns=_PICTURE_COLUMNS,
        pictures=list(_picture_rows(tally, dataset)),
        drawings={"confusion.png": lambda: draw_confusion(matrix, class_names)},
        worst=tally.worst(WORST),
        compare=compare,
    )


def table(
    matrix: ConfusionMatrix,
    class_names: Sequence[str],
    more: Mapping[str, float] | None = None,
    niou: np.ndarray | None = None,
) -> str:
    """IoU and accuracy of each class in per cent, and nIoU if given, "-" where nothing was counted, then the three
    overall figures, and more of them."""
    titles = ("class", "IoU", "Acc", *(() if niou is None else ("nIoU",)))
    rows = [tuple(row[title] for title in titles) for row in class_rows(matrix, class_names, niou)]
    totals = {"aAcc": matrix.aacc, "mIoU": matrix.miou, "mAcc": matrix.macc, **(more or {})}
    return table_of(titles, rows, totals)


def class_rows(
    matrix: ConfusionMatrix, class_names: Sequence[str], niou: np.ndarray | None = None
) -> list[dict[str, Any]]:
    """A row for each class: index, class, IoU and Acc (fractions, or None), its pixels in the truth, and predicted;
    and its nIoU if given."""
    rows = [
        dict(zip(_CLASS_COLUMNS, (index, name, number(iou), number(accuracy), *pixels), strict=True))
        for index, (name, iou, accuracy, *pixels) in enumerate(_class_figures(matrix, class_names))
    ]
    if niou is None:
        return rows
    return [row | {"nIoU": number(value)} for row, value in zip(rows, niou.tolist(), strict=True)]


def _class_columns(niou: np.ndarray | None) -> tuple[str, ...]:
    return _CLASS_COLUMNS if niou is None else (*_CLASS_COLUMNS, "nIoU")


def _class_figures(matrix: ConfusionMatrix, class_names: Sequence[str]) -> Iterable[tuple]:
    return zip(
        class_names,
        matrix.per_class_iou.tolist(),
        matrix.per_class_accuracy.tolist(),
        matrix.counts.sum(axis=1).tolist(),
        matrix.counts[:, :-1].sum(axis=0).tolist(),
        strict=True,
    )


def _picture_rows(tally: SemanticTally, dataset: SemanticDataset) -> Iterable[tuple]:
    for index in tally.worst(len(dataset)):
        correct, counted = tally.pixels[index].tolist()
        yield dataset.name(index), float(tally.ious[index]), correct / counted, counted

"""What an evaluation of label maps has to say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from PIL import Image

from ms_seg.answers.drawing import draw_comparison
from ms_seg.data.semantic import SemanticDataset
from ms_seg.evaluation.evaluator import worst_pictures
from ms_seg.evaluation.results import Findings, number, table_of
from ms_seg.evaluation.semantic.confusion import ConfusionMatrix
from ms_seg.evaluation.semantic.figure import draw_confusion
from ms_seg.evaluation.semantic.predictions import Predictions
from ms_seg.evaluation.semantic.tally import SemanticTally

_CLASS_COLUMNS = ("index", "class", "IoU", "Acc", "pixels", "predicted")
_PICTURE_COLUMNS = ("picture", "mIoU", "aAcc", "pixels")


def semantic_findings(tally: SemanticTally, dataset: SemanticDataset, predictions: Predictions) -> Findings:
    """aAcc, mIoU and mAcc, the rows of classes and pictures, and the confusion matrix as a drawing."""
    matrix, names = tally.matrix, dataset.label_set.names

    def compare(index: int) -> Image.Image:
        maps = dataset.labels(index), predictions.label_map(index)
        return draw_comparison(dataset.picture(index), *maps, dataset.label_set)

    return Findings(
        figures={"aAcc": number(matrix.aacc), "mIoU": number(matrix.miou), "mAcc": number(matrix.macc)},
        class_columns=_CLASS_COLUMNS,
        classes=class_rows(matrix, names),
        picture_columns=_PICTURE_COLUMNS,
        pictures=list(_picture_rows(tally, dataset)),
        table=table(matrix, names),
        drawings={"confusion.png": lambda: draw_confusion(matrix, names)},
        compare=compare,
    )


def table(matrix: ConfusionMatrix, names: Sequence[str]) -> str:
    """IoU and accuracy of every class in per cent, then the three figures of them all; "-" where nothing counts."""
    rows = [(row["class"], row["IoU"], row["Acc"]) for row in class_rows(matrix, names)]
    return table_of(("class", "IoU", "Acc"), rows, {"aAcc": matrix.aacc, "mIoU": matrix.miou, "mAcc": matrix.macc})


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
        dict(zip(_CLASS_COLUMNS, (index, name, number(iou), number(accuracy), *pixels), strict=True))
        for index, (name, iou, accuracy, *pixels) in enumerate(figures)
    ]


def _picture_rows(tally: SemanticTally, dataset: SemanticDataset) -> Iterable[tuple]:
    for index in worst_pictures(tally, len(dataset)):
        found, counted = tally.pixels[index].tolist()
        yield dataset.name(index), float(tally.ious[index]), found / counted, counted

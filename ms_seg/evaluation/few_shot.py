"""IoU of one named thing a picture, as HSNet and lang-seg count it, and the loop over a fold."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from convert.atomic import whole_file
from convert.progress import progress_bar
from ms_seg.data.few_shot import FewShotFold
from ms_seg.data.numbering import IGNORED
from ms_seg.evaluation.tally import file_stamp

Find = Callable[[np.ndarray, int], np.ndarray]

_PAUSE = 10.0  # seconds between two times that what is counted is kept


class FewShotIoU:
    """Pixels of the thing and of all others, summed over the pictures of each class (fewshot_data/common in lang-seg).

    intersection, union: (C, 2) int64; column 0 is what is not the thing, column 1 the thing. The original sums in
    float32, which rounds beyond 2**24 pixels: its figures may differ from these in the sixth digit.

    Figures are fractions, float64. Raises ValueError for fewer than one class.
    """

    def __init__(self, num_classes: int):
        if num_classes < 1:
            raise ValueError(f"{num_classes} classes cannot be counted")
        self.intersection = np.zeros((num_classes, 2), np.int64)
        self.union = np.zeros((num_classes, 2), np.int64)

    def update(self, prediction: np.ndarray, truth: np.ndarray, label: int) -> None:
        """Add a picture of the class `label`.

        Args:
            prediction: (H, W) of bool or integers, 1 for the thing and 0 elsewhere.
            truth: (H, W) uint8, the same, and 255 where nothing is to be counted.

        Raises ValueError for maps of different shapes, other values, and a class that there is not.
        """
        if prediction.shape != truth.shape:
            raise ValueError(f"prediction {prediction.shape} and truth {truth.shape} differ in shape")
        if not 0 <= label < len(self.union):
            raise ValueError(f"there is no class {label}, of {len(self.union)} from 0")
        for name, values, known in (("prediction", prediction, (0, 1)), ("truth", truth, (0, 1, IGNORED))):
            if not np.isin(values, known).all():
                raise ValueError(f"the {name} has values other than {', '.join(map(str, known))}")
        counted = truth != IGNORED
        pairs = np.bincount(2 * truth[counted].astype(np.intp) + prediction[counted], minlength=4).reshape(2, 2)
        self.intersection[label] += pairs.diagonal()
        self.union[label] += pairs.sum(axis=0) + pairs.sum(axis=1) - pairs.diagonal()

    @property
    def per_class_iou(self) -> np.ndarray:
        """(C,): of the thing; 0 for a class that was in no picture and no prediction, as in the original."""
        return self.intersection[:, 1] / np.maximum(self.union[:, 1], 1)

    @property
    def miou(self) -> float:
        """Mean of `per_class_iou` over all classes, met or not."""
        return float(self.per_class_iou.mean())

    @property
    def fb_iou(self) -> float:
        """Foreground and background IoU of all classes together, averaged; nan while one of them was nowhere."""
        intersection, union = self.intersection.sum(axis=0), self.union.sum(axis=0)
        return float((intersection / union).mean()) if union.all() else float("nan")


def evaluate_few_shot(fold: FewShotFold, find: Find, kept: KeptFigures | None = None) -> FewShotIoU:
    """Count every picture of a fold, with a progress bar that says mIoU and FB-IoU in per cent.

    Args:
        find: a picture, RGB (H, W, 3) uint8, and the class to be found in it -> a map (h, w) of bool or 0 and 1. The
            truth is brought to the map's size by the nearest neighbour, as the original compares at 480x480.
        kept: where to go on from, and to keep what is counted; None begins anew and keeps nothing.

    Raises ValueError or RuntimeError, in one sentence that names the file or the picture.
    """
    figures = FewShotIoU(len(fold.names))
    done = kept.resume(figures) if kept else 0
    with progress_bar(len(fold), "segmenting", done=done, log="ms_seg") as bar:
        for index in range(done, len(fold)):
            query, (picture, truth) = fold.queries[index], fold[index]
            try:
                prediction = find(picture, query.label)
            except (ValueError, RuntimeError) as error:
                raise type(error)(f"{query.picture}: {error}") from error
            figures.update(prediction, nearest(truth, prediction.shape), query.label)
            if kept:
                kept.save_now_and_then(figures, index + 1)
            bar(text=figures_text(figures))
    if kept:
        kept.finish()
    return figures


def figures_text(figures: FewShotIoU, between: str = "  |  ") -> str:
    """Both figures in per cent, as the original prints them."""
    return f"mIoU: {100 * figures.miou:5.2f}{between}FB-IoU: {100 * figures.fb_iou:5.2f}"


def nearest(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) -> size, with the pixels that PyTorch's interpolate(mode="nearest") takes: neither Pillow's nor OpenCV's.

    Its positions are rounded down from products with a float32 scale.
    """
    rows, columns = (
        np.minimum((np.arange(target, dtype=np.float32) * np.float32(source / target)).astype(np.intp), source - 1)
        for source, target in zip(labels.shape, size, strict=True)
    )
    return labels[rows[:, None], columns]


class KeptFigures:
    """Keeps what is counted in a file, so that the same evaluation goes on after an interruption.

    Args:
        folder: where the file lies. Files of other evaluations beside it are left alone.
        evaluation: what is evaluated and how, ready for JSON: whatever changes the figures belongs into it.
        fold: its files' sizes and times of writing belong to it too.
    """

    def __init__(self, folder: Path, evaluation: Mapping[str, Any], fold: FewShotFold):
        stamps = [file_stamp(query.picture, query.mask) for query in fold.queries]
        identity = json.dumps([evaluation, fold.names, stamps], sort_keys=True)
        self._path = folder / f"partial.{hashlib.sha256(identity.encode()).hexdigest()[:16]}.npz"
        self._saved = time.monotonic()

    def resume(self, figures: FewShotIoU) -> int:
        """Put what was counted into empty figures; returns of how many pictures. A damaged file counts as none."""
        try:
            with np.load(self._path, allow_pickle=False) as arrays:
                done, intersection, union = int(arrays["done"]), arrays["intersection"], arrays["union"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return 0
        figures.intersection += intersection
        figures.union += union
        return done

    def save_now_and_then(self, figures: FewShotIoU, done: int) -> None:
        """Save, if the last time was long enough ago. Raises OSError."""
        if time.monotonic() - self._saved < _PAUSE:
            return
        with whole_file(self._path) as draft, draft.open("wb") as file:
            np.savez(file, done=done, intersection=figures.intersection, union=figures.union)
        self._saved = time.monotonic()

    def finish(self) -> None:
        """Throw away what was kept: the evaluation is done."""
        self._path.unlink(missing_ok=True)

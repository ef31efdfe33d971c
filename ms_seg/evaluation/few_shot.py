"""Few-shot segmentation: the IoU of one named thing in each picture, as HSNet and lang-seg count it."""

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

_PAUSE = 10.0  # seconds between two savings of what has been counted


class FewShotIoU:
    """Pixels of foreground and background, summed over the pictures of each class (fewshot_data/common in lang-seg).

    intersection, union: (C, 2) int64; column 0 is the background, column 1 the thing. The original sums in float32,
    which rounds beyond 2**24 pixels: its figures may differ from these in the sixth digit.

    Figures are fractions, float64. Raises ValueError for fewer than one class.
    """

    def __init__(self, num_classes: int):
        if num_classes < 1:
            raise ValueError(f"there must be at least one class to count: num_classes is {num_classes}")
        self.intersection = np.zeros((num_classes, 2), np.int64)
        self.union = np.zeros((num_classes, 2), np.int64)

    def update(self, prediction: np.ndarray, truth: np.ndarray, label: int) -> None:
        """Add a picture of the class `label`.

        Args:
            prediction: (H, W) bool or integers, 1 for the thing and 0 elsewhere.
            truth: (H, W) uint8, the same, and 255 where nothing is counted.

        Raises ValueError for maps of different shapes, other values, and an unknown class.
        """
        if prediction.shape != truth.shape:
            raise ValueError(f"prediction and truth must have one shape: {prediction.shape} and {truth.shape} differ")
        if not 0 <= label < len(self.union):
            raise ValueError(f"the class must be 0 to {len(self.union) - 1}: it is {label}")
        for name, values, known in (("prediction", prediction, (0, 1)), ("truth", truth, (0, 1, IGNORED))):
            if not np.isin(values, known).all():
                raise ValueError(f"the {name} must hold {', '.join(map(str, known))} alone")
        counted = truth != IGNORED
        pairs = np.bincount(2 * truth[counted].astype(np.intp) + prediction[counted], minlength=4).reshape(2, 2)
        self.intersection[label] += pairs.diagonal()
        self.union[label] += pairs.sum(axis=0) + pairs.sum(axis=1) - pairs.diagonal()

    @property
    def per_class_iou(self) -> np.ndarray:
        """(C,), of the thing; 0 for a class in no picture and no prediction, as in the original."""
        return self.intersection[:, 1] / np.maximum(self.union[:, 1], 1)

    @property
    def miou(self) -> float:
        """The mean of `per_class_iou` over all classes, whether they occurred or not."""
        return float(self.per_class_iou.mean())

    @property
    def fb_iou(self) -> float:
        """The mean of foreground and background IoU over all classes together; nan as long as one did not occur."""
        intersection, union = self.intersection.sum(axis=0), self.union.sum(axis=0)
        return float((intersection / union).mean()) if union.all() else float("nan")


def evaluate_few_shot(fold: FewShotFold, find: Find, kept: KeptFigures | None = None) -> FewShotIoU:
    """Count every picture of a fold, with a progress bar that says mIoU and FB-IoU in per cent.

    Args:
        find: (RGB (H, W, 3) uint8, the class to be found) -> a map (h, w) of bool, or 0 and 1. The truth is resized to
            it by nearest neighbour, as the original compares at 480x480.
        kept: where to continue from and save to; None begins anew and saves nothing.

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
    """Both figures in per cent, in the form that the original prints."""
    return f"mIoU: {100 * figures.miou:5.2f}{between}FB-IoU: {100 * figures.fb_iou:5.2f}"


def nearest(label_map: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """(H, W) -> size, by PyTorch's interpolate(mode="nearest"), which takes other pixels than Pillow and OpenCV.

    Positions are products with a float32 scale, rounded down.
    """
    rows, columns = (
        np.minimum((np.arange(target, dtype=np.float32) * np.float32(source / target)).astype(np.intp), source - 1)
        for source, target in zip(label_map.shape, size, strict=True)
    )
    return label_map[rows[:, None], columns]


class KeptFigures:
    """What has been counted, in a file from which an interrupted evaluation continues.

    Args:
        folder: of the file. Files of other evaluations in it are left alone.
        evaluation: what is evaluated and how, ready for JSON: everything that affects the figures.
        fold: the sizes and modification times of its files count too.
    """

    def __init__(self, folder: Path, evaluation: Mapping[str, Any], fold: FewShotFold):
        stamps = [file_stamp(query.picture, query.mask) for query in fold.queries]
        identity = json.dumps([evaluation, fold.names, stamps], sort_keys=True)
        self._path = folder / f"partial.{hashlib.sha256(identity.encode()).hexdigest()[:16]}.npz"
        self._saved = time.monotonic()

    def resume(self, figures: FewShotIoU) -> int:
        """Load what was counted into empty figures. Returns of how many pictures; 0 if there is no intact file."""
        try:
            with np.load(self._path, allow_pickle=False) as arrays:
                done, intersection, union = int(arrays["done"]), arrays["intersection"], arrays["union"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return 0
        figures.intersection += intersection
        figures.union += union
        return done

    def save_now_and_then(self, figures: FewShotIoU, done: int) -> None:
        """Save, unless that was done less than _PAUSE seconds ago. Raises OSError."""
        if time.monotonic() - self._saved < _PAUSE:
            return
        with whole_file(self._path) as draft, draft.open("wb") as file:
            np.savez(file, done=done, intersection=figures.intersection, union=figures.union)
        self._saved = time.monotonic()

    def finish(self) -> None:
        """Delete the file: the evaluation is done."""
        self._path.unlink(missing_ok=True)

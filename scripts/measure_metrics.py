"""How fast label maps are counted: megapixels a second on one core. `benchmark.py --metrics` prints it."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ms_seg.evaluation.semantic.confusion import ConfusionMatrix  # noqa: E402

SIZES = ((512, 683), (2000, 3000))  # of ADE20K's usual pictures, and of a large one


def measure_metrics(num_classes: int = 150, runs: int = 20) -> list[dict]:
    """Rows, also printed, for each size and type of label map: size, dtype, megapixels_per_second (median run)."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    rows = []
    for size in SIZES:
        prediction, truth = _label_maps(size, num_classes)
        for dtype in (np.uint8, np.int32):  # as files hold them, and as a Segmenter answers
            speed = size[0] * size[1] / _seconds(num_classes, prediction.astype(dtype), truth, runs) / 1e6
            rows.append(
                {"size": "x".join(map(str, size)), "dtype": dtype.__name__, "megapixels_per_second": round(speed)}
            )
            print("metrics of {size} pixels, predictions in {dtype}: {megapixels_per_second} MP/s".format(**rows[-1]))
    cv2.setNumThreads(threads)
    return rows


def _label_maps(size: tuple[int, int], num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Regions of 32 pixels, a third of whose smaller parts are mistaken; a twentieth of the pixels is ignored."""
    rng = np.random.default_rng(0)

    def regions(side: int) -> np.ndarray:
        coarse = rng.integers(0, num_classes, [-(-length // side) for length in size]).astype(np.uint8)
        return coarse.repeat(side, axis=0).repeat(side, axis=1)[: size[0], : size[1]]

    truth = regions(32)
    prediction = np.where(regions(4) < num_classes / 3, regions(4), truth)
    return prediction, np.where(rng.random(size) < 0.05, np.uint8(255), truth)


def _seconds(num_classes: int, prediction: np.ndarray, truth: np.ndarray, runs: int) -> float:
    matrix, times = ConfusionMatrix(num_classes), []
    for _ in range(runs):
        begun = time.perf_counter()
        matrix.update(prediction, truth)
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


if __name__ == "__main__":
    measure_metrics()

"""What is counted so far of an evaluation, and how it outlives an interruption."""

from __future__ import annotations

import hashlib
import json
import os
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from convert.atomic import whole_file
from ms_seg.distributed import World
from ms_seg.evaluation.semantic import ConfusionMatrix, picture_iou

_LARGEST_SHARE = 0.05  # of the time, for keeping what is counted


class Tally:
    """The counts of the pictures done, and the mIoU and accuracy of each.

    done: (N,) bool. pixels: (N, 2) int64, those found and those counted of each picture. ious: (N,) float64, 0 where
    not done, nan where a picture has nothing to count.
    """

    def __init__(self, num_pictures: int, num_classes: int):
        self.matrix = ConfusionMatrix(num_classes)
        self.done = np.zeros(num_pictures, bool)
        self.pixels = np.zeros((num_pictures, 2), np.int64)
        self.ious = np.zeros(num_pictures)

    def add(self, index: int, prediction: np.ndarray, truth: np.ndarray) -> None:
        """Count a picture. Raises ValueError for label maps that do not fit, see `ConfusionMatrix.update`."""
        counts = self.matrix.update(prediction, truth)
        self.done[index] = True
        self.pixels[index] = counts.trace(), counts.sum()
        self.ious[index] = picture_iou(counts)

    def merge(self, other: Tally) -> None:
        """Take in what another one counted of other pictures."""
        self.matrix.counts += other.matrix.counts
        self.done |= other.done
        self.pixels += other.pixels
        self.ious += other.ious

    def over(self, world: World) -> Tally:
        """The tallies of all ranks together, on each of them."""
        total = Tally(len(self.done), self.matrix.num_classes)
        total.matrix.counts = world.sum(self.matrix.counts)
        total.done = world.sum(self.done.astype(np.uint8)).astype(bool)
        total.pixels = world.sum(self.pixels)
        total.ious = world.sum(self.ious)  # one rank has each: nothing is rounded
        return total


class TallyFiles:
    """Keeps each rank's tally in a folder, so that the same evaluation goes on after an interruption.

    Files are told apart by what is evaluated; others are thrown away. The number of ranks may change in between.

    Args:
        evaluation: what is evaluated and how, ready for JSON: whatever changes the figures belongs into it.
        stamps: (N,) uint64, which change with the files of a picture. When a picture's files have changed since it was
            counted, all begins again, for it cannot be taken out of the sums.
    """

    def __init__(self, folder: Path, evaluation: Mapping[str, Any], stamps: np.ndarray):
        identity = hashlib.sha256(json.dumps(evaluation, sort_keys=True).encode()).hexdigest()[:16]
        self._folder, self._prefix, self._stamps = folder, f"partial.{identity}", stamps
        self._saved = time.monotonic()
        self._cost = 0.0  # seconds of the last saving

    def resume(self, empty: Tally, world: World) -> tuple[Tally, np.ndarray]:
        """This rank's tally to go on with, and which pictures any rank has done, (N,) bool.

        Rank 0 goes on with all that was counted before; the others begin with the empty tally.
        """
        if world.rank == 0:
            self._folder.mkdir(parents=True, exist_ok=True)
            found = sorted(filter(None, map(self._read, self._files())), key=lambda tally: -tally.done.sum())
            for tally in found:
                if not (tally.done & ~empty.done).any():
                    continue  # merged already, by an evaluation that was stopped before it threw the file away
                empty.merge(tally)
            self.save(empty, world.rank)
            self._discard(keep=self._path(0))
        return empty, world.sum(empty.done.astype(np.uint8)).astype(bool)

    def save_now_and_then(self, tally: Tally, rank: int) -> None:
        """Save, if the last time was so long ago that it costs next to nothing."""
        if time.monotonic() - self._saved > self._cost / _LARGEST_SHARE:
            self.save(tally, rank)

    def save(self, tally: Tally, rank: int) -> None:
        """Keep a rank's tally. Raises OSError."""
        begun = time.monotonic()
        arrays = {"counts": tally.matrix.counts, "done": tally.done, "pixels": tally.pixels, "ious": tally.ious}
        with whole_file(self._path(rank)) as draft, draft.open("wb") as file:
            np.savez(file, stamps=self._stamps, **arrays)
        self._saved = time.monotonic()
        self._cost = self._saved - begun

    def finish(self) -> None:
        """Throw away what was kept: the evaluation is done."""
        self._discard(keep=None)

    def _path(self, rank: int) -> Path:
        return self._folder / f"{self._prefix}.{rank}.npz"

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob(f"{self._prefix}.*.npz"))

    def _discard(self, keep: Path | None) -> None:
        for file in self._folder.glob("partial.*.npz"):
            if file != keep:
                file.unlink(missing_ok=True)

    def _read(self, path: Path) -> Tally | None:
        """A kept tally; None for one that is damaged or counted pictures that have changed since."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                done, stamps, counts = arrays["done"], arrays["stamps"], arrays["counts"]
                tally = Tally(len(done), len(counts))
                tally.matrix.counts, tally.done = counts, done
                tally.pixels, tally.ious = arrays["pixels"], arrays["ious"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        return tally if np.array_equal(stamps[done], self._stamps[done]) else None


def file_stamp(*files: Path) -> int:
    """A number that changes when a file does, by its size and time of writing: 64 bits."""
    states = [(os.fspath(file), status.st_size, status.st_mtime_ns) for file in files for status in [file.stat()]]
    return int.from_bytes(hashlib.blake2b(repr(states).encode(), digest_size=8).digest(), "little")

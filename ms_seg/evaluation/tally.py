"""What an evaluation has counted so far, and how that survives an interruption."""

from __future__ import annotations

import hashlib
import json
import os
import time
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from convert.atomic import whole_file
from ms_seg.distributed import World
from ms_seg.evaluation.predictions import Predictions

_MAX_SHARE = 0.05  # of the time, spent on saving


class Tally(ABC):
    """What has been counted. Each task has its own, which knows what a prediction is and how to score it.

    done: (N,) bool, which pictures have been counted.
    """

    def __init__(self, num_pictures: int):
        self.done = np.zeros(num_pictures, bool)

    @property
    @abstractmethod
    def scores(self) -> np.ndarray:
        """(N,) float64, the score of each picture, 0..1; nan where there was nothing to count."""

    @property
    @abstractmethod
    def text(self) -> str:
        """The figure so far, for a progress bar."""

    @abstractmethod
    def empty(self) -> Self:
        """Another tally of the same kind, with nothing counted."""

    @abstractmethod
    def count(self, index: int, dataset: Any, predictions: Predictions) -> None:
        """Count the prediction for a picture against its ground truth.

        Raises ValueError or RuntimeError, in one sentence that names the file or the picture.
        """

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Add what another tally counted of other pictures."""

    @abstractmethod
    def all_reduce(self, world: World) -> Self:
        """The tallies of all ranks together, on each of them."""

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """The state, to be saved; "done" is part of it."""

    @abstractmethod
    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Load a saved state into an empty tally. Raises ValueError or KeyError for anything else."""

    def worst(self, count: int) -> list[int]:
        """Up to `count` counted pictures with the lowest scores, the lowest first; those without a score left out."""
        scores = self.scores
        counted = np.flatnonzero(self.done & ~np.isnan(scores))
        return counted[np.argsort(scores[counted], kind="stable")][:count].tolist()


class RecordedTally(Tally):
    """A tally that keeps a record of each picture: an array (n,) of one dtype, of any length.

    For figures that depend on all pictures together. Records are added again in the order of the pictures at the end,
    so that sums of floats and ties between equal scores are the same for any number of ranks and interruptions.
    """

    dtype: np.dtype

    def __init__(self, num_pictures: int):
        super().__init__(num_pictures)
        self.records: list[np.ndarray] = [np.empty(0, self.dtype)] * num_pictures

    @abstractmethod
    def update(self, index: int, record: np.ndarray) -> None:
        """Add a picture's record to the figures."""

    def add(self, index: int, record: np.ndarray) -> None:
        """Keep a picture's record, and add it to the figures."""
        self.records[index] = record
        self.done[index] = True
        self.update(index, record)

    def merge(self, other: Self) -> None:
        for index in np.flatnonzero(other.done).tolist():
            self.add(index, other.records[index])

    def all_reduce(self, world: World) -> Self:
        lengths, total = self._lengths(), self.empty()
        ends = np.cumsum(world.sum(lengths))
        content = np.zeros(ends[-1] if len(ends) else 0, np.uint8)
        for index in np.flatnonzero(lengths).tolist():
            content[ends[index] - lengths[index] : ends[index]] = self.records[index].view(np.uint8)
        done = world.sum(self.done.astype(np.uint8)).astype(bool)
        total._fill(done, ends, world.sum(content))  # each record is on one rank alone
        return total

    def arrays(self) -> dict[str, np.ndarray]:
        content = np.concatenate([np.empty(0, np.uint8), *(record.view(np.uint8) for record in self.records)])
        return {"done": self.done, "ends": np.cumsum(self._lengths()), "content": content}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._fill(arrays["done"], arrays["ends"], arrays["content"])

    def _lengths(self) -> np.ndarray:
        return np.array([record.nbytes for record in self.records], np.int64)

    def _fill(self, done: np.ndarray, ends: np.ndarray, content: np.ndarray) -> None:
        begins = np.append(0, ends[:-1])
        for index in np.flatnonzero(done).tolist():
            self.add(index, content[begins[index] : ends[index]].view(self.dtype))


class TallyFiles:
    """Each rank's tally in a folder, from which an interrupted evaluation continues, even with other ranks.

    Files of other evaluations are deleted.

    Args:
        evaluation: what is evaluated and how, ready for JSON: everything that affects the figures.
        stamps: (N,) uint64, which change with the files of a picture (`file_stamp`). If the files of a counted picture
            have changed, everything is counted anew, since one picture cannot be taken out of the sums.
    """

    def __init__(self, folder: Path, evaluation: Mapping[str, Any], stamps: np.ndarray):
        identity = hashlib.sha256(json.dumps(evaluation, sort_keys=True).encode()).hexdigest()[:16]
        self._folder, self._prefix, self._stamps = folder, f"partial.{identity}", stamps
        self._saved = time.monotonic()
        self._cost = 0.0  # seconds that saving took last

    def resume(self, empty: Tally, world: World) -> tuple[Tally, np.ndarray]:
        """This rank's tally to continue with, and which pictures any rank has counted, (N,) bool.

        Rank 0 continues with everything counted before, the other ranks with the empty tally.
        """
        if world.rank == 0:
            self._folder.mkdir(parents=True, exist_ok=True)
            kept = (self._read(path, empty.empty()) for path in self._files())
            found = sorted(filter(None, kept), key=lambda tally: -tally.done.sum())
            for tally in found:
                if not (tally.done & ~empty.done).any():
                    continue  # merged before, by a run that was stopped before it deleted the file
                empty.merge(tally)
            self.save(empty, world.rank)
            self._discard(keep=self._path(0))
        return empty, world.sum(empty.done.astype(np.uint8)).astype(bool)

    def save_now_and_then(self, tally: Tally, rank: int) -> None:
        """Save, unless the last time was so recent that saving would cost more than _MAX_SHARE of the time."""
        if time.monotonic() - self._saved > self._cost / _MAX_SHARE:
            self.save(tally, rank)

    def save(self, tally: Tally, rank: int) -> None:
        """Save a rank's tally. Raises OSError."""
        begun = time.monotonic()
        with whole_file(self._path(rank)) as draft, draft.open("wb") as file:
            np.savez(file, stamps=self._stamps, **tally.arrays())
        self._saved = time.monotonic()
        self._cost = self._saved - begun

    def finish(self) -> None:
        """Delete the files: the evaluation is done."""
        self._discard(keep=None)

    def _path(self, rank: int) -> Path:
        return self._folder / f"{self._prefix}.{rank}.npz"

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob(f"{self._prefix}.*.npz"))

    def _discard(self, keep: Path | None) -> None:
        for file in self._folder.glob("partial.*.npz"):
            if file != keep:
                file.unlink(missing_ok=True)

    def _read(self, path: Path, tally: Tally) -> Tally | None:
        """A saved tally, loaded into an empty one; None if it is damaged or a counted picture has changed since."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                stamps = arrays["stamps"]
                tally.restore(arrays)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        return tally if np.array_equal(stamps[tally.done], self._stamps[tally.done]) else None


def file_stamp(*files: Path) -> int:
    """64 bits that change when a file does, by its size and modification time."""
    states = [(os.fspath(file), status.st_size, status.st_mtime_ns) for file in files for status in [file.stat()]]
    return int.from_bytes(hashlib.blake2b(repr(states).encode(), digest_size=8).digest(), "little")

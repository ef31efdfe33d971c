"""What is counted so far of an evaluation, and how it outlives an interruption."""

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

_LARGEST_SHARE = 0.05  # of the time, for keeping what is counted


class Tally(ABC):
    """What is counted of an evaluation: one of some kind, which knows what a prediction is and how it is scored.

    done: (N,) bool, the pictures that are counted.
    """

    def __init__(self, num_pictures: int):
        self.done = np.zeros(num_pictures, bool)

    @property
    @abstractmethod
    def scores(self) -> np.ndarray:
        """(N,) float64, how good the prediction of each picture is, 0 to 1; nan where there was nothing to count."""

    @property
    @abstractmethod
    def text(self) -> str:
        """The figure of what is counted so far, for a bar."""

    @abstractmethod
    def empty(self) -> Tally:
        """Another of this kind with nothing counted."""

    @abstractmethod
    def count(self, index: int, dataset: Any, predictions: Any) -> None:
        """Read the truth of a picture, ask for its prediction, and count.

        Raises ValueError or RuntimeError in one sentence that names the file or the picture.
        """

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Take in what another one counted of other pictures."""

    @abstractmethod
    def over(self, world: World) -> Self:
        """The tallies of all ranks together, on each of them."""

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """All that is counted, to be kept; "done" is among them."""

    @abstractmethod
    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Put what was kept into an empty one. Raises ValueError or KeyError for what is no such state."""


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
            kept = (self._read(path, empty.empty()) for path in self._files())
            found = sorted(filter(None, kept), key=lambda tally: -tally.done.sum())
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
        with whole_file(self._path(rank)) as draft, draft.open("wb") as file:
            np.savez(file, stamps=self._stamps, **tally.arrays())
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

    def _read(self, path: Path, tally: Tally) -> Tally | None:
        """A kept tally, put into an empty one; None if it is damaged or counted pictures that have changed since."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                stamps = arrays["stamps"]
                tally.restore(arrays)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        return tally if np.array_equal(stamps[tally.done], self._stamps[tally.done]) else None


def file_stamp(*files: Path) -> int:
    """A number that changes when a file does, by its size and time of writing: 64 bits."""
    states = [(os.fspath(file), status.st_size, status.st_mtime_ns) for file in files for status in [file.stat()]]
    return int.from_bytes(hashlib.blake2b(repr(states).encode(), digest_size=8).digest(), "little")

"""Tallies whose figures are known only from all pictures together: what is found of each is recorded."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np

from ms_seg.distributed import World
from ms_seg.evaluation.tally import Tally


class RecordedTally(Tally):
    """A record of each picture done, an array (n,) of one dtype and any length.

    At the end the records are taken in again in the order of the pictures: sums of floats, and ties between equal
    scores, come out the same for any number of ranks and interruptions.
    """

    dtype: np.dtype

    def __init__(self, num_pictures: int):
        super().__init__(num_pictures)
        self.records: list[np.ndarray] = [np.empty(0, self.dtype)] * num_pictures

    @abstractmethod
    def take_in(self, index: int, record: np.ndarray) -> None:
        """Count the record of a picture."""

    def add(self, index: int, record: np.ndarray) -> None:
        """Keep the record of a picture, and count it."""
        self.records[index] = record
        self.done[index] = True
        self.take_in(index, record)

    def merge(self, other: RecordedTally) -> None:
        for index in np.flatnonzero(other.done).tolist():
            self.add(index, other.records[index])

    def over(self, world: World) -> RecordedTally:
        lengths, total = self._lengths(), self.empty()
        ends = np.cumsum(world.sum(lengths))
        content = np.zeros(ends[-1] if len(ends) else 0, np.uint8)
        for index in np.flatnonzero(lengths).tolist():
            content[ends[index] - lengths[index] : ends[index]] = self.records[index].view(np.uint8)
        done = world.sum(self.done.astype(np.uint8)).astype(bool)
        total._fill(done, ends, world.sum(content))  # one rank has each
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

"""What the predictions of every task have in common, whether a model makes them or files hold them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Predictions(Protocol[T_co]):
    """A prediction for each picture of a dataset: a label map, a panoptic map, or a list of detections."""

    def __getitem__(self, index: int) -> T_co:
        """The prediction for a picture. Raises ValueError or RuntimeError, in one sentence that names the picture or
        the file."""

    def source(self, index: int) -> str:
        """Where the prediction comes from, for error messages."""


class Segment(Protocol):
    """What answers the pictures of a dataset: `inference.segmenter.DatasetSegmenter`."""

    def __call__(self, picture: np.ndarray) -> Any:
        """RGB (H, W, 3) uint8 -> its answer."""

    def stream(
        self,
        items: Iterable[int],
        read: Callable[[int], np.ndarray],
        finish: Callable[[int, Any], str],
        name: Callable[[int], str],
    ) -> Generator[tuple[int, Any]]:
        """Many, see `Segmenter.stream`."""


class ModelPredictions(ABC, Generic[T]):
    """Predictions made by a model when they are asked for.

    Args:
        segment: what answers the pictures.
        dataset: whose pictures are segmented.
        folder: if given, the predictions are written there too, in the form that the task's files have.
    """

    def __init__(self, segment: Segment, dataset: Any, folder: Path | None = None):
        self.segment, self.dataset, self.folder = segment, dataset, folder

    def __getitem__(self, index: int) -> T:
        picture = self.dataset.picture(index)
        try:
            answer = self.segment(picture)
        except (ValueError, RuntimeError) as error:
            raise type(error)(f"{self.dataset.name(index)}: {error}") from error
        return self.read(index, answer)

    def stream(self, indices: Iterable[int], count: Callable[[int, T], str]) -> Generator[str]:
        """The predictions for many pictures, in this order, each handed to `count`; yields what that returns.

        `count` runs in another thread, while the model looks at the next picture. Raises as `__getitem__` does.
        """

        def finish(index: int, answer: Any) -> str:
            return count(index, self.read(index, answer))

        with closing(self.segment.stream(indices, self.dataset.picture, finish, self.dataset.name)) as results:
            for _, result in results:
                if isinstance(result, Exception):
                    raise result
                yield result

    @abstractmethod
    def read(self, index: int, answer: Any) -> T:
        """The prediction in an answer; where there is a folder, written to it."""

    def source(self, index: int) -> str:
        return f"the answer to {self.dataset.name(index)}"

    def finish(self, tally: Any) -> None:
        """Write what needs all pictures, from the tally of them all. One process calls it, at the end."""


class CachedPredictions(Generic[T]):
    """Other predictions, some of which are kept, so that the worst are not made a second time to be drawn."""

    def __init__(self, predictions: Predictions[T]):
        self._predictions = predictions
        self._kept: dict[int, T] = {}

    def __getitem__(self, index: int) -> T:
        if index not in self._kept:
            self._kept[index] = self._predictions[index]
        return self._kept[index]

    def stream(self, indices: Iterable[int], count: Callable[[int], str]) -> Iterator[str]:
        """Have the pictures counted, in this order, with their predictions at hand; yields what `count` returns.

        Of a model, the next predictions are made meanwhile, and `count` runs in another thread.
        """

        def count_kept(index: int, prediction: T) -> str:
            self._kept[index] = prediction
            return count(index)

        if isinstance(self._predictions, ModelPredictions):
            yield from self._predictions.stream(indices, count_kept)
        else:
            yield from map(count, indices)

    def source(self, index: int) -> str:
        return self._predictions.source(index)

    def keep_only(self, indices: Container[int]) -> None:
        """Free the memory of all others."""
        self._kept = {index: kept for index, kept in self._kept.items() if index in indices}

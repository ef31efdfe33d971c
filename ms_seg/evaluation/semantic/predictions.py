"""Where predicted label maps come from: a model that makes them, or a folder that holds them."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image

from convert.atomic import whole_file
from ms_seg.data.numbering import read_values
from ms_seg.data.semantic import SemanticDataset

if TYPE_CHECKING:
    from ms_seg.answers.semantic import Answer
    from ms_seg.data.panoptic import PanopticMap
    from ms_seg.evaluation.instance.average_precision import Detection
    from ms_seg.evaluation.tally import Tally

_BYTE = 256  # values of an 8-bit picture


class Predictions(Protocol):
    """A label map for each picture of a dataset, by the picture's index."""

    def label_map(self, index: int) -> np.ndarray:
        """(H, W) of integers: class indices from 0; what is beyond the dataset's classes is no class.

        Raises ValueError or RuntimeError in one sentence that names the picture or the file.
        """

    def source(self, index: int) -> str:
        """What made the label map, for a sentence about it."""


class ModelPredictions:
    """A model's predictions.

    Args:
        segment: a `Segmenter`, or whatever answers a picture as it does.
        dataset: its pictures are segmented.
        folder: if given, every label map is written there as `<name>.png`, the class index of each pixel.
    """

    def __init__(self, segment: Callable[[np.ndarray], Answer], dataset: SemanticDataset, folder: Path | None = None):
        self._segment, self._dataset, self._folder = segment, dataset, folder

    def label_map(self, index: int) -> np.ndarray:
        picture = self._dataset.picture(index)
        try:
            answer = self._segment(picture)
        except (ValueError, RuntimeError) as error:
            raise type(error)(f"{self._dataset.name(index)}: {error}") from error
        if self._folder:
            write_prediction(answer.label_map, self._folder / f"{self._dataset.name(index)}.png")
        return answer.label_map

    def source(self, index: int) -> str:
        return f"the answer to {self._dataset.name(index)}"

    def finish(self, tally: Tally) -> None:
        """Called by one process when all pictures are done; there is nothing left to write."""


class SavedPredictions:
    """Predictions from a folder, `<name>.png` for each picture, as `write_prediction` makes them.

    Args:
        num_outputs: how many classes a prediction may name, from 0.

    Raises ValueError, naming the file, when there is no such folder, when it lacks a picture's prediction and when it
    holds a PNG that belongs to no picture.
    """

    def __init__(self, folder: Path, dataset: SemanticDataset, num_outputs: int):
        self._folder, self._dataset, self._num_outputs = folder, dataset, num_outputs
        if not folder.is_dir():
            raise ValueError(f"there is no folder {folder}")
        names = {f"{dataset.name(index)}.png" for index in range(len(dataset))}
        found = {file.name for file in folder.iterdir() if file.suffix.lower() == ".png"}
        found = {name for name in found if not name.startswith(".")}
        if missing := sorted(names - found):
            others = f", nor for {len(missing) - 1} others" if len(missing) > 1 else ""
            raise ValueError(f"{folder / missing[0]} is missing: the picture has no prediction{others}")
        if extra := sorted(found - names):
            raise ValueError(f"{folder / extra[0]} belongs to no picture of the dataset: is it another split's?")

    def label_map(self, index: int) -> np.ndarray:
        values = read_values(self._path(index))
        highest = int(values.max(initial=0))
        if highest >= self._num_outputs:
            raise ValueError(f"{self._path(index)} predicts class {highest}, of {self._num_outputs} numbered from 0")
        return values

    def source(self, index: int) -> str:
        return str(self._path(index))

    def _path(self, index: int) -> Path:
        return self._folder / f"{self._dataset.name(index)}.png"


class Remembered:
    """Other predictions, of which some are kept, so that the worst of them need not be made again to be drawn.

    It has the door that the others have: `label_map`, `panoptic` or `detections`.
    """

    def __init__(self, predictions: Any):
        self._predictions = predictions
        self._kept: dict[int, Any] = {}

    def label_map(self, index: int) -> np.ndarray:
        return self._once(self._predictions.label_map, index)

    def panoptic(self, index: int) -> PanopticMap:
        return self._once(self._predictions.panoptic, index)

    def detections(self, index: int) -> Sequence[Detection]:
        return self._once(self._predictions.detections, index)

    def source(self, index: int) -> str:
        return self._predictions.source(index)

    def forget_all_but(self, indices: Container[int]) -> None:
        """Give back the memory of the others."""
        self._kept = {index: kept for index, kept in self._kept.items() if index in indices}

    def _once(self, ask: Callable[[int], Any], index: int) -> Any:
        if index not in self._kept:
            self._kept[index] = ask(index)
        return self._kept[index]


def write_prediction(label_map: np.ndarray, path: Path) -> None:
    """A label map (H, W) of integers from 0 as a grey PNG, of 8 bits or, where a class needs them, 16.

    The file appears under its name only when it is whole; the folder is made if missing. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    depth = np.uint8 if label_map.max(initial=0) < _BYTE else np.uint16
    with whole_file(path) as draft:
        Image.fromarray(label_map.astype(depth)).save(draft, "PNG")

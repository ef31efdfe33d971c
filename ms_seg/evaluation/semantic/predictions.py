"""Predicted label maps, made by a model or read from a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from convert.atomic import whole_file
from ms_seg.answers import Answer
from ms_seg.answers.base import SEGMENTED
from ms_seg.data.numbering import read_values
from ms_seg.data.pairing import files_below
from ms_seg.data.semantic import SemanticDataset
from ms_seg.evaluation.predictions import ModelPredictions

_BYTE = 256  # values of an 8-bit picture


class ModelLabelMaps(ModelPredictions[np.ndarray]):
    """Label maps (H, W) int32 made by a model; each written to the folder, if there is one, as `<name>.png`."""

    def read(self, index: int, answer: Answer) -> np.ndarray:
        if self.folder:
            write_label_map(answer.label_map, self.folder / f"{self.dataset.name(index)}.png")
        return answer.label_map


class SavedLabelMaps:
    """Label maps (H, W) from a folder: `<name>.png` for each picture, as `write_label_map` writes them; or what the
    command `segment` wrote, of which `<name>.labels.png` counts.

    Args:
        num_outputs: how many classes a prediction may name, counted from 0.

    Raises ValueError, naming the file: for a missing folder, a picture without a prediction, and a PNG file that
    belongs to no picture.
    """

    def __init__(self, folder: Path, dataset: SemanticDataset, num_outputs: int):
        self._folder, self._dataset, self._num_outputs = folder, dataset, num_outputs
        if not folder.is_dir():
            raise ValueError(f"there is no folder {folder}")
        found = set(files_below(folder, (".png",)))
        self._ending = ".png"
        if any(name.endswith(SEGMENTED) for name in found):
            self._ending = SEGMENTED
            found = {name for name in found if name.endswith(SEGMENTED)}
        names = {self._file_name(index) for index in range(len(dataset))}
        if len(names) < len(dataset):
            raise ValueError(
                f"{folder} cannot tell pictures apart that have one name in several folders of the dataset"
            )
        if missing := sorted(names - found):
            others = f", nor for {len(missing) - 1} others" if len(missing) > 1 else ""
            raise ValueError(f"{folder / missing[0]} is missing: the picture has no prediction{others}")
        if extra := sorted(found - names):
            raise ValueError(f"{folder / extra[0]} belongs to no picture of the dataset: is it another split's?")

    def __getitem__(self, index: int) -> np.ndarray:
        values = read_values(self._path(index))
        highest = int(values.max(initial=0))
        if highest >= self._num_outputs:
            raise ValueError(f"{self._path(index)} predicts class {highest}, of {self._num_outputs} numbered from 0")
        return values

    def source(self, index: int) -> str:
        return str(self._path(index))

    def _path(self, index: int) -> Path:
        return self._folder / self._file_name(index)

    def _file_name(self, index: int) -> str:
        """`segment` writes what lies in any folder into one."""
        name = self._dataset.name(index)
        return (name.rpartition("/")[2] if self._ending == SEGMENTED else name) + self._ending


def write_label_map(label_map: np.ndarray, path: Path) -> None:
    """Write a label map (H, W), integers from 0, as a grey PNG of 8 bits, or of 16 where a class needs them.

    The file appears under its name only when it is whole; its folder is made if missing. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    depth = np.uint8 if label_map.max(initial=0) < _BYTE else np.uint16
    with whole_file(path) as draft:
        Image.fromarray(label_map.astype(depth)).save(draft, "PNG")

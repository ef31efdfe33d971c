"""Names and colours of the classes, one table for each published label set.

`label_sets/*.tsv` hold them in the order of the networks' outputs. ADE20K's and COCO-Stuff's names and colours are
those of mmsegmentation 0.30 (ADE20KDataset, COCOStuffDataset). Some published colours stand twice (COCO-Stuff's person
and bicycle, ADE20K's road and skyscraper); they are kept, and the overlay tells such classes apart where both are in a
picture.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

_FOLDER = Path(__file__).parent / "label_sets"
_GOLDEN_RATIO = 0.618033988749895  # successive multiples spread evenly around the colour circle


@dataclass(frozen=True, eq=False)
class LabelSet:
    """The classes of a model, in the order of its outputs: names, and an RGB palette (C, 3) uint8."""

    names: tuple[str, ...]
    palette: np.ndarray

    def __len__(self) -> int:
        return len(self.names)


@cache
def read_labels(name: str) -> LabelSet:
    """The published label set of that name, such as "ade20k". Raises ValueError, naming those there are."""
    known = sorted(path.stem for path in _FOLDER.glob("*.tsv"))
    if name not in known:
        raise ValueError(f"there is no label set {name!r}: choose from {', '.join(known)}")
    rows = (_FOLDER / f"{name}.tsv").read_text(encoding="utf-8").splitlines()[1:]
    names, colours = zip(*(row.split("\t") for row in rows), strict=True)
    palette = np.array([list(bytes.fromhex(colour.removeprefix("#"))) for colour in colours], np.uint8)
    palette.flags.writeable = False  # every caller is given the same array
    return LabelSet(names, palette)


def numbered_labels(count: int) -> LabelSet:
    """Labels "class 0", "class 1", ... for classes without published names, in colours that neighbours do not share."""
    hues = np.arange(count) * _GOLDEN_RATIO % 1
    colours = [colorsys.hsv_to_rgb(hue, (0.9, 0.6)[i % 2], (0.95, 0.75, 0.55)[i % 3]) for i, hue in enumerate(hues)]
    palette = np.round(np.array(colours).reshape(count, 3) * 255).astype(np.uint8)
    return LabelSet(tuple(f"class {i}" for i in range(count)), palette)

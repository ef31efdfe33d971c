"""Panoptic maps: each pixel of a picture belongs to one segment, a thing or a kind of stuff, or to none (void)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from ms_seg.data.picture import packed, read_stored
from ms_seg.label_sets import LabelSet

VOID = 0  # the id of pixels that belong to no segment
MAX_IDS = 1 << 24  # what three bytes of a PNG can hold
NO_CLASS = 0xFFFF  # the void, in a map of classes


@dataclass(frozen=True)
class Segment:
    """One segment of a panoptic map.

    id: its number in the map, from 1. label: its class as an index. iscrowd: it stands for a group of things that were
    not told apart. area: in pixels, as the annotation says, which is where panopticapi takes the truth's from.
    """

    id: int
    label: int
    iscrowd: bool
    area: float


@dataclass(frozen=True, eq=False)
class PanopticMap:
    """ids: (H, W) int32, the segment of each pixel, VOID for none. segments: those in the map, each id once."""

    ids: np.ndarray
    segments: tuple[Segment, ...]

    def classes(self) -> np.ndarray:
        """(H, W) uint16, the class of each pixel as an index, NO_CLASS where it is void."""
        labels = np.array([NO_CLASS, *(segment.label for segment in self.segments)], np.uint16)
        return labels[renumbered(self.ids, [segment.id for segment in self.segments])]


class PanopticDataset(Protocol):
    """Pictures and their panoptic maps, by index; its label set tells things from stuff.

    Reading raises ValueError, in one sentence that names the file, for whatever is wrong with it.
    """

    @property
    def label_set(self) -> LabelSet: ...

    @property
    def has_pictures(self) -> bool:
        """False if there are only segments."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """The picture's name, without a file ending; unique."""

    def image_id(self, index: int) -> int:
        """The picture's number in annotation files."""

    def picture(self, index: int) -> np.ndarray:
        """RGB, (H, W, 3) uint8."""

    def panoptic(self, index: int) -> PanopticMap:
        """Its segments."""

    def first(self, count: int) -> Self:
        """The first pictures alone."""


def read_ids(file: Path) -> np.ndarray:
    """The ids of a panoptic PNG, (H, W) int32: red + 256 green + 256**2 blue.

    Raises ValueError, naming the file, if it is missing, damaged or without colours.
    """
    if not file.is_file():
        raise ValueError(f"there is no panoptic map {file}")
    colours = read_stored(file)
    if colours.dtype != np.uint8 or colours.ndim != 3 or colours.shape[2] not in (3, 4):
        raise ValueError(f"{file} has no colours: a panoptic map holds ids as red, green and blue")
    return packed(colours)


def to_colours(ids: np.ndarray) -> np.ndarray:
    """Ids (H, W) below MAX_IDS -> RGB (H, W, 3) uint8, as panoptic PNGs hold them."""
    return np.ascontiguousarray(ids.astype("<i4"))[..., None].view(np.uint8)[..., :3]


def to_ids(colours: np.ndarray) -> np.ndarray:
    """RGB (..., 3) uint8 -> ids (...) int64: red + 256 green + 256**2 blue."""
    return colours.astype(np.int64) @ (1, 256, 65536)


def renumbered(ids: np.ndarray, known: Sequence[int]) -> np.ndarray:
    """(H, W) ids -> (H, W) intp: 0 for VOID, 1 for the first id of `known`, 2 for the second, ...

    Raises ValueError for an id in the map that is not known.
    """
    # Zeros take no memory until they are touched, and only the places of ids that occur are touched.
    table = np.zeros(MAX_IDS, np.intp)
    table[VOID] = 1
    table[list(known)] = np.arange(2, len(known) + 2)
    numbers = table[ids]
    if ids.size and not numbers.min():
        raise ValueError(f"segment {ids[numbers == 0][0]} is in the map and has no entry")
    numbers -= 1
    return numbers


def target_map(panoptic: PanopticMap, label_set: LabelSet) -> tuple[np.ndarray, np.ndarray]:
    """The targets of a model of masks: their classes (K,) int32, and the index map (H, W) uint16 of their pixels.

    In the map the first target is 1, the second 2, none 0. Each thing is a target, in the order of the segments, then
    each kind of stuff, in the order of the classes. Crowds are no targets: their pixels are 0, like void (mmdetection
    2.28, LoadPanopticAnnotations and preprocess_panoptic_gt).
    """
    is_thing = [label_set.isthing[segment.label] for segment in panoptic.segments]
    pairs = list(zip(panoptic.segments, is_thing, strict=True))
    labels = [segment.label for segment, thing in pairs if thing and not segment.iscrowd]
    stuff = sorted({segment.label for segment, thing in pairs if not thing})
    place_of_stuff = {label: place for place, label in enumerate(stuff, len(labels) + 1)}
    places, things = [0], 0
    for segment, thing in pairs:
        things += thing and not segment.iscrowd
        places.append(place_of_stuff[segment.label] if not thing else 0 if segment.iscrowd else things)
    numbers = renumbered(panoptic.ids, [segment.id for segment in panoptic.segments])
    return np.array(labels + stuff, np.int32), np.array(places, np.uint16)[numbers]

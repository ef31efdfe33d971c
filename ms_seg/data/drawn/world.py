"""The drawn world as datasets: semantic, by forms or by phrases, and panoptic."""

from __future__ import annotations

import zlib
from dataclasses import replace
from mmap import mmap
from pathlib import Path
from typing import Self

import numpy as np

from ms_seg.data.drawn.phrases import Phrases
from ms_seg.data.drawn.scenes import SHAPES_LABELS, Scene, draw_scene
from ms_seg.data.panoptic import VOID, PanopticMap, Segment

_FIRST_SEED = {"training": 0, "validation": 1_000_000}  # of the drawn world
_SCENES = {"training": 4000, "validation": 200}


class DrawnWorld:
    """Scenes of `ms_seg.data.drawn.scenes`; training and validation have seeds of their own.

    A scene is drawn when it is first asked for, and kept in memory shared with the processes forked from this one,
    `depth` bytes a pixel: drawing a scene takes longer than training on it.

    Args:
        size: (height, width) of the pictures.
        phrases: its classes, instead of the shapes' forms alone.
        max_pictures: leaves out the others.
    """

    depth = 4  # bytes a pixel: picture, label map

    def __init__(
        self,
        split: str,
        size: tuple[int, int] = (160, 160),
        phrases: Phrases | None = None,
        max_pictures: int | None = None,
    ):
        self.split, self.size, self.phrases = split, size, phrases
        self.label_set = phrases.label_set if phrases else SHAPES_LABELS
        self._first, self._count = _FIRST_SEED[split], min(_SCENES[split], max_pictures or _SCENES[split])
        self._row = self.depth * size[0] * size[1]
        self._drawn = np.frombuffer(mmap(-1, self._count * (self._row + 4)), np.uint8).reshape(self._count, -1)

    def __len__(self) -> int:
        return self._count

    def name(self, index: int) -> str:
        return f"scene_{self.seed(index):07}"

    def seed(self, index: int) -> int:
        return self._first + index

    def scene(self, index: int) -> Scene:
        """The complete truth, with instances and their words."""
        return draw_scene(self.seed(index), self.size)

    def first(self, count: int) -> Self:
        """The same world with its first pictures alone."""
        return type(self)(self.split, self.size, self.phrases, count)

    def in_words(self) -> Self:
        """The same world for a model of words: of phrases, training has only the pairs of words that it may see."""
        if self.phrases is None:
            return self
        phrases = replace(self.phrases, seen_only=self.split == "training")
        return type(self)(self.split, self.size, phrases, len(self))

    def picture(self, index: int) -> np.ndarray:
        return self._bytes(index)[: 3 * self._row // self.depth].reshape(*self.size, 3)

    def label_map(self, index: int) -> np.ndarray:
        return self.plane(index, 3)

    def paths(self, index: int) -> tuple[Path, ...]:
        return ()

    def plane(self, index: int, number: int) -> np.ndarray:
        """(H, W) uint8, one of the planes kept in memory: 0..2 are the picture's bytes, 3 is the first map."""
        return self._bytes(index).reshape(self.depth, *self.size)[number]

    def planes(self, scene: Scene) -> list[np.ndarray]:
        """What is kept of a scene, uint8."""
        return [scene.picture, self.phrases.label_map(scene) if self.phrases else scene.label_map]

    def _bytes(self, index: int) -> np.ndarray:
        kept, checksum = self._drawn[index][: self._row], self._drawn[index][self._row :].view(np.uint32)
        if zlib.crc32(kept) != checksum:  # not drawn yet, or another process is about to finish it
            kept[:] = np.concatenate([plane.ravel() for plane in self.planes(self.scene(index))])
            checksum[:] = zlib.crc32(kept)
        return kept.copy()


class DrawnPanoptic(DrawnWorld):
    """The drawn world with its shapes as things and its grounds as stuff; see `DrawnWorld`.

    A scene's shapes have the ids 1, 2, ... from the bottom to the top, its grounds the ids after them.
    """

    depth = 5  # one more than the semantic one: the shapes' ids
    has_pictures = True

    def image_id(self, index: int) -> int:
        return self.seed(index)

    def panoptic(self, index: int) -> PanopticMap:
        label_map = self.plane(index, 3)
        shapes = self.plane(index, 4).astype(np.int32)
        grounds = np.unique(label_map[shapes == VOID])
        first = int(shapes.max()) + 1
        ids = np.where(shapes, shapes, first + np.searchsorted(grounds, label_map)).astype(np.int32)
        classes = np.zeros(first + len(grounds), np.intp)
        classes[ids] = label_map
        areas = np.bincount(ids.ravel())
        segments = (Segment(number, int(classes[number]), False, int(areas[number])) for number in range(1, len(areas)))
        return PanopticMap(ids, tuple(segments))

    def planes(self, scene: Scene) -> list[np.ndarray]:
        return [*super().planes(scene), scene.instance_map.astype(np.uint8)]

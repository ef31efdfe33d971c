"""Things from frame to frame of a video: each keeps its colour, which is its id in COCO's maps too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import find_objects

from ms_seg.answers.drawing.colours import thing_colour
from ms_seg.answers.segments import SegmentsAnswer
from ms_seg.data.panoptic import to_ids

MIN_IOU = 0.1  # of a thing's masks in two frames
PATIENCE = 10  # frames that a thing may be missed in, and still have its colour when it is there again
_MAX_MISSED = 100  # things that are missed and not forgotten


@dataclass
class _Track:
    """A thing: its class, which number it has among those of the class, and where it was seen last.

    place: the rows and columns of the box around it. mask: its pixels in them. missed: how many frames ago that was.
    """

    label: int
    number: int
    colour: tuple[int, ...]
    place: tuple[slice, slice]
    mask: np.ndarray
    missed: int = 0


class Tracks:
    """The things of a video's latest frames; called with the answers to its frames, one after the other.

    A thing is the one of an earlier frame whose mask it overlaps most, by intersection over union, pairs of the largest
    overlap first, if both are of one class. A thing that is none of them gets the first colour of its class that is
    free. Stuff has its class's colour.
    """

    def __init__(self) -> None:
        self._tracks: list[_Track] = []  # the latest first

    def __call__(self, answer: SegmentsAnswer) -> SegmentsAnswer:
        """The answer to the next frame, which is as large as the others, its things in the colours that they had."""
        classes, isthing = answer.classes, answer.label_set.isthing
        known = self._match(classes, answer.segment_map)
        taken = {_id(track) for track in self._tracks}
        used = {(track.label, track.number) for track in self._tracks}
        places = find_objects(answer.segment_map, len(classes))
        colours = np.zeros((len(classes), 3), np.uint8)
        seen: list[_Track] = []
        for segment, (label, place) in enumerate(zip(classes, places, strict=True)):
            track = known.get(segment)
            if track is None:
                number = 0
                while isthing[label] and (label, number) in used:
                    number += 1
                used.add((label, number))
                colours[segment] = colour = thing_colour(label, number, answer.label_set, taken)
            else:
                number, colours[segment] = track.number, (colour := track.colour)
            if isthing[label] and place is not None:
                mask = answer.segment_map[place] == segment + 1
                seen.append(_Track(label, number, colour, place, mask))
        gone = {id(track) for track in known.values()}
        missed = [track for track in self._tracks if id(track) not in gone and track.missed < PATIENCE]
        for track in missed:
            track.missed += 1
        self._tracks = seen + missed[:_MAX_MISSED]
        return answer.in_colours(colours)

    def _match(self, classes: list[int], segment_map: np.ndarray) -> dict[int, _Track]:
        """What the segments of this frame were before, by the places of the segments; those that were nothing are not
        there."""
        if not self._tracks or not classes:
            return {}
        areas = np.bincount(segment_map.ravel(), minlength=len(classes) + 1)
        iou = np.zeros((len(self._tracks), len(classes)))
        for row, track in zip(iou, self._tracks, strict=True):
            both = np.bincount(segment_map[track.place][track.mask], minlength=len(areas))
            union = np.count_nonzero(track.mask) + areas - both
            row[:] = np.where(np.array(classes) == track.label, (both / union)[1:], 0)
        found: dict[int, _Track] = {}
        gone: set[int] = set()
        for flat in np.argsort(-iou, axis=None, kind="stable").tolist():
            row_number, segment = divmod(flat, len(classes))
            if iou[row_number, segment] < MIN_IOU:
                break
            if row_number not in gone and segment not in found:
                gone.add(row_number)
                found[segment] = self._tracks[row_number]
        return found


def _id(track: _Track) -> int:
    (number,) = to_ids(np.array([track.colour], np.uint8)).tolist()
    return number

"""How COCO writes masks and boxes: compressed run lengths, byte for byte as pycocotools writes them, and their boxes.

Run lengths go column by column; `counts` are the lengths of the runs of 0 and 1 in turn, beginning with 0. From the
fourth on, a count is stored as its difference from the count two before. Each is written in groups of five bits, the
lowest first, with a sixth bit for "more follows", as a character from "0" (48) on; the last group carries the sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

_LIMITS = 16 << 5 * np.arange(7)  # from each of these on, or below its negative, a number takes one more group


def encode_mask(
    mask: np.ndarray, size: tuple[int, int] | None = None, corner: tuple[int, int] = (0, 0)
) -> dict[str, Any]:
    """A mask (h, w) bool -> {"size": [H, W], "counts": str}, ready for JSON.

    size, corner: of the picture (H, W) that the mask is a part of, and where its first row and column are there; around
    it there is nothing. Takes as long as the part, however large the picture is.
    """
    height, width = size or mask.shape
    columns = np.zeros((mask.shape[1], mask.shape[0] + 2), bool)
    columns[:, 1:-1] = mask.T
    column, row = np.nonzero(columns[:, 1:] != columns[:, :-1])
    borders = (column + corner[1]) * height + row + corner[0]  # where runs of 1 begin and end, in turn
    joined = np.flatnonzero(borders[1:-1:2] == borders[2::2])  # from the last row to the first of the next column
    borders = np.delete(borders, np.concatenate((2 * joined + 1, 2 * joined + 2)))
    (counts,) = _counts(borders[::2], borders[1::2], np.array([len(borders) // 2]), height * width)
    return {"size": [height, width], "counts": counts}


def boxes_and_masks(index_map: np.ndarray, indices: Sequence[int]) -> list[tuple[list[int], dict[str, Any]]]:
    """What COCO says of some indices, each once, in a map (H, W) of integers from 0 on.

    Takes as long as the map and its runs, however many indices there are.

    Returns for each index its box [x, y, width, height], zeros for an absent one, and its mask, as `encode_mask`.
    """
    (height, width), most = index_map.shape, max(int(index_map.max(initial=0)), *indices, 0)
    narrow = index_map.astype(np.min_scalar_type(most))  # small numbers go round faster
    column_wise = (cv2.transpose(narrow) if narrow.dtype in (np.uint8, np.uint16) else narrow.T).ravel()
    starts = np.concatenate(([0], np.flatnonzero(column_wise[1:] != column_wise[:-1]) + 1))
    ends = np.append(starts[1:], column_wise.size)
    places = np.full(most + 1, len(indices), np.min_scalar_type(len(indices)))  # in `indices`, or behind all of them
    places[list(indices)] = np.arange(len(indices))
    places = places[column_wise[starts]]
    order = np.argsort(places, kind="stable")  # the runs of each index lie together, and stay in their order
    lengths = np.bincount(places, minlength=len(indices) + 1)[:-1]
    order = order[: lengths.sum()]
    starts, ends = starts[order], ends[order]
    size = [height, width]
    masks = [{"size": size, "counts": counts} for counts in _counts(starts, ends, lengths, index_map.size)]
    return list(zip(_boxes(starts, ends, lengths, height), masks, strict=True))


def decode_mask(encoded: dict[str, Any]) -> np.ndarray:
    """{"size": [H, W], "counts": str} -> a mask (H, W) bool. Raises ValueError if the counts do not fill the size."""
    height, width = encoded["size"]
    counts: list[int] = []
    value = shift = 0
    for character in encoded["counts"].encode("ascii"):
        group = character - 48
        value |= (group & 0x1F) << shift
        shift += 5
        if group & 0x20:
            continue
        if group & 0x10:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift or min(counts, default=0) < 0 or sum(counts) != height * width:
        raise ValueError(f"the run lengths do not fill a mask of {height}x{width}")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape((height, width), order="F")


def box_of(mask: np.ndarray) -> list[int]:
    """The box [x, y, width, height] of a mask (H, W) bool that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]


def _boxes(starts: np.ndarray, ends: np.ndarray, lengths: np.ndarray, height: int) -> list[list[int]]:
    """The box around the runs of each mask; the arguments are those of `_counts`."""
    boxes = np.zeros((len(lengths), 4), np.int64)
    found = np.flatnonzero(lengths)
    if len(found):
        behind = np.cumsum(lengths)[found]
        firsts = behind - lengths[found]
        left, right = starts // height, (ends - 1) // height
        top = np.where(left == right, starts - left * height, 0)
        bottom = np.where(left == right, ends - left * height, height)
        top, bottom = np.minimum.reduceat(top, firsts), np.maximum.reduceat(bottom, firsts)
        boxes[found] = np.stack((left[firsts], top, right[behind - 1] - left[firsts] + 1, bottom - top), axis=1)
    return boxes.tolist()


def _counts(starts: np.ndarray, ends: np.ndarray, lengths: np.ndarray, size: int) -> list[str]:
    """The counts of several masks of `size` pixels.

    starts, ends: where runs of 1 begin and end, those of each mask in their order, mask after mask. lengths: how many
    runs each mask has.
    """
    masks, runs = np.arange(len(lengths)), np.arange(len(starts))
    behind = 2 * np.cumsum(lengths) + masks  # the place of each mask's last count, of a run of 0
    first = behind - 2 * lengths
    places = 2 * runs + np.repeat(masks, lengths)
    borders = np.zeros(2 * len(starts) + len(lengths), np.int64)  # each mask's, and its size
    borders[places], borders[places + 1], borders[behind] = starts, ends, size
    counts = np.diff(borders, prepend=0)
    counts[first] = borders[first]
    differences = counts.copy()
    differences[2:] -= counts[:-2]
    for place in range(3):  # of each mask
        early = first[first + place <= behind] + place
        differences[early] = counts[early]
    written = np.ones(len(counts), bool)
    written[behind] = (counts[behind] != 0) | (lengths == 0)  # a mask that ends in 1 has no run of 0 behind it
    text, lasts = _characters(differences, written)
    ends_of_masks = lasts[behind].tolist()
    return [text[begin:end] for begin, end in zip([0, *ends_of_masks], ends_of_masks, strict=False)]


def _characters(numbers: np.ndarray, written: np.ndarray) -> tuple[str, np.ndarray]:
    """The numbers as they are stored, those that are `written`; and where each ends."""
    lengths = written.astype(np.int8)
    for limit in _LIMITS[: np.searchsorted(_LIMITS, np.abs(numbers).max(initial=0), "right")]:
        lengths += ((numbers >= limit) | (numbers < -limit)) & written
    ends = np.cumsum(lengths, dtype=np.int64)
    text = np.empty(ends[-1] if len(ends) else 0, np.uint8)
    places, rest = (ends - lengths)[written], numbers[written]
    while len(rest):
        further = (rest >= _LIMITS[0]) | (rest < -_LIMITS[0])
        text[places] = (rest & 0x1F) + (48 + 0x20 * further)
        places, rest = places[further] + 1, rest[further] >> 5
    return text.tobytes().decode("ascii"), ends

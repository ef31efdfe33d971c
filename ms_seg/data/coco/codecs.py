"""How COCO writes masks and boxes: compressed run lengths, byte for byte as pycocotools writes them, and their boxes.

Run lengths go column by column; `counts` are the lengths of the runs of 0 and 1 in turn, beginning with 0. From the
fourth on, a count is stored as its difference from the count two before. Each is written in groups of five bits, the
lowest first, with a sixth bit for "more follows", as a character from "0" (48) on; the last group carries the sign.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_SHIFTS = 5 * np.arange(7)  # groups of five bits, more than a picture's pixels need
_LIMITS = 16 << _SHIFTS  # of the numbers that end with each group


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
    return {"size": [height, width], "counts": _compress(np.diff(borders, prepend=0, append=height * width))}


def encode_masks(index_map: np.ndarray, indices: list[int]) -> list[dict[str, Any]]:
    """The mask of each of some indices in a map (H, W) of integers from 0 on; each as `encode_mask` returns it.

    Takes as long as the map and its runs, however many indices there are.
    """
    size = list(index_map.shape)
    column_wise = index_map.ravel(order="F")
    starts = np.concatenate(([0], np.flatnonzero(column_wise[1:] != column_wise[:-1]) + 1))
    ends = np.append(starts[1:], column_wise.size)
    values = column_wise[starts]
    values = values.astype(np.min_scalar_type(values.max()))  # small numbers are sorted faster
    order = np.argsort(values, kind="stable")  # the runs of each index lie together, and stay in their order
    firsts = np.searchsorted(values, indices, "left", sorter=order)
    ends_of_runs = np.searchsorted(values, indices, "right", sorter=order)
    encoded = []
    for first, end in zip(firsts, ends_of_runs, strict=True):
        runs = order[first:end]
        borders = np.column_stack((starts[runs], ends[runs])).ravel()
        encoded.append({"size": size, "counts": _compress(np.diff(borders, prepend=0, append=column_wise.size))})
    return encoded


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


def boxes_of(index_map: np.ndarray, count: int) -> list[list[int]]:
    """The box [x, y, width, height] of each index below `count` in a map (H, W) int; meaningless for an absent one."""
    height, width = index_map.shape
    in_row = np.zeros((height, count), bool)
    in_column = np.zeros((width, count), bool)
    in_row[np.arange(height)[:, None], index_map] = True
    in_column[np.arange(width)[None, :], index_map] = True
    top, left = in_row.argmax(0), in_column.argmax(0)
    bottom, right = height - in_row[::-1].argmax(0), width - in_column[::-1].argmax(0)
    return np.stack((left, top, right - left, bottom - top), axis=1).tolist()


def box_of(mask: np.ndarray) -> list[int]:
    """The box [x, y, width, height] of a mask (H, W) bool that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]


def _compress(counts: np.ndarray) -> str:
    if counts.size > 1 and counts[-1] == 0:  # a mask that ends in 1 has no run of 0 behind it
        counts = counts[:-1]
    differences = counts.copy()
    differences[3:] -= counts[1:-2]
    values = differences.reshape(-1, 1)
    further = (values >= _LIMITS) | (values < -_LIMITS)  # whether a group is not the last
    groups = (values >> _SHIFTS & 0x1F) + (48 + 0x20 * further)
    written = np.pad(further[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    return groups[written].astype(np.uint8).tobytes().decode("ascii")

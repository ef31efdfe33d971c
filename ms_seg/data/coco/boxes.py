"""The boxes around the parts of a map, as COCO writes them."""

from __future__ import annotations

import numpy as np


def boxes_of(index_map: np.ndarray, count: int) -> list[list[int]]:
    """[x, y, width, height] of each index below `count` of a map (H, W) int; meaningless for those not in it."""
    height, width = index_map.shape
    in_row = np.zeros((height, count), bool)
    in_column = np.zeros((width, count), bool)
    in_row[np.arange(height)[:, None], index_map] = True
    in_column[np.arange(width)[None, :], index_map] = True
    top, left = in_row.argmax(0), in_column.argmax(0)
    bottom, right = height - in_row[::-1].argmax(0), width - in_column[::-1].argmax(0)
    return np.stack((left, top, right - left, bottom - top), axis=1).tolist()


def box_of(mask: np.ndarray) -> list[int]:
    """[x, y, width, height] of a mask (H, W) bool that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]

"""Masks as COCO's compressed run lengths, byte for byte as pycocotools writes them.

The pixels are read column by column; `counts` are the lengths of the runs of 0 and 1 in turn, beginning with 0. From
the fourth on, a count is stored as its difference from the count two before. Each is written in groups of five bits,
the lowest first, with a sixth bit for "more follows", as a character from "0" (48) on; the last group carries the sign.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """A mask (H, W) bool -> {"size": [H, W], "counts": str}, ready for JSON."""
    return encode_labels(mask.view(np.uint8), [1])[0]


def encode_labels(labels: np.ndarray, classes: list[int]) -> list[dict[str, Any]]:
    """The masks of some classes of a label map (H, W) int, in one pass; each as `encode_mask` gives it."""
    size = list(labels.shape)
    column_wise = labels.ravel(order="F")
    starts = np.concatenate(([0], np.flatnonzero(column_wise[1:] != column_wise[:-1]) + 1))
    ends = np.append(starts[1:], column_wise.size)
    values = column_wise[starts]
    encoded = []
    for index in classes:
        runs = values == index
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


def _compress(counts: np.ndarray) -> str:
    if counts.size > 1 and counts[-1] == 0:  # a mask that ends in 1 has no run of 0 behind it
        counts = counts[:-1]
    differences = counts.copy()
    differences[3:] -= counts[1:-2]
    characters = bytearray()
    for value in differences.tolist():
        more = True
        while more:
            group = value & 0x1F
            value >>= 5
            more = value != (-1 if group & 0x10 else 0)
            characters.append(48 + group + (0x20 if more else 0))
    return characters.decode("ascii")

"""From an RGB picture to the network's input, with the numbers of the references.

Sources: mmcv 1.7 imrescale and imnormalize (mmsegmentation, EasyCV), transformers' SegformerImageProcessor; for
"round_up", mmsegmentation's ResizeToMultiple after its Resize, which is what the original's AlignedResize computes; for
"fit", ModelScope's TextDrivenSeg.preprocess; for "keep_ratio_pil", detectron2's ResizeShortestEdge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image

from ms_seg.presets import Preprocessing

_ALIGNMENT = 32  # pixels, of "round_up"
# MiT's spatial reductions need a row: below this the references fail, while here the input is padded.
_MIN_INPUT = 32


@dataclass(frozen=True)
class Geometry:
    """The sizes (height, width) that a picture goes through: its own, resized, and padded at the right and bottom."""

    picture: tuple[int, int]
    resized: tuple[int, int]
    padded: tuple[int, int]


def network_input(
    picture: np.ndarray, rule: Preprocessing, sizes: Sequence[tuple[int, int]] = ()
) -> tuple[np.ndarray, Geometry]:
    """RGB (H, W, 3) uint8 -> normalised (1, 3, h, w) float32, and the sizes needed to go back.

    sizes: if there are any, the input is padded to the smallest of them that holds it. Raises ValueError if none does.
    """
    resized = _resize(picture, rule)
    height, width = resized.shape[:2]
    padded = padded_size((height, width), rule)
    if sizes:
        padded = _smallest(padded, sizes)
    images = np.zeros((1, 3, *padded), np.float32)
    for channel, normalised, table in zip(
        cv2.split(resized), images[0, :, :height, :width], _tables(rule), strict=True
    ):
        cv2.LUT(channel, table, normalised)
    return images, Geometry((picture.shape[0], picture.shape[1]), (height, width), padded)


def fixed_size(rule: Preprocessing) -> tuple[int, int] | None:
    """The size (height, width) of the network's input, where it is the same for every picture; else None."""
    if rule.resize == "squash":
        return padded_size((rule.short_side, rule.short_side), rule)
    if rule.resize in ("stretch", "stretch_cv2"):
        return padded_size((rule.short_side, rule.long_side), rule)
    if rule.resize == "fit" and rule.pad_multiple >= rule.long_side:
        return padded_size((rule.long_side, rule.long_side), rule)
    return None


def padded_size(size: tuple[int, int], rule: Preprocessing) -> tuple[int, int]:
    """The size of the network's input for a picture that was resized to `size`, both (height, width)."""
    height, width = (_multiple(max(side, _MIN_INPUT), rule.pad_multiple) for side in size)
    return height, width


def _smallest(needed: tuple[int, int], sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The smallest of the sizes that holds an input. Raises ValueError if none does."""
    holding = [size for size in sizes if size[0] >= needed[0] and size[1] >= needed[1]]
    if not holding:
        known = ", ".join("{}x{}".format(*size) for size in sizes)
        raise ValueError("its input of {}x{} must fit into {}: none is as large".format(*needed, known))
    return min(holding, key=lambda size: size[0] * size[1])


def _resize(picture: np.ndarray, rule: Preprocessing) -> np.ndarray:
    height, width = picture.shape[:2]
    if rule.resize == "squash":
        return _resample(picture, (rule.short_side, rule.short_side), rule)
    if rule.resize == "stretch":
        return _resample(picture, (rule.short_side, rule.long_side), rule)
    if rule.resize == "stretch_cv2":
        return _stretch(picture, (rule.short_side, rule.long_side))
    if rule.resize == "shortest_edge":
        sides = _shortest_edge((height, width), rule.short_side, rule.long_side)
        return _resample(
            picture, (_multiple(sides[0], rule.pad_multiple), _multiple(sides[1], rule.pad_multiple)), rule
        )
    if rule.resize == "keep_ratio_pil":
        return _resample(picture, _scaled_twice((height, width), rule.short_side, rule.long_side), rule)
    if rule.resize == "fit":
        scale = rule.long_side / max(height, width)
        return _resample(picture, (max(1, int(scale * height)), max(1, int(scale * width))), rule)
    scale = min(rule.long_side / max(height, width), rule.short_side / min(height, width))
    if rule.resize == "shrink" and scale >= 1:
        return picture
    # The short side of a very long picture would become 0; mmcv fails there.
    height, width = (max(1, int(side * scale + 0.5)) for side in (height, width))
    resized = _stretch(picture, (height, width))
    if rule.resize in ("keep_ratio", "shrink"):
        return resized
    return _stretch(resized, (_multiple(height, _ALIGNMENT), _multiple(width, _ALIGNMENT)))  # "round_up"


def _resample(picture: np.ndarray, size: tuple[int, int], rule: Preprocessing) -> np.ndarray:
    """To a size (height, width) by Pillow."""
    resample = Image.Resampling[rule.resample.upper()]
    return np.asarray(Image.fromarray(picture).resize(size[::-1], resample))


def _shortest_edge(size: tuple[int, int], shortest: int, longest: int) -> tuple[int, int]:
    """The sides (height, width) of transformers' get_resize_output_image_size, cut down to whole numbers."""
    short, long = shortest, shortest * max(size) // min(size)
    if long > longest:
        short, long = max(1, longest * short // long), longest
    return (short, long) if size[0] <= size[1] else (long, short)


def _scaled_twice(size: tuple[int, int], shortest: int, longest: int) -> tuple[int, int]:
    """The sides (height, width) of detectron2's ResizeShortestEdge: to the short side, then down to the longest.

    At once, as `keep_ratio` does it, a side that ends in one half is rounded the other way now and then.
    """
    height, width = size
    scale = shortest / min(size)
    sides = (shortest, scale * width) if height < width else (scale * height, shortest)
    ratio = longest / max(sides) if max(sides) > longest else 1
    height, width = (max(1, int(side * ratio + 0.5)) for side in sides)
    return height, width


def _stretch(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_LINEAR)


@lru_cache(16)
def _tables(rule: Preprocessing) -> np.ndarray:
    """What each level of a channel is normalised to, (3, 256) float32, equal to mmcv's to the last bit: float32
    constants in float64, times 1 / std."""
    mean = np.array([rule.mean], np.float32).astype(np.float64)
    inverse_std = 1 / np.array([rule.std], np.float32).astype(np.float64)
    levels = np.repeat(np.arange(256, dtype=np.float32)[:, None, None], 3, axis=2)
    cv2.subtract(levels, mean, levels)
    return np.ascontiguousarray(cv2.multiply(levels, inverse_std, levels)[:, 0].T)


def _multiple(side: int, multiple: int) -> int:
    """The next multiple of a number."""
    return -(-side // multiple) * multiple

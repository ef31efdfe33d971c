"""How pictures come to the one size that an exported graph takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ms_seg.data.preprocessing import fixed_size, network_input
from ms_seg.presets import Preset, Window

FITS = ("exact", "stretch", "pad", "windows")

_BY_PILLOW = ("squash", "stretch", "shortest_edge", "keep_ratio_pil", "fit")


def choose_fit(preset: Preset, size: tuple[int, int], fit: str | None) -> str:
    """How pictures come to a graph of this size (height, width), one of FITS.

    "exact": the preprocessing gives inputs of that size alone. "stretch": whatever the picture's ratio. "pad": as the
    preprocessing says, and then padded. "windows": likewise, and then seen in windows.

    fit: what a person said, None for nothing. Raises ValueError where a person must say it, and for what is not to be
    had.
    """
    if fit not in (None, *FITS):
        raise ValueError(f"fit must be one of {', '.join(FITS)}: {fit!r} is not")
    rule, shown = preset.preprocessing, "{}x{}".format(*size)
    only = "exact" if fixed_size(rule) == size else None
    if preset.window is not None and preset.window.exact:
        if size != (preset.window.crop, preset.window.crop):
            raise ValueError(f"{preset.name} takes windows of {preset.window.crop}x{preset.window.crop} alone: "
                             f"{shown} is none")  # fmt: skip
        only = "windows"
    if only is None and fit in (None, "exact"):
        raise ValueError(
            f"{preset.name} resizes pictures by its rule ({rule.resize}, {rule.short_side}, {rule.long_side}), which "
            f"gives inputs of other sizes than {shown}: say how they come to it, --fit stretch (to {shown} whatever "
            "their ratio), --fit pad (by the rule, then padded; larger ones are refused) or --fit windows (by the "
            "rule, then seen in windows)"
        )
    if only is not None and fit not in (None, only):
        raise ValueError(f"pictures for {preset.name} come to {shown} in one way alone ({only}): leave out --fit {fit}")
    chosen = only or fit
    assert chosen is not None
    if chosen == "windows" and size[0] != size[1]:
        raise ValueError(f"windows are square: {shown} is not")
    return chosen


def fitted(preset: Preset, size: tuple[int, int], fit: str) -> Preset:
    """The preset whose pictures come to a graph of this size."""
    rule, window = preset.preprocessing, None
    if fit == "stretch":
        resize = "stretch" if rule.resize in _BY_PILLOW else "stretch_cv2"
        rule = replace(rule, resize=resize, short_side=size[0], long_side=size[1], pad_multiple=1)
    if fit == "windows":
        stride = preset.window.stride if preset.window and preset.window.crop == size[0] else max(1, size[0] * 2 // 3)
        window = Window(size[0], stride, exact=True)
    return replace(preset, preprocessing=rule, window=window)


def pads(preset: Preset, size: tuple[int, int], fit: str) -> bool:
    """Whether there may be padding in the input of a graph."""
    rule = fitted(preset, size, fit).preprocessing
    return fit in ("pad", "windows") or rule.resize == "fit" or any(side % rule.pad_multiple for side in size)


def unnormalised(preset: Preset) -> Preset:
    """The preset of a graph that normalises by itself."""
    return replace(preset, preprocessing=replace(preset.preprocessing, mean=(0.0,) * 3, std=(1.0,) * 3))


def example(
    picture: np.ndarray, preset: Preset, size: tuple[int, int], batch: int, inside: Sequence[str]
) -> np.ndarray:
    """A picture, RGB (H, W, 3) uint8, as a graph takes it, and beside it its mirror image, as often as the batch needs.

    preset: a `fitted` one. Of an input that is larger than the graph's the upper left part.
    """
    (image,), _ = network_input(picture, (unnormalised(preset) if "normalize" in inside else preset).preprocessing)
    image = image[:, : size[0], : size[1]]
    image = np.pad(image, ((0, 0), (0, size[0] - image.shape[1]), (0, size[1] - image.shape[2])))
    images = np.stack([image[:, :, ::-1] if place % 2 else image for place in range(batch)])
    if "normalize" in inside:
        images = images.transpose(0, 2, 3, 1).astype(np.uint8)
    return np.ascontiguousarray(images)

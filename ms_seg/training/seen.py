"""What a network is shown in training: a batch, after augmentation, as a picture that a person can check."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ms_seg.answers.drawing.labels import Labelled, draw_sheet
from ms_seg.data.numbering import IGNORED
from ms_seg.data.targets import NO_TARGET
from ms_seg.label_sets import labels_of, numbered_labels
from ms_seg.presets import Preset
from ms_seg.training.step import Batch

_SHOWN = 12  # pictures of a batch


def draw_seen(batch: Batch, preset: Preset) -> Image.Image:
    """The pictures of a batch with their labels over them, and how often it shows each class.

    batch: images (n, 3, h, w) float32, normalised as the preset says, and labels (n, h, w) int32; or classes (n, M)
        int32 and a mask for each, (n, M, h, w) uint8.
    """
    rule, arrays = preset.preprocessing, [part[:_SHOWN] for part in batch if isinstance(part, np.ndarray)]
    mean, std = np.array(rule.mean, np.float32), np.array(rule.std, np.float32)
    pixels, label_maps = arrays[0].transpose(0, 2, 3, 1) * std + mean, _label_maps(arrays)
    counts = np.bincount(label_maps.ravel(), minlength=IGNORED + 1)
    classes = labels_of(preset.label_set) or numbered_labels(int(np.flatnonzero(counts[:IGNORED]).max(initial=0)) + 1)
    pairs = [
        Labelled(f"sample {place}", np.clip(np.rint(picture), 0, 255).astype(np.uint8), label_map)
        for place, (picture, label_map) in enumerate(zip(pixels, label_maps, strict=True), start=1)
    ]
    return draw_sheet(pairs, classes, counts, missing=False)


def _label_maps(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """(n, h, w) uint8, the class of each pixel, the last one where masks overlap."""
    if arrays[1].ndim == 3:
        return arrays[1].astype(np.uint8)
    label_maps = np.full((len(arrays[0]), *arrays[0].shape[2:]), IGNORED, np.uint8)
    for label_map, classes, masks in zip(label_maps, *arrays[1:3], strict=True):
        for label, mask in zip(classes, masks, strict=True):
            if label != NO_TARGET:
                label_map[mask > 0] = label
    return label_maps

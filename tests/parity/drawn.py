"""Weights and inputs that anyone can draw again from a seed, with NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ms_seg.presets import Preset

# Tables that are added to tokens of order one, not multiplied: also queries, and what levels are told apart by.
ADDED = ("pos_embed", "cls_token", "query_feat.weight", "query_embed.weight", "level_embed.weight", "level_embed")
ADDED += ("level_encoding.weight", "queries_features.weight", "queries_embedder.weight")
LABELS = 5  # how many words a network that takes words is given


def weights(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """float32 arrays for the tensors of a PyTorch state dict, by PyTorch's names and in the order given.

    Norms, running statistics and biases are drawn away from 1 and 0, so that no line of a network can hide; matrices
    and kernels are scaled so that activations stay of order one.
    """
    generator = np.random.default_rng(seed)
    arrays = {}
    for name, shape in shapes.items():
        if name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
            values = generator.uniform(0.6, 1.5, shape)
        elif name.endswith(ADDED):
            values = generator.normal(0, 0.5, shape)
        elif len(shape) <= 1:
            values = generator.normal(0, 0.2, shape)
        else:
            values = generator.normal(0, 1.3 / np.sqrt(np.prod(shape[1:])), shape)
        arrays[name] = values.astype(np.float32)
    return arrays


def inputs(preset: Preset, shape: tuple[int, ...], seed: int) -> tuple[np.ndarray, ...]:
    """What the network that a preset names takes: images of that shape, (N, 3, H, W), and where it asks, tokens."""
    pictures = images(shape, seed)
    return (pictures, tokens(LABELS, preset.arguments["vocabulary"], seed)) if preset.output == "words" else (pictures,)


def images(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """A normalised input, (N, 3, H, W) float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def tokens(number: int, vocabulary: int, seed: int) -> np.ndarray:
    """Texts of one to six drawn words as CLIP numbers them, (number, 77) int32: start mark, words, end mark, zeros."""
    generator, rows = np.random.default_rng(seed), np.zeros((number, 77), np.int32)
    for row in rows:
        words = generator.integers(0, vocabulary - 2, generator.integers(1, 7))
        row[: len(words) + 2] = (vocabulary - 2, *words, vocabulary - 1)
    return rows

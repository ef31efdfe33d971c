"""Weights and inputs that anyone can draw again from a seed, with NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


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
        elif len(shape) <= 1:
            values = generator.normal(0, 0.2, shape)
        else:
            values = generator.normal(0, 1.3 / np.sqrt(np.prod(shape[1:])), shape)
        arrays[name] = values.astype(np.float32)
    return arrays


def images(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """A normalised input, (N, 3, H, W) float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)

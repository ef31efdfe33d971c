"""Activations."""

from __future__ import annotations

from mindspore import Tensor, ops


def gelu(x: Tensor) -> Tensor:
    """x * Phi(x) with the exact normal distribution function, not its tanh approximation (arXiv:1606.08415)."""
    return ops.gelu(x)

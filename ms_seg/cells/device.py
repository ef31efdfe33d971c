"""Which device the cells are made for; they choose their formulation by it when they are made."""

from __future__ import annotations

import mindspore as ms


def on_cpu() -> bool:
    """Whether MindSpore runs on the CPU, where some of its gradients are many times slower than they could be."""
    return ms.get_context("device_target") == "CPU"

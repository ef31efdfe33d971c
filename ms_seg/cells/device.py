"""Which device the cells are made for; they choose their formulation by it when they are made."""

from __future__ import annotations

import functools
import os

import mindspore as ms
from mindspore import Tensor

_RUNTIME_CONFIGURATION = "MS_DEV_RUNTIME_CONF"  # MindSpore reads it when the process compiles its first graph


def on_cpu() -> bool:
    """Whether MindSpore runs on the CPU, where some of its gradients are many times slower than they could be."""
    return ms.get_context("device_target") == "CPU"


@functools.cache
def run_graphs_in_caller() -> None:
    """On the CPU, let graphs run in the thread that calls them; to be called before the process compiles one.

    MindSpore hands a graph with gradients to a thread of its own, and its caller burns a core waiting for the result,
    which the operators then lack: a training step of SegFormer-B0 on two cores, 2 pictures of 512x512, takes 4.0 s
    instead of 2.0 s.
    """
    if on_cpu() and _RUNTIME_CONFIGURATION not in os.environ:
        os.environ[_RUNTIME_CONFIGURATION] = "graph_pipeline:False"
        # MindSpore says on stdout that it has read this, which is for what a command answers.
        stdout, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        try:
            ms.jit(_nothing)(Tensor(0.0))
        finally:
            del os.environ[_RUNTIME_CONFIGURATION]  # it is read once, and not meant for processes that this one starts
            os.dup2(stdout, 1)
            os.close(stdout)
            os.close(nowhere)


def _nothing(x: Tensor) -> Tensor:
    return x + 1

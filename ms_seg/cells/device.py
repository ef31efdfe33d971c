"""Which device cells are made for, and how the runtime treats their graphs: its threads, its memory."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import mindspore as ms
from mindspore import Tensor, nn

_RUNTIME_CONFIGURATION = "MS_DEV_RUNTIME_CONF"  # MindSpore reads it when the process compiles its first graph

_RECOMPUTED = ("blocks", "layers", "injectors", "extractors", "extra_extractors")


_built_for: ContextVar[str | None] = ContextVar("built_for", default=None)


def on_cpu() -> bool:
    """Whether cells are made for the CPU, where some of MindSpore's gradients are many times slower than they could be.

    Cells choose their formulation by it when they are built.
    """
    return (_built_for.get() or ms.get_context("device_target")) == "CPU"


@contextmanager
def built_for(device: str) -> Iterator[None]:
    """Let the cells that this thread builds in the block be made for "Ascend", "GPU" or "CPU", wherever it runs.

    Those for another device run on the CPU too, slowly: to look at their operators, and at their numbers.
    """
    token = _built_for.set(device)
    try:
        yield
    finally:
        _built_for.reset(token)


@functools.cache
def run_graphs_in_caller() -> None:
    """On the CPU, let graphs run in the thread that calls them; to be called before the process compiles one.

    MindSpore hands a graph with gradients to a thread of its own, and its caller spins on a core while it waits for the
    result, which the operators then lack: a training step of SegFormer-B0 on two cores, 2 pictures of 512x512, takes
    4.0 s instead of 2.0 s.
    """
    if on_cpu() and _RUNTIME_CONFIGURATION not in os.environ:
        os.environ[_RUNTIME_CONFIGURATION] = "graph_pipeline:False"
        # MindSpore says on stdout that it has read this; stdout is for a command's results.
        stdout, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        try:
            ms.jit(_add_one)(Tensor(0.0))
        finally:
            del os.environ[_RUNTIME_CONFIGURATION]  # it is read once, and not meant for child processes
            os.dup2(stdout, 1)
            os.close(stdout)
            os.close(nowhere)


def _add_one(x: Tensor) -> Tensor:
    return x + 1


def recompute_blocks(model: nn.Cell) -> None:
    """Activation checkpointing: every cell of a list `blocks`, `layers`, `injectors` or `extractors` keeps its inputs
    alone and recomputes the rest.

    Costs another forward pass of these cells and saves the memory of what is inside them (arXiv:1604.06174); gradients
    are the same. To be called before the model is compiled; it cannot be undone.
    """
    for _, cell in model.cells_and_names():
        for name in _RECOMPUTED:
            repeated = getattr(cell, name, None)
            if isinstance(repeated, nn.CellList):
                for block in repeated:
                    block.recompute()

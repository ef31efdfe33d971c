"""How a network is run: as a compiled graph, or operator by operator; by one thread at a time, in one process."""

from __future__ import annotations

import functools
import logging
import os
import threading
from typing import Literal

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from ms_seg.cells import native
from ms_seg.cells.device import on_cpu
from ms_seg.cells.interrupts import interruptible
from ms_seg.cells.precision import inference_dtype

Mode = Literal["graph", "pynative", "fixed"]
MODES: tuple[Mode, ...] = ("graph", "pynative", "fixed")
Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")

_log = logging.getLogger(__name__)

# `dynamic=1` compiles for the first two input sizes as they are, and then once more, for every size. That last graph is
# a third slower; but a graph for each of a folder's sizes would cost seconds and 100 MB (SegFormer-B0) a size, and
# MindSpore does not give them back.
_COMPILATIONS = 3

# MindSpore 2.8 crashes where two threads compile or run graphs at once. A network keeps all cores busy by itself, so
# that threads which take turns lose nothing.
LOCK = threading.RLock()

_process: int | None = None  # the process in which MindSpore runs; it does not survive a fork


class Runner:
    """The forward pass of a model or a part of it, in inference mode. It may be called from several threads.

    Args:
        mode: "graph" is faster, and compiles for some seconds at the first input sizes, which is logged; "pynative"
            runs the operators one by one, to look inside; "fixed" compiles a graph for every input size, and none for
            all of them, as a device of fixed sizes has it. MindSpore's own global mode is left as it is.
        precision: "bfloat16" is faster where the processor multiplies such numbers fast, and where it is not that is
            logged, see `cells.precision`.

    Raises: ValueError for another mode or precision, and for bfloat16 on a CPU without a C compiler.
    """

    def __init__(self, model: nn.Cell, mode: Mode = "graph", precision: Precision = "float32"):
        if mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}: {mode!r} is not")
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}: {precision!r} is not")
        if precision == "bfloat16" and on_cpu():
            _check_bfloat16()
        self._dtype = getattr(ms, precision)
        model.set_train(False)
        self._run = _OneByOne(model) if mode == "pynative" else _Graph(model, fixed=mode == "fixed")

    def __call__(self, *inputs: Tensor | np.ndarray) -> tuple[Tensor, ...]:
        """Inputs, tensors or arrays -> what the model returns, one tensor or several.

        Raises RuntimeError in a process that was forked from one where MindSpore has run.
        """
        with LOCK, interruptible(say=_stopping):
            _check_process()
            with inference_dtype(self._dtype):
                outputs = self._run(*(item if isinstance(item, Tensor) else Tensor(item) for item in inputs))
            return tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)


def _check_bfloat16() -> None:
    """Say where bfloat16 gains nothing. Raises ValueError where the CPU cannot compute in it."""
    if not native.available():
        raise ValueError("precision bfloat16 needs a C compiler on the CPU: use float32")
    if not native.faster_in_bfloat16():
        _say_no_faster()


@functools.cache  # once
def _say_no_faster() -> None:
    _log.warning(
        "precision bfloat16 is no faster than float32 on this processor, whose products in it are slow or missing, and "
        "changes answers a little"
    )


def to_numpy(tensor: Tensor) -> np.ndarray:
    """A tensor's values, taken over while no other thread runs a network."""
    with LOCK, interruptible():
        return tensor.asnumpy()


def _stopping() -> None:
    _log.info("stopping when the network has answered, or has been compiled")


def _check_process() -> None:
    """Raise RuntimeError in a forked process: MindSpore's threads stayed behind, and a call would wait for ever."""
    global _process
    if _process is None:
        _process = os.getpid()
    if _process != os.getpid():
        raise RuntimeError(
            f"this process was forked from process {_process}, in which MindSpore has run: "
            'make the model after the fork, or start processes with "spawn"'
        )


class _OneByOne:
    """A model's forward pass, operator by operator; on a CPU each in the thread that calls it.

    MindSpore 2.8 would hand them to threads that wait for each other by spinning, on the cores that the operators need:
    a first picture by SegFormer-B5 takes 9.3 to 10.4 s of CPU time, start and loading included, and 13.8 to 14.4 so
    (two cores, AMD Zen 3).
    """

    def __init__(self, model: nn.Cell):
        self._model = model

    def __call__(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        before = ms.get_context("pynative_synchronize")
        ms.set_context(pynative_synchronize=before or on_cpu())
        try:
            return self._model(*inputs)
        finally:
            ms.set_context(pynative_synchronize=before)


class _Graph:
    """A model's forward pass, compiled when an input asks for it."""

    def __init__(self, model: nn.Cell, fixed: bool = False):
        self._model, self._fixed = model, fixed
        self._parameters = list(model.get_parameters())
        self._weights: list[int] | None = None  # addresses
        self._forward = model
        self._sizes: set[tuple[tuple[int, ...], ...]] = set()

    def __call__(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        # A graph holds on to the memory of its weights: it sees what an optimiser writes there, but not that `set_data`
        # or `load_param_into_net` puts other memory in its place.
        weights = [parameter.data_ptr() for parameter in self._parameters]
        if weights != self._weights:
            self._weights, self._forward = (
                weights,
                ms.jit(_Forward(self._model).construct, dynamic=0 if self._fixed else 1),
            )
            self._sizes.clear()
        sizes = tuple(tensor.shape for tensor in inputs)
        if sizes not in self._sizes and (self._fixed or len(self._sizes) < _COMPILATIONS):
            self._sizes.add(sizes)
            last = not self._fixed and len(self._sizes) == _COMPILATIONS
            reuse = "once for every further size" if last else "once for this input size"
            shown = "x".join(map(str, sizes[0][-2:]))
            _log.info("compiling %s for %s, %s", type(self._model).__name__.lstrip("_"), shown, reuse)
        return self._forward(*inputs)


class _Forward(nn.Cell):
    """A cell to compile. Compiling `model.construct` again would give the old graph back, old weights and all."""

    def __init__(self, model: nn.Cell):
        super().__init__(auto_prefix=False)  # the model's parameters keep their names
        self.model = model

    def construct(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.model(*inputs)

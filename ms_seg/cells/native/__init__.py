"""Operators in C for the CPU, compiled by the machine's own compiler when a process first needs one.

On the CPU a network is made of many small passes over memory, which MindSpore's kernels take slowly. Forward and
backward on two cores: LayerNorm of 16384 x 64, 1.5 ms instead of 25; GELU of 8 x 96 x 32 x 32, 0.6 ms instead of 8; a
depthwise convolution of 2 x 128 x 128 x 128, 5 ms instead of 71. A cell decides when it is built: without a compiler,
on other devices and within `disabled()` it is made of MindSpore's own operators. Each operator has a
file beside this one; operator.h states the contract.
"""

from __future__ import annotations

import ctypes
import functools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import mindspore as ms
from mindspore import ops
from mindspore.ops import CustomRegOp, DataType

from ms_seg.cells.compiler import shared_library
from ms_seg.cells.device import on_cpu

_FOLDER = Path(__file__).parent
_SOURCES = tuple(sorted(_FOLDER.glob("*.c")))
# Sums may be regrouped, as vector units need it; infinities and NaN keep their meaning.
_MATH = ("-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fassociative-math")
_FLAGS = ("-std=c11", "-O3", *_MATH)
_LIBRARIES = ("-lm", "-ldl")

_STATUS = {  # of operator.h
    1: "there was not enough memory",
    2: "its inputs must have the types that its file states",
    3: "the shapes of its inputs must fit each other as its file states",
    4: "every index must lie within the tensor that it points into, and sizes must add up to it",
}
_REFUSAL = re.compile(r"CPU AOT kernel\(.*\)'s function\((\w+)\) is (\d+)")  # in MindSpore's message

_enabled = ContextVar("enabled", default=True)
_operators: dict[tuple[str, str | None], ops.Custom] = {}  # by name, and by what their gradients are


def available() -> bool:
    """Whether a cell that is built now may use the operators: on the CPU, with a C compiler, outside `disabled()`."""
    return _enabled.get() and on_cpu() and _library() is not None


def faster_in_bfloat16() -> bool:
    """Whether linear layers are faster in bfloat16 than in float32, as with AMX or with AMD's avx512_bf16."""
    return available() and bool(ctypes.CDLL(str(_library())).bfloat16_is_faster())


@contextmanager
def disabled() -> Iterator[None]:
    """Let the cells that this thread builds in the block be made of MindSpore's own operators alone.

    For export, for debugging, and to compare the two. Cells that exist already keep what they are made of.
    """
    token = _enabled.set(False)
    try:
        yield
    finally:
        _enabled.reset(token)


@contextmanager
def clear_errors() -> Iterator[None]:
    """Let what an operator refuses in the block be said in a sentence: ValueError, or MemoryError.

    MindSpore raises a RuntimeError with the operator's name and a number: for a graph when it is called, in PyNative
    mode when an output is read. After the error of a graph nothing more should be computed in the process.
    """
    try:
        yield
    except RuntimeError as error:
        refusal = _REFUSAL.search(str(error))
        if refusal is None:
            raise
        name, status = refusal[1], int(refusal[2])
        kind = MemoryError if status == 1 else ValueError
        raise kind(f"the operator {name} refused its inputs: {_STATUS.get(status, f'status {status}')}") from error


def operator(name: str, inputs: int, bprop: Callable[..., Any] | None = None) -> ops.Custom:
    """An operator with an output in float32, whose shape nameInferShape derives from the inputs', at run time too.

    bprop(*inputs, output, gradient of the output) -> the inputs' gradients. It belongs to the operator and not to a
    cell: where PyNative differentiates a graph that calls a cell with a `bprop` twice with the same shapes, MindSpore
    2.8 takes one call's tensors for the other's, and the gradients are wrong without a word.

    One operator serves all cells, and so `bprop` must depend on nothing of the cell that asks: making one takes 0.3 ms,
    and SegFormer-B5 has 1900, with those of its gradients.
    """
    key = (name, bprop and bprop.__qualname__)
    if key not in _operators:
        _operators[key] = _make(name, inputs, bprop)
    return _operators[key]


def _make(name: str, inputs: int, bprop: Callable[..., Any] | None) -> ops.Custom:
    # MindSpore asks the library for the shape only if it is told of the inputs.
    registration = CustomRegOp(name).target("CPU").output(0, "out")
    for position in range(inputs):
        registration.input(position, f"in{position}")
    registration.dtype_format(*[DataType.None_None] * (inputs + 1))
    info = registration.get_op_info()
    return ops.Custom(f"{_library()}:{name}", None, ms.float32, func_type="aot", bprop=bprop, reg_info=info)


@functools.cache
def gradient(name: str, of: int) -> ops.Custom:
    """An operator for the gradients of its first `of` inputs, in their shapes, which must be known when compiling."""

    def of_first(*inputs: Any) -> Any:
        return inputs[0] if of == 1 else inputs[:of]

    return ops.Custom(f"{_library()}:{name}", of_first, of_first, func_type="aot")


def fixed_size_operator(
    name: str, shape: Callable[..., list[int]], bprop: Callable[..., Any] | None = None
) -> ops.Custom:
    """An operator with an output in float32, whose shape is what `shape` returns for those of the inputs.

    bprop: as that of `operator`. MindSpore keeps one such function for each name: it depends on nothing else.
    """

    def dtype(*inputs: Any) -> Any:
        return ms.float32

    return ops.Custom(f"{_library()}:{name}", shape, dtype, func_type="aot", bprop=bprop)


@functools.cache
def _library() -> Path | None:
    """The compiled file, or None if it cannot be made."""
    library = shared_library("kernels", _SOURCES, _FLAGS, _LIBRARIES)
    if library is not None:
        ctypes.CDLL(str(library))  # its threads stay as long as the process: MindSpore must not be the last to close it
    return library

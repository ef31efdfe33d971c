"""Operators of the C files beside this one, compiled by the machine's own compiler when a process first needs one.

On the CPU a network is made of many small passes over memory, which MindSpore's kernels take slowly. Forward and
backward on two cores: LayerNorm of 16384 x 64, 1.5 ms; GELU of 8 x 96 x 32 x 32, 0.6 ms instead of 8; a depthwise
convolution of 2 x 128 x 128 x 128, 5 ms instead of 71. Without a compiler the cells fall back on MindSpore's operators.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import mindspore as ms
from mindspore import ops
from mindspore.ops import CustomRegOp, DataType

from ms_seg.cells.device import on_cpu

_SOURCES = tuple(Path(__file__).with_name(name) for name in ("kernels.c", "deformable.c", "points.c", "softmax.c"))
_HEADERS = tuple(Path(__file__).with_name(name) for name in ("threads.h", "bilinear.h", "exponential.h"))
# Sums may be regrouped, as vector units need it; infinities and NaN keep their meaning.
_FLAGS = ("-std=c11", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros")
_FLAGS += ("-fassociative-math", "-fPIC", "-shared", "-pthread")
_SECONDS = 120

_log = logging.getLogger(__name__)


def available() -> bool:
    """Whether the operators can be had: on the CPU, with a C compiler."""
    return on_cpu() and _library() is not None


def operator(name: str, inputs: int) -> ops.Custom:
    """An operator of the C files, of and to float32, whose output has the shape that it infers from its inputs'."""
    # MindSpore asks the library for the shape only if it is told of the inputs.
    registration = CustomRegOp(name).target("CPU").output(0, "out")
    for position in range(inputs):
        registration.input(position, f"in{position}")
    registration.dtype_format(*[DataType.None_None] * (inputs + 1))
    told = registration.get_op_info()
    return ops.Custom(f"{_library()}:{name}", None, ms.float32, func_type="aot", reg_info=told)


def gradient(name: str, of: int) -> ops.Custom:
    """An operator of the C files for the gradients of the first `of` inputs, in their shapes, which must be fixed."""

    def of_first(*inputs):
        return inputs[0] if of == 1 else inputs[:of]

    return ops.Custom(f"{_library()}:{name}", of_first, of_first, func_type="aot")


def of_fixed_sizes(name: str, shape: Callable[..., list[int]]) -> ops.Custom:
    """An operator of the C files to float32, whose output has the shape that `shape` tells of those of its inputs.

    MindSpore keeps one such function for each name: it depends on nothing else.
    """

    def dtype(*inputs):
        return ms.float32

    return ops.Custom(f"{_library()}:{name}", shape, dtype, func_type="aot")


@functools.cache
def _library() -> Path | None:
    """The compiled file: kept for this user, source, compiler and processor. None if it cannot be made."""
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None:
        _log.info("there is no C compiler: the operators in C are done without")
        return None
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ms_seg"
    read = [source.read_bytes() for source in (*_SOURCES, *_HEADERS)]
    made_of = (*read, compiler.encode(), _processor(), *(flag.encode() for flag in _FLAGS))
    library = folder / f"kernels-{hashlib.sha256(b'|'.join(made_of)).hexdigest()[:16]}.so"
    try:
        if not library.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as drafts:
                draft = Path(drafts) / library.name
                command = [compiler, *_FLAGS, *map(str, _SOURCES), "-o", str(draft), "-lm"]
                subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS)
                os.replace(draft, library)
    except (OSError, subprocess.SubprocessError) as error:
        _log.info("the operators in C could not be compiled and are done without: %s", error)
        return None
    return library


def _processor() -> bytes:
    """What the compiler makes instructions for: a home folder may be shared by machines of several kinds."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        return b""
    return b"".join(sorted({line for line in lines if line.startswith((b"model name", b"flags", b"Features"))}))

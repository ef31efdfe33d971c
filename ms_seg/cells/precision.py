"""The dtype that convolutions and matrix products are computed in; everything between them is float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import mindspore as ms
from mindspore import Tensor

from ms_seg.cells.device import on_cpu

_dtype = ms.float32
_linear_in_bfloat16 = False  # in inference on the CPU
_only_rounded = False  # operands are rounded to _dtype, and multiplied in float32


@contextmanager
def compute_dtype(dtype: ms.Type) -> Iterator[None]:
    """Let `in_precision` compute in ms.float32, ms.float16 or ms.bfloat16 until the block ends.

    A compiled graph keeps the dtype in which it was first called. MindSpore's own way, amp.auto_mixed_precision, fails
    on gradients that cells write out themselves (2.8: Conv2D is given both types).
    """
    global _dtype, _only_rounded
    before = _dtype, _only_rounded
    _dtype = dtype
    # The CPU has no matrix product in bfloat16. That of rounded operands, rounded, is what other devices compute.
    _only_rounded = dtype == ms.bfloat16 and on_cpu()
    try:
        yield
    finally:
        _dtype, _only_rounded = before


@contextmanager
def inference_dtype(dtype: ms.Type) -> Iterator[None]:
    """Let networks compute in ms.float32 or ms.bfloat16 in inference until the block ends.

    On other devices bfloat16 is `compute_dtype`'s. On the CPU it is that of linear layers alone, in which transformers
    spend most of their time: operands are rounded, sums and all between the layers are float32. The embedded
    `segformer_tiny_shapes` has mIoU 0.91427 on 200 pictures instead of 0.91425. On two cores of an AMD Zen 5, with
    avx512_bf16, SegFormer-B5 takes 0.74 of float32's time and Mask2Former with Swin-L 0.68; linear_bfloat16.c says what
    multiplies where. A compiled graph keeps the dtype in which it was first called.
    """
    global _linear_in_bfloat16
    if not on_cpu():
        with compute_dtype(dtype):
            yield
        return
    before = _linear_in_bfloat16
    _linear_in_bfloat16 = dtype == ms.bfloat16
    try:
        yield
    finally:
        _linear_in_bfloat16 = before


def linear_in_bfloat16() -> bool:
    """Whether linear layers round their operands to bfloat16: see `inference_dtype`."""
    return _linear_in_bfloat16


def in_float32() -> bool:
    """Whether `in_precision` computes as its operator does: what is made of several products can then be one."""
    return _dtype == ms.float32


def in_precision(operator: Callable[..., Tensor], *operands: Tensor) -> Tensor:
    """operator(*operands), a convolution or a matrix product, from and to float32, computed in `compute_dtype`.

    Weights are rounded here, in each pass: the parameters, and the gradients that reach them, are float32. In float16 a
    result beyond 65504 becomes infinite.
    """
    if in_float32():
        return operator(*operands)
    return operator(*[_rounded(operand) for operand in operands]).astype(_dtype).astype(ms.float32)


def _rounded(operand: Tensor) -> Tensor:
    rounded = operand.astype(_dtype)
    return rounded.astype(ms.float32) if _only_rounded else rounded

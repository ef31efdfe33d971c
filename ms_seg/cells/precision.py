"""The precision that convolutions and matrix products are computed in; everything between them is float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import mindspore as ms
from mindspore import Tensor

from ms_seg.cells.device import on_cpu

_precision = ms.float32
_only_rounded = False  # operands are rounded to _precision, and multiplied in float32


@contextmanager
def products_in(precision: ms.Type) -> Iterator[None]:
    """Let `product` compute in ms.float32, ms.float16 or ms.bfloat16 until the block ends.

    A compiled graph computes for good in the precision in which it was first called. MindSpore's own way,
    amp.auto_mixed_precision, fails on gradients that cells write out themselves (2.8: Conv2D is given both types).
    """
    global _precision, _only_rounded
    before = _precision, _only_rounded
    _precision = precision
    # The CPU has no product in bfloat16. That of rounded operands, rounded, is what the others compute.
    _only_rounded = precision == ms.bfloat16 and on_cpu()
    try:
        yield
    finally:
        _precision, _only_rounded = before


def product(operator: Callable[..., Tensor], *operands: Tensor) -> Tensor:
    """operator(*operands), a convolution or a matrix product, of float32 and to float32, with products_in's precision.

    Weights are rounded here, in each pass: the parameters, and the gradients that reach them, are float32. A number
    beyond 65504 becomes infinite in float16.
    """
    if _precision == ms.float32:
        return operator(*operands)
    return operator(*[_lowered(operand) for operand in operands]).astype(_precision).astype(ms.float32)


def _lowered(operand: Tensor) -> Tensor:
    lowered = operand.astype(_precision)
    return lowered.astype(ms.float32) if _only_rounded else lowered

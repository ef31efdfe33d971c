"""The cross-entropy of pixels."""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, nn, ops

from ms_seg.cells import native
from ms_seg.cells.resize import Resize


class CrossEntropy(nn.Cell):
    """Logits (N, C, h, w) float32 and the classes of pixels (N, 1, H, W) int32, from 0 to C - 1 -> the cross-entropy of
    each pixel (N, 1, H, W) float32. Logits of another size are resized to the pixels as by `Resize`.

    An operator in C holds nothing at the pixels' size: from (2, 150, 128, 128) to 512x512, forward and backward on two
    cores, it takes 0.14 s, and took 0.26 where logits were resized apart (AMD Zen 3). Logits of 512x512, one picture,
    take products 0.55 s and MindSpore's own operator 2.9. The products' broadcasts also leave index tables behind, as
    long as a graph lives: a training step of SegFormer-B0, one picture of 512x512, takes 1.2 GB and took 3.1 with them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cross_entropy = _NativeCrossEntropy() if native.available() else _CrossEntropyByProducts()

    def construct(self, logits: Tensor, targets: Tensor) -> Tensor:
        return self.cross_entropy(logits, targets)


class Softmax(nn.Cell):
    """Logits (N, C, H, W) -> probabilities of classes (N, C, H W)."""

    def __init__(self) -> None:
        super().__init__()
        self.exponentials = _Exponentials()

    def construct(self, logits: Tensor) -> Tensor:
        exponentials, total, _ = self.exponentials(logits)
        return exponentials / total


class _NativeCrossEntropy(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        gradient = native.operator("cross_entropy_grad", 3)

        def bprop(logits: Tensor, targets: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
            return gradient(logits, targets, dout), targets  # nothing asks for the second

        self.forward = native.operator("cross_entropy", 2, bprop)

    def construct(self, logits: Tensor, targets: Tensor) -> Tensor:
        return self.forward(logits, targets)


class _CrossEntropyByProducts(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.resize, self.of_pixels = Resize(), _OfPixels()

    def construct(self, logits: Tensor, targets: Tensor) -> Tensor:
        return self.of_pixels(self.resize(logits, targets.shape[2:]), targets)


class _OfPixels(nn.Cell):
    """Of logits (N, C, H, W).

    MindSpore's reductions over the second axis are slow on the CPU, so that sums are matrix products, and the gradient
    is written out."""

    def __init__(self) -> None:
        super().__init__()
        self.exponentials = _Exponentials()
        self.add_at = ops.TensorScatterElements(axis=1, reduction="add")

    def construct(self, logits: Tensor, targets: Tensor) -> Tensor:
        _, total, largest = self.exponentials(logits)
        return ops.log(ops.reshape(total, largest.shape)) + largest - ops.gather_elements(logits, 1, targets)

    def bprop(self, logits: Tensor, targets: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        exponentials, total, _ = self.exponentials(logits)
        probs = exponentials * (ops.reshape(dout, total.shape) / total)
        return self.add_at(ops.reshape(probs, logits.shape), targets, -dout), targets


class _Exponentials(nn.Cell):
    """Of logits (N, C, H, W), divided by that of the largest of their pixel: (N, C, H W), their sum (N, 1, H W), and
    the largest logits (N, 1, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.multiply = ops.BatchMatMul()

    def construct(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        n, c, h, w = logits.shape
        largest = ops.stop_gradient(logits.max(1, keepdims=True))
        exponentials = ops.reshape(ops.exp(logits - largest), (n, c, h * w))
        return exponentials, self.multiply(ops.ones((n, 1, c), ms.float32), exponentials), largest

"""The softmax of attention whose scores have something added that many of them share: a mask, a table of positions."""

from __future__ import annotations

from mindspore import Tensor, nn, ops

from ms_seg.cells import native


class BiasedSoftmax(nn.Cell):
    """Scores (..., Lq, Lk), biases (K, Lq, Lk), which of them int32 (...) -> softmax(scores + biases[which]).

    All float32; over the last axis. A bias may hold -inf, but not in the whole of a row.
    """

    def __init__(self):
        super().__init__()
        self.softmax = _Native() if native.available() else _Plain()

    def construct(self, scores: Tensor, biases: Tensor, which: Tensor) -> Tensor:
        return self.softmax(scores, biases, which)


class _Native(nn.Cell):
    def __init__(self):
        super().__init__()
        self.forward = native.operator("biased_softmax", inputs=3)
        self.gradient = native.gradient("biased_softmax_gradient", of=2)

    def construct(self, scores: Tensor, biases: Tensor, which: Tensor) -> Tensor:
        return self.forward(scores, biases, which)

    def bprop(
        self, scores: Tensor, biases: Tensor, which: Tensor, out: Tensor, dout: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return *self.gradient(out, biases, which, dout), ops.zeros_like(which)


class _Plain(nn.Cell):
    """With the biases at their full size: a sum of two shapes leaves some 16 bytes for each of its elements behind on
    the CPU, for as long as its graph lives, which made 5.8 GB in a Mask2Former with Swin-L for 800x1088."""

    def construct(self, scores: Tensor, biases: Tensor, which: Tensor) -> Tensor:
        return ops.softmax(scores + ops.reshape(ops.gather(biases, which, 0), scores.shape), axis=-1)

"""What can be inside an exported graph beside the network: steps that NumPy does elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from ms_seg.cells.resize import Resize
from ms_seg.presets import Preset

PARTS = ("normalize", "semantic", "resize", "argmax")  # in the order of their work


class DeployedNetwork(nn.Cell):
    """A network with some of PARTS around it.

    Images (N, 3, H, W) float32, normalised; with "normalize" (N, H, W, 3) uint8, RGB. What else the network takes, such
    as words, is passed on. What comes out is the network's; with "semantic" the scores of classes (N, C, h, w) instead
    of queries; with "resize" maps of H x W; with "argmax" the index of each pixel's class, (N, h, w) int32.
    """

    def __init__(self, network: nn.Cell, preset: Preset, size: tuple[int, int], inside: Sequence[str]):
        super().__init__(auto_prefix=False)  # the network's parameters keep their names
        rule = preset.preprocessing
        self.network = network
        self.normalize = _Normalize(rule.mean, rule.std) if "normalize" in inside else None
        after: list[nn.Cell] = []
        if preset.output == "queries":
            after += [_ResizeMasks(size)] if "resize" in inside else []
            after += [_SemanticScores()] if "semantic" in inside else []
        elif "resize" in inside:
            after.append(_ResizeLogits(size, rule.align_corners))
        after += [_Argmax()] if "argmax" in inside else []
        self.after = nn.CellList(after)

    def construct(self, images: Tensor, *others: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if self.normalize is not None:
            images = self.normalize(images)
        maps = self.network(images, *others)
        for part in self.after:
            maps = part(maps)
        return maps


class _Normalize(nn.Cell):
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float32."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.mean = Tensor(np.array(mean, np.float32).reshape(1, 3, 1, 1))
        self.inverse_std = Tensor((1 / np.array(std, np.float64)).astype(np.float32).reshape(1, 3, 1, 1))

    def construct(self, pictures: Tensor) -> Tensor:
        values = ops.transpose(pictures, (0, 3, 1, 2)).astype(ms.float32)
        return (values - self.mean) * self.inverse_std


class _ResizeLogits(nn.Cell):
    def __init__(self, size: tuple[int, int], align_corners: bool):
        super().__init__()
        self.size, self.resize = size, Resize(align_corners)

    def construct(self, logits: Tensor) -> Tensor:
        return self.resize(logits, self.size)


class _ResizeMasks(nn.Cell):
    def __init__(self, size: tuple[int, int]):
        super().__init__()
        self.size, self.resize = size, Resize()

    def construct(self, queries: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        class_logits, mask_logits = queries
        return class_logits, self.resize(mask_logits, self.size)


class _SemanticScores(nn.Cell):
    """`postprocessing.semantic.semantic_scores`: (N, Q, C + 1), (N, Q, h, w) -> (N, C, h, w)."""

    def __init__(self) -> None:
        super().__init__()
        self.multiply = ops.BatchMatMul(transpose_a=True)

    def construct(self, queries: tuple[Tensor, Tensor]) -> Tensor:
        class_logits, mask_logits = queries
        n, count, height, width = mask_logits.shape
        classes = ops.softmax(class_logits, axis=-1)[:, :, :-1]
        masks = ops.sigmoid(ops.reshape(mask_logits, (n, count, height * width)))
        return ops.reshape(self.multiply(classes, masks), (n, classes.shape[2], height, width))


class _Argmax(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.argmax = ops.Argmax(axis=1, output_type=ms.int32)

    def construct(self, maps: Tensor) -> Tensor:
        return self.argmax(maps)

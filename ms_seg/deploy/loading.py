"""An exported graph in the place of a network."""

from __future__ import annotations

import os
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from ms_seg.cells.interrupts import interruptible
from ms_seg.deploy.description import Description, read_description
from ms_seg.deploy.pictures import unnormalised
from ms_seg.systems import Model


class ExportedModel(Model):
    """A graph of a file: images (N, 3, H, W) float32 -> what the graph gives of them, see `DeployedNetwork`.

    Of H and W the graph's; N is at most its batch. Images are normalised but where the graph does it.
    """

    def __init__(self, graph: nn.Cell, described: Description):
        super().__init__(auto_prefix=False)
        self.graph, self.described = graph, described
        normalizes = "normalize" in described.inside
        self.preset = unnormalised(described.preset) if normalizes else described.preset
        self.takes_bytes, self.batch = normalizes, described.batch

    def construct(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        count = images.shape[0]
        if count > self.batch:
            raise ValueError(f"the graph takes {self.batch} images at once: {count} are too many")
        if count < self.batch:
            images = ops.concat([images, ops.zeros((self.batch - count, *images.shape[1:]), images.dtype)])
        if self.takes_bytes:
            images = ops.transpose(images, (0, 2, 3, 1)).astype(ms.uint8)
        outputs = self.graph(images)
        return tuple(each[:count] for each in outputs) if isinstance(outputs, tuple) else outputs[:count]


def load_mindir(path: str | os.PathLike[str]) -> ExportedModel:
    """The graph of a file that `export` wrote, and what lies beside it.

    Raises ValueError where one of both is missing or no such file, or where they do not belong together.
    """
    described = read_description(path)
    model = ExportedModel(load_graph(path), described)
    model.checkpoint = os.fspath(path)
    return model


def load_graph(path: str | os.PathLike[str]) -> nn.Cell:
    """Raises ValueError for what MindSpore cannot read."""
    with interruptible():
        try:
            return nn.GraphCell(ms.load(os.fspath(Path(path).absolute())))
        except (RuntimeError, ValueError, TypeError) as error:
            reason = str(error).strip().split("\n")[0]
            raise ValueError(f"{path} is no MindIR file that MindSpore can read: {reason}") from None


def run_graph(graph: nn.Cell, *inputs: np.ndarray) -> list[np.ndarray]:
    """The arrays that a cell gives for these."""
    with interruptible():
        outputs = graph(*map(Tensor, inputs))
        return [each.asnumpy() for each in (outputs if isinstance(outputs, tuple) else (outputs,))]

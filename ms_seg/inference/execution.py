"""How a network is run: as a compiled graph, or operator by operator."""

from __future__ import annotations

import logging
from collections.abc import Callable

import mindspore as ms
from mindspore import Tensor, nn

MODES = ("graph", "pynative")

_log = logging.getLogger(__name__)

# `dynamic=1` compiles for the first input sizes as they are, and then once more, for every size. That last graph is a
# third slower; but a graph for each of a folder's sizes would cost seconds and 100 MB (SegFormer-B0) a size, and
# MindSpore does not give them back.
_COMPILED_SIZES = 3


def runner(model: nn.Cell, mode: str = "graph") -> Callable[[Tensor], Tensor]:
    """The forward pass of a model, in inference mode: images (N, 3, H, W) -> what the model returns.

    Args:
        mode: "graph" is faster, and compiles for some seconds at the first input sizes, which is logged; "pynative"
            runs the operators one by one, to look inside. MindSpore's own global mode is left as it is.

    Raises: ValueError for another mode.
    """
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}: choose from {', '.join(MODES)}")
    model.set_train(False)
    if mode == "pynative":
        return model
    graph = ms.jit(model.construct, dynamic=1)
    sizes_seen: set[tuple[int, ...]] = set()

    def run(images: Tensor) -> Tensor:
        if images.shape not in sizes_seen and len(sizes_seen) < _COMPILED_SIZES:
            sizes_seen.add(images.shape)
            height, width = images.shape[2:]
            reuse = "once for every further size" if len(sizes_seen) == _COMPILED_SIZES else "once for this input size"
            _log.info("compiling %s for %dx%d, %s", type(model).__name__, height, width, reuse)
        return graph(images)

    return run

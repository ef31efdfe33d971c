"""How a network is run: as a compiled graph, or operator by operator."""

from __future__ import annotations

import logging
from collections.abc import Callable

import mindspore as ms
from mindspore import Tensor, nn

MODES = ("graph", "pynative")

_log = logging.getLogger(__name__)

# `dynamic=1` compiles for the first two input sizes as they are, and then once more, for every size. That last graph is
# a third slower; but a graph for each of a folder's sizes would cost seconds and 100 MB (SegFormer-B0) a size, and
# MindSpore does not give them back.
_COMPILATIONS = 3


def runner(model: nn.Cell, mode: str = "graph") -> Callable[..., Tensor | tuple[Tensor, ...]]:
    """The forward pass of a model or a part of it, in inference mode: its inputs, tensors -> what it returns.

    Args:
        mode: "graph" is faster, and compiles for some seconds at the first input sizes, which is logged; "pynative"
            runs the operators one by one, to look inside. MindSpore's own global mode is left as it is.

    Raises: ValueError for another mode.
    """
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}: choose from {', '.join(MODES)}")
    model.set_train(False)
    return model if mode == "pynative" else _Graph(model)


class _Graph:
    """A model's forward pass, compiled when an input asks for it."""

    def __init__(self, model: nn.Cell):
        self._model = model
        self._parameters = list(model.get_parameters())
        self._weights: list[int] | None = None  # addresses
        self._forward: Callable[..., Tensor | tuple[Tensor, ...]] = model
        self._sizes: set[tuple[tuple[int, ...], ...]] = set()

    def __call__(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        # A graph holds on to the memory of its weights: it sees what an optimiser writes there, but not that `set_data`
        # or `load_param_into_net` puts other memory in its place.
        weights = [parameter.data_ptr() for parameter in self._parameters]
        if weights != self._weights:
            self._weights, self._forward = weights, ms.jit(_Forward(self._model).construct, dynamic=1)
            self._sizes.clear()
        sizes = tuple(tensor.shape for tensor in inputs)
        if sizes not in self._sizes and len(self._sizes) < _COMPILATIONS:
            self._sizes.add(sizes)
            reuse = "once for every further size" if len(self._sizes) == _COMPILATIONS else "once for this input size"
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

"""Other runtimes for the PyTorch references, for benchmark.py: torch.compile, and by ONNX onnxruntime and OpenVINO."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "parity")]

from ms_seg.presets import find_preset  # noqa: E402

if TYPE_CHECKING:
    import torch

Inputs = tuple[np.ndarray, ...]
Run = Callable[[], object]


def _start_compiled(name: str, inputs: Inputs, threads: int) -> Run:
    import torch

    torch.set_num_threads(threads)
    network, tensors = torch.compile(_reference(name)), [torch.from_numpy(array) for array in inputs]

    def run() -> object:
        with torch.no_grad():
            return network(*tensors)

    return run


def _start_onnxruntime(name: str, inputs: Inputs, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(_onnx(name, inputs), options, providers=["CPUExecutionProvider"])
    named = dict(zip((value.name for value in session.get_inputs()), inputs, strict=True))
    return lambda: session.run(None, named)


def start_openvino_bfloat16(name: str, inputs: Inputs, threads: int) -> Run:
    """With products in bfloat16."""
    return _start_openvino(name, inputs, threads, "bf16")


def _start_openvino(name: str, inputs: Inputs, threads: int, precision: str = "f32") -> Run:
    """In float32: where the processor has bfloat16, OpenVINO would choose it."""
    import openvino

    hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    network = openvino.Core().compile_model(openvino.Core().read_model(_onnx(name, inputs)), "CPU", hints)
    request = network.create_infer_request()
    return lambda: request.infer(list(inputs))


def _reference(name: str) -> torch.nn.Module:
    """A module from what the network takes to its logits, or to the last classes and masks of its queries."""
    import references
    import torch

    preset = find_preset(name)

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = references.build_reference(preset)

        def forward(self, images: torch.Tensor, *words: torch.Tensor) -> object:
            if preset.output == "queries":
                import mask2former_reference

                return mask2former_reference.all_layers(self.model, images)[-1]
            if words:
                return self.model(images, *words)
            if hasattr(self.model, "backbone"):
                return self.model.decode_head(self.model.backbone(images))
            return self.model(pixel_values=images).logits

    return Network().eval()


def _onnx(name: str, inputs: Inputs) -> bytes:
    """The reference as an ONNX file of these inputs' shapes."""
    import torch

    unflatten = torch.nn.Unflatten  # takes no size that is traced, as LSeg's is

    def of_known_size(dim: int, size: Iterable[int]) -> torch.nn.Module:
        return unflatten(dim, tuple(map(int, size)))

    with tempfile.TemporaryDirectory() as folder, torch.no_grad(), mock.patch("torch.nn.Unflatten", of_known_size):
        path = Path(folder, "network.onnx")
        tensors = tuple(torch.from_numpy(array) for array in inputs)
        torch.onnx.export(_reference(name), tensors, str(path), opset_version=17, dynamo=False)
        return path.read_bytes()


FORWARD = {"torch.compile": _start_compiled, "onnxruntime": _start_onnxruntime, "OpenVINO": _start_openvino}

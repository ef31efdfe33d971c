"""python scripts/devices.py: which operators each network needs on Ascend and on GPU, beside MindSpore's own table.

Every network is built as it is for those devices, on this machine, and its graphs are exported: of inference, and of a
training step forward, backward and in the optimiser. What is in them is looked up where MindSpore says which devices
have an operator: "Supported Platforms" in its documentation, which comes with the installed package. Without an option
the table is printed; with --write it replaces that of docs/devices.md.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import ParameterTuple, Tensor, nn
from mindspore.train import mind_ir_pb2

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from ms_seg.cells.device import built_for  # noqa: E402
from ms_seg.cells.drop import give_noise  # noqa: E402
from ms_seg.cells.precision import compute_dtype  # noqa: E402
from ms_seg.presets import find_preset  # noqa: E402
from ms_seg.systems import Model, build  # noqa: E402
from ms_seg.systems.lseg import GivenWords  # noqa: E402
from ms_seg.training.losses.cross_entropy import SemanticLoss, WordLoss  # noqa: E402
from ms_seg.training.losses.masks import _AllLayers, _ChoosePoints, _LayerLoss  # noqa: E402
from ms_seg.training.losses.matching import MatchingCosts  # noqa: E402
from ms_seg.training.optimizer import layers_of, make_optimizer  # noqa: E402
from ms_seg.training.step import _ScaledGradients, _Unscale, _Update  # noqa: E402

PAGE = ROOT / "docs" / "devices.md"
BEGIN, END = "<!-- scripts/devices.py -->\n", "<!-- /scripts/devices.py -->\n"
DEVICES = ("Ascend", "GPU")
SIDE, WORDS, TOKENS = 64, 3, 8

# Names of types in MindIR (mind_ir.TensorProto.DataType).
_TYPES = {1: "float32", 2: "uint8", 3: "int8", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
          11: "float64", 16: "bfloat16"}  # fmt: skip

# Nodes that compute nothing: they order and hand on what others do.
_STRUCTURE = {"Constant", "Depend", "Load", "MakeTuple", "TupleGetItem", "UpdateState", "Return", "Partial"}

# What has no documentation of its own is a gradient, or what the compiler makes of a documented function: of a product
# with a number, of a sum. Where a device has no kernel for the latter, MindSpore takes the former's.
_DOCUMENTED_AS = {
    "BinaryCrossEntropyWithLogitsBackward": "BCEWithLogitsLoss",
    "Conv2DBackpropFilter": "Conv2D",
    "Conv2DBackpropInput": "Conv2D",
    "Divs": "Div",
    "MaxPool3DGradWithArgmax": "MaxPool3DWithArgmax",
    "Muls": "Mul",
    "ReluGrad": "ReLU",
    "RemainderTensorScalar": "remainder",
    "ResizeBilinearGrad": "ResizeBilinearV2",
    "SoftmaxBackward": "Softmax",
    "SplitWithSize": "Split",
    "SumExt": "sum",
}
_OF_GRADIENT = re.compile("Grad(V2)?$")

# The networks of the table, as small as they can be: an operator does not depend on the size. A preset, and what of it
# is smaller.
_MIT: dict[str, Any] = {"depths": (1, 1, 1, 1), "embed_dims": (8, 16, 16, 16), "heads": (1, 2, 2, 2)}
_LSEG: dict[str, Any] = {"features": 16, "embed_dim": 16, "text_width": 16, "text_layers": 1, "text_heads": 2,
                         "vocabulary": 64, "head_block": "bottleneck", "block_depth": 2}  # fmt: skip
_QUERIES: dict[str, Any] = {"queries": 4, "width": 32, "decoder_heads": 2, "pixel_layers": 1, "pixel_hidden": 16,
                            "query_layers": 1, "query_hidden": 16}  # fmt: skip
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "SegFormer": ("segformer_b0_ade20k", {**_MIT, "head_width": 16}),
    "LSeg, ViT": (
        "lseg_vitl16_ade20k",
        {**_LSEG, "channels": 16, "depth": 4, "heads": 2, "map_channels": (8, 8, 16, 16)},
    ),
    "LSeg, ResNet": (
        "lseg_zs_resnet101",
        {**_LSEG, "head_block": "depthwise", "activation": "tanh", "depths": (1, 1, 1, 1)},
    ),
    "Mask2Former, Swin": (
        "mask2former_swin_t_coco_panoptic",
        {**_QUERIES, "channels": 8, "depths": (2, 1, 1, 1), "heads": (1, 2, 2, 2), "window": 4},
    ),
    "Mask2Former, ResNet": ("mask2former_r50_coco_panoptic", {**_QUERIES, "depths": (1, 1, 1, 1)}),
    "ViT-Adapter": (
        "vit_adapter_beit_l_cocostuff164k",
        {**_QUERIES, "channels": 16, "depth": 4, "heads": 2, "deform_heads": 2, "prior_width": 8, "grid": SIDE // 16},
    ),
}  # fmt: skip

Operators = dict[str, set[str]]  # an operator's name -> the types of what it gives


@dataclass
class Needs:
    """The operators of a network's graphs."""

    inference: Operators = field(default_factory=dict)
    training: Operators = field(default_factory=dict)


def needs_of(network: str, training: bool = True) -> Needs:
    """What a network of NETWORKS needs, built as for Ascend, which is how it is built for a GPU too.

    A training step takes up to a minute to compile.
    """
    preset_name, smaller = NETWORKS[network]
    with built_for("Ascend"):
        model = build(find_preset(preset_name).override(**smaller))
        return Needs(_union(_inference(model)), _union(_training(model)) if training else {})


def _inference(model: Model) -> Iterator[Operators]:
    images = _floats(1, 3, SIDE, SIDE)
    if model.preset.output != "words":
        yield operators_of(model, images)
        return
    yield operators_of(model.text.set_train(False), Tensor(np.ones((WORDS, TOKENS), np.int32)))
    yield operators_of(GivenWords(model).set_train(False), images, _floats(WORDS, 16))


def _training(model: Model) -> Iterator[Operators]:
    """In float32, and in float16 with its loss scaled."""
    recipe = model.preset.recipe
    for loss, *inputs in _losses(model):
        loss.set_train(True)
        give_noise(loss, 1)
        trained = ParameterTuple(loss.trainable_params())
        if not trained:
            yield operators_of(loss, *inputs)
            continue
        scaled = _ScaledGradients(loss, trained)
        scaled.loss = loss  # export looks for the parameters of a cell in its parts
        with compute_dtype(ms.float16):
            yield operators_of(scaled, Tensor(1.0, ms.float32), *inputs)
        gradients = [_floats(*parameter.shape) for parameter in trained]
        yield operators_of(_Unscale(None), Tensor(1.0, ms.float32), *gradients)
        optimizer = make_optimizer(trained, recipe, layers_of(loss, recipe))
        scalars = [Tensor(1.0, ms.float32)] * (1 + len(optimizer.bias_corrections(0)))
        yield operators_of(_Update(optimizer, recipe, (), None), *scalars, *gradients)


def _losses(model: Model) -> Iterator[tuple[Any, ...]]:
    """The parts of the loss that are graphs, each with its inputs."""
    images, labels = _floats(1, 3, SIDE, SIDE), Tensor(np.zeros((1, SIDE, SIDE), np.int32))
    if model.preset.output == "logits":
        yield SemanticLoss(model, model.preset.recipe), images, labels
    elif model.preset.output == "words":
        yield WordLoss(model), images, labels, Tensor(np.ones((WORDS, TOKENS), np.int32))
    else:
        yield from _mask_losses(model)


def _mask_losses(model: Model) -> Iterator[tuple[Any, ...]]:
    recipe, queries, side, points = model.preset.recipe, 4, SIDE // 4, 8
    classes = model.preset.num_classes + 1
    predicted = _floats(1, queries, classes), _floats(1, queries, side, side)
    labels, masks = Tensor(np.zeros((1, 2), np.int32)), Tensor(np.zeros((1, 2, SIDE, SIDE), np.uint8))
    pairs = Tensor(np.zeros(2, np.int32))
    some, candidates = _floats(2, points, 2), _floats(2, 3 * points, 2)
    yield _Sum(_AllLayers(model)), _floats(1, 3, SIDE, SIDE)
    yield MatchingCosts(recipe), *predicted, labels, masks, _floats(1, points, 2)
    yield _ChoosePoints(points), predicted[1], masks, pairs, pairs, candidates, some
    inputs = Tensor(np.zeros((1, queries), np.int32)), pairs, some, _floats(2, points), Tensor(1.0, ms.float32)
    yield _InputGradients(_LayerLoss(recipe)), *predicted, *inputs


class _Sum(nn.Cell):
    """One number of all predictions, to have gradients of."""

    def __init__(self, layers: nn.Cell):
        super().__init__(auto_prefix=False)
        self.layers = layers

    def construct(self, images: Tensor) -> Tensor:
        total = 0.0
        for class_logits, mask_logits in self.layers(images):
            total = total + (class_logits.sum() + mask_logits.sum())
        return total


class _InputGradients(nn.Cell):
    def __init__(self, loss: nn.Cell):
        super().__init__(auto_prefix=False)
        self.gradients = ms.grad(loss, (0, 1))

    def construct(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.gradients(*inputs)


def operators_of(cell: nn.Cell, *inputs: Tensor) -> Operators:
    """The operators of a cell's graph and the types that they give, from its MindIR."""
    with tempfile.TemporaryDirectory() as folder:
        ms.export(cell, *inputs, file_name=f"{folder}/graph", file_format="MINDIR")
        model = mind_ir_pb2.ModelProto.FromString(Path(folder, "graph.mindir").read_bytes())
    names = {f"REF::{primitive.name}": primitive.op_type for primitive in model.primitives}
    found: Operators = defaultdict(set)
    for graph in (model.graph, *model.functions):
        for node in graph.node:
            name = names.get(node.op_type, node.op_type)
            if name in _STRUCTURE or node.op_type.startswith("REF::") and node.op_type not in names:
                continue
            types = [tensor.data_type for a in node.attribute if a.name == "shape" for tensor in a.tensors]
            found[name] |= {_TYPES.get(kind, str(kind)) for kind in types}
    return dict(found)


def documented_as(operator: str) -> str:
    """The name that an operator, or the function that it is the gradient of, is documented under."""
    return _DOCUMENTED_AS.get(operator) or _OF_GRADIENT.sub("", operator)


@cache
def platforms(operator: str) -> tuple[str, ...]:
    """The devices that MindSpore's documentation names for an operator; none where it says nothing."""
    text = _documentation(operator)
    found = re.search(r"Supported Platforms:\s*\n\s*(``.*)", text)
    return tuple(re.findall(r"``(\w+)``", found[1])) if found else ()


def _documentation(operator: str) -> str:
    """Of the class, or of the function that it refers to."""
    name = documented_as(operator)
    texts = [inspect.getdoc(getattr(module, name)) or "" for module in _modules() if hasattr(module, name)]
    for text in list(texts):
        for function in re.findall(r"Refer to :func:`mindspore\.([\w.]+)`", text):
            texts.append(_function_documentation(function))
    return next((text for text in texts if "Supported Platforms" in text), "")


def _function_documentation(name: str) -> str:
    found: Any = ms
    for part in name.split("."):
        found = getattr(found, part, None)
    return inspect.getdoc(found) or "" if found is not None else ""


@cache
def _modules() -> tuple[Any, ...]:
    names = ("operations", "operations._inner_ops", "operations._grad_ops", "auto_generate",
             "auto_generate.gen_ops_prim", "operations.array_ops", "operations.math_ops", "operations.nn_ops",
             "operations.image_ops")  # fmt: skip
    return ms.ops, *(importlib.import_module(f"mindspore.ops.{name}") for name in names)


def _union(parts: Iterator[Operators]) -> Operators:
    total: Operators = defaultdict(set)
    for part in parts:
        for name, types in part.items():
            total[name] |= types
    return dict(total)


def _floats(*shape: int) -> Tensor:
    return Tensor(np.zeros(shape, np.float32))


def table(needs: Mapping[str, Needs]) -> str:
    """A line for each operator: what it is documented as, the types that it gives, the devices, and who needs it."""
    names = sorted({name for own in needs.values() for name in (*own.inference, *own.training)})
    lines = [f"| operator | types | {' | '.join(DEVICES)} | {' | '.join(needs)} |"]
    lines.append("| --- " * (2 + len(DEVICES) + len(needs)) + "|")
    for name in names:
        types = sorted(set().union(*(part.get(name, ()) for own in needs.values() for part in vars(own).values())))
        marks = ["yes" if device in platforms(name) else "**no**" for device in DEVICES]
        users = ["".join(mark for mark, part in (("i", own.inference), ("t", own.training)) if name in part)
                 for own in needs.values()]  # fmt: skip
        other = documented_as(name)
        shown = f"{name} (as {other})" if other != name else name
        lines.append(f"| {shown} | {', '.join(types)} | {' | '.join(marks)} | {' | '.join(users)} |")
    return "\n".join(lines) + "\n"


def written(page: str, text: str) -> str:
    """The page with its table replaced."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + text + END + after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    text = table({network: needs_of(network) for network in NETWORKS})
    if options.write:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8")
    else:
        print(text, end="")


if __name__ == "__main__":
    main()

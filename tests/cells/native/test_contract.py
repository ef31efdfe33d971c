"""What operator.h promises of every operator: it refuses what does not fit, in a sentence."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mindspore import Tensor, mint

from ms_seg.cells import native
from ms_seg.cells.activation import GELU
from tests.cells.native.calls import NOWHERE, call, deformable, draw, numbers, ones, outputs_of, refuses

ROOT = Path(__file__).resolve().parents[3]
WRONG_TYPE, WRONG_SHAPE, WRONG_INDEX = 2, 3, 4


# --------------------------------------------------------------------------------------------- indices from tensors


@pytest.mark.parametrize("row", [3, 4, 2**31 - 1])
def test_a_row_beyond_the_last_map_is_refused(row: int):
    maps, rows = draw(3, 4, 5), numbers(0, row, -1)
    assert refuses(WRONG_INDEX, "sample_points", [maps, rows, ones(3, 7, 2)], [(3, 7)])
    assert refuses(WRONG_INDEX, "sample_points_grad", [maps, rows, ones(3, 7, 2), ones(3, 7)], [(3, 4, 5)])
    assert refuses(WRONG_INDEX, "uncertain_points", [maps, rows, ones(3, 7, 2), ones(2)], [(3, 2, 2)])


@pytest.mark.parametrize("target", [-1, 5, 255, 2**31 - 1, -(2**31)])
def test_a_class_that_has_no_logit_is_refused(target: int):
    logits, targets = draw(2, 5, 3, 4), np.zeros((2, 1, 3, 4), np.int32)
    targets[1, 0, 2, 3] = target
    assert refuses(WRONG_INDEX, "cross_entropy", [logits, targets], [(2, 1, 3, 4)])
    assert refuses(WRONG_INDEX, "cross_entropy_grad", [logits, targets, ones(2, 1, 3, 4)], [(2, 5, 3, 4)])


def test_a_negative_row_stands_for_none():
    maps, rows, points = draw(3, 4, 5), numbers(-1, -(2**31), 2), np.full((3, 7, 2), 0.5, np.float32)
    (samples,) = outputs_of("sample_points", [maps, rows, points], [(3, 7)])
    assert not samples[:2].any() and samples[2].all()
    (gradient,) = outputs_of("sample_points_grad", [maps, rows, points, ones(3, 7)], [(3, 4, 5)])
    assert not gradient[:2].any() and gradient[2].sum() == pytest.approx(7)


@pytest.mark.parametrize("index", [-1, 2, 2**31 - 1, -(2**31)])
def test_a_bias_that_is_not_there_is_refused(index: int):
    scores, biases, which = draw(3, 4, 20), draw(2, 4, 20), numbers(0, 1, index)
    assert refuses(WRONG_INDEX, "biased_softmax", [scores, biases, which], [(3, 4, 20)])
    assert refuses(WRONG_INDEX, "biased_softmax_grad", [scores, biases, which, scores], [(3, 4, 20), (2, 4, 20)])


@pytest.mark.parametrize(
    "shape",
    [(3, 5), (4, 4), (3, 3.5), (0, 12), (-3, -4), (1, 2.0**25), *((side, 4) for side in NOWHERE), (3, np.nan)],
    ids=str,
)
def test_spatial_shapes_that_are_not_those_of_the_values_are_refused(shape: tuple[float, float]):
    inputs, outputs = deformable(np.array([shape], np.float32)), [(1, 5, 6)]
    assert refuses(WRONG_INDEX, "deformable_attention", inputs, outputs)
    gradients = [inputs[index].shape for index in range(3)]
    assert refuses(WRONG_INDEX, "deformable_attention_grad", [*inputs, ones(1, 5, 6)], gradients)


@pytest.mark.parametrize("grid", [(2, 4), (6, 1), (0, 6), (-2, -3), (2**31 - 1, 2**31 - 1), (-(2**31), 3)])
def test_a_grid_that_is_not_that_of_the_tokens_and_the_table_is_refused(grid: tuple[int, int]):
    for length in (7, 0):
        inputs, outputs = [ones(1, length, 12), ones(18, 2), numbers(*grid)], [(1, length, 4)]
        assert refuses(WRONG_INDEX, "relative_attention", inputs, outputs)
        gradients = [(1, length, 12), (18, 2)]
        assert refuses(WRONG_INDEX, "relative_attention_grad", [*inputs, ones(*outputs[0])], gradients)


@pytest.mark.parametrize(
    "window", [(3, 1, 2), (2, 2, 2), (2, -1, 2), (2, 0, 2), (0, 0, 2), (2, 1, 0), (2, 1, 4), (-2, 1, 2)]
)
def test_windows_a_shift_and_heads_that_do_not_fit_the_biases_are_refused(window: tuple[int, int, int]):
    inputs = [ones(1, 3, 5, 12), ones(12), ones(8, 4, 4), numbers(*window)]
    assert refuses(WRONG_INDEX, "window_attention", inputs, [(1, 3, 5, 4)])


@pytest.mark.parametrize(
    ("rows", "inputs", "outputs"), [(256, 2048, 32), (100, 300, 700), (901, 64, 1200), (3000, 70, 64)]
)
@pytest.mark.parametrize("name", ["linear", "linear_gelu"])
def test_the_rows_of_a_sample_are_to_the_last_bit_the_same_alone_and_among_others(name, rows, inputs, outputs):
    x, weight, bias = draw(3, rows, inputs), draw(outputs, inputs), draw(outputs)
    (together,) = outputs_of(name, [x, weight, bias], [(3, rows, outputs)])
    for sample, expected in zip(x, together, strict=True):
        (alone,) = outputs_of(name, [sample[None], weight, bias], [(1, rows, outputs)])
        np.testing.assert_array_equal(alone[0], expected)


# -------------------------------------------------------------------------------------------------- types and shapes

SOUND = {  # inputs, outputs
    "gelu": ([ones(3, 4)], [(3, 4)]),
    "gelu_grad": ([ones(3, 4), ones(3, 4)], [(3, 4)]),
    "layer_norm": ([draw(3, 4), ones(4), ones(4), ones()], [(3, 4)]),
    "layer_norm_grad": ([draw(3, 4), ones(4), ones(4), ones(), ones(3, 4)], [(3, 4), (4,), (4,)]),
    "group_norm": ([draw(2, 4, 3), ones(4), ones(4), np.int32(2), ones()], [(2, 4, 3)]),
    "group_norm_grad": (
        [draw(2, 4, 3), ones(4), ones(4), np.int32(2), ones(), ones(2, 4, 3)],
        [(2, 4, 3), (4,), (4,)],
    ),
    "linear": ([ones(2, 3, 4), ones(5, 4), ones(5)], [(2, 3, 5)]),
    "linear_relu": ([ones(2, 3, 4), ones(5, 4), ones(5)], [(2, 3, 5)]),
    "linear_gelu": ([ones(2, 3, 4), ones(5, 4), ones(5)], [(2, 3, 5)]),
    "linear_quick_gelu": ([ones(2, 3, 4), ones(5, 4), ones(5)], [(2, 3, 5)]),
    "linear_residual": ([ones(2, 3, 4), ones(5, 4), ones(5), ones(2, 3, 5)], [(2, 3, 5)]),
    "linear_of_map": ([ones(2, 3, 4, 5), ones(6, 3), ones(6)], [(2, 4, 5, 6)]),
    "linear_to_map": ([ones(2, 4, 5, 3), ones(6, 3), ones(6)], [(2, 6, 4, 5)]),
    "linear_relu_grad": ([ones(2, 3, 5), ones(2, 3, 5)], [(2, 3, 5)]),
    "linear_x_grad": ([ones(2, 3, 4), ones(5, 4), ones(2, 3, 5)], [(2, 3, 4)]),
    "linear_weight_grad": ([ones(5, 4), ones(2, 3, 4), ones(2, 3, 5)], [(5, 4)]),
    "linear_bias_grad": ([ones(5), ones(2, 3, 5)], [(5,)]),
    "squared_norm": ([ones(2, 3, 4, 5)], [(2, 1, 4, 5)]),
    "squared_norm_grad": ([ones(2, 3, 4, 5), ones(2, 1, 4, 5)], [(2, 3, 4, 5)]),
    "sum_of_squares": ([ones(3, 4)], [(1,)]),
    "scaled_sum": ([ones(3, 4), ones(3, 4), ones()], [(3, 4)]),
    "layer_scale": ([ones(2, 3, 4), ones(2, 3, 4), ones(4)], [(2, 3, 4)]),
    "layer_scale_grad": ([ones(2, 3, 4), ones(4), ones(2, 3, 4)], [(2, 3, 4), (4,)]),
    "scale_rows": ([ones(2, 3, 4), ones(2)], [(2, 3, 4)]),
    "swap_axes": ([ones(2, 3, 4, 5)], [(2, 4, 3, 5)]),
    "depthwise_conv": ([ones(2, 3, 4, 5), ones(3, 1, 3, 3)], [(2, 3, 4, 5)]),
    "depthwise_conv_grad": (
        [ones(2, 3, 4, 5), ones(3, 1, 3, 3), ones(2, 3, 4, 5)],
        [(2, 3, 4, 5), (3, 1, 3, 3)],
    ),
    "depthwise_conv_gelu": ([ones(2, 4, 5, 3), ones(3, 1, 3, 3), ones(3)], [(2, 4, 5, 3)]),
    "patches": ([ones(2, 3, 4, 5), ones(3, 2, 2)], [(2, 2, 3, 27)]),
    "token_patches": ([ones(2, 4, 5, 3), ones(3, 2, 2)], [(2, 2, 3, 27)]),
    "patches_grad": ([ones(2, 3, 4, 5), ones(3, 2, 2), ones(2, 2, 3, 27)], [(2, 3, 4, 5)]),
    **{name: ([ones(2, 3, 4, 5), ones(7, 6)], [(2, 3, 7, 6)]) for name in ("resize", "resize_corners")},
    **{
        f"{name}_grad": ([ones(2, 3, 4, 5), ones(7, 6), ones(2, 3, 7, 6)], [(2, 3, 4, 5)])
        for name in ("resize", "resize_corners")
    },
    "resized_sum_relu": ([ones(2, 4, 5, 3), *[ones(2, 2, 3, 3)] * 3, ones(3), ones(3)], [(2, 4, 5, 3)]),
    "conv1x1": ([ones(2, 3, 4, 5), ones(6, 3, 1, 1), ones(6)], [(2, 6, 4, 5)]),
    "conv1x1_x_grad": ([ones(2, 3, 4, 5), ones(6, 3, 1, 1), ones(2, 6, 4, 5)], [(2, 3, 4, 5)]),
    "conv1x1_weight_grad": ([ones(6, 3, 1, 1), ones(2, 3, 4, 5), ones(2, 6, 4, 5)], [(6, 3, 1, 1)]),
    "conv1x1_bias_grad": ([ones(6), ones(2, 6, 4, 5)], [(6,)]),
    "conv3x3": ([ones(2, 3, 4, 5), ones(6, 3, 3, 3)], [(2, 6, 4, 5)]),
    "conv3x3_norm_relu": ([ones(2, 3, 4, 5), ones(6, 3, 3, 3), ones(6), ones(6)], [(2, 6, 4, 5)]),
    "conv3x3_norm_residual": (
        [ones(2, 3, 4, 5), ones(6, 3, 3, 3), ones(6), ones(6), ones(2, 6, 4, 5)],
        [(2, 6, 4, 5)],
    ),
    "conv3x3_x_grad": ([ones(2, 3, 4, 5), ones(6, 3, 3, 3), ones(2, 6, 4, 5)], [(2, 3, 4, 5)]),
    "conv3x3_weight_grad": ([ones(6, 3, 3, 3), ones(2, 3, 4, 5), ones(2, 6, 4, 5)], [(6, 3, 3, 3)]),
    "biased_softmax": ([ones(2, 3, 4), ones(1, 3, 4), numbers(0, 0)], [(2, 3, 4)]),
    "biased_softmax_grad": ([ones(2, 3, 4), ones(1, 3, 4), numbers(0, 0), ones(2, 3, 4)], [(2, 3, 4), (1, 3, 4)]),
    "attention": ([draw(2, 3, 4), draw(2, 5, 4), draw(2, 5, 4), np.int32(2)], [(2, 3, 4)]),
    "attention_grad": (
        [draw(2, 3, 4), draw(2, 5, 4), draw(2, 5, 4), np.int32(2), draw(2, 3, 4)],
        [(2, 3, 4), (2, 5, 4), (2, 5, 4)],
    ),
    "masked_attention": (
        [draw(2, 3, 4), draw(2, 5, 4), draw(2, 5, 4), ones(2, 3, 5), np.int32(2)],
        [(2, 3, 4)],
    ),
    "masked_attention_grad": (
        [draw(2, 3, 4), draw(2, 5, 4), draw(2, 5, 4), ones(2, 3, 5), np.int32(2), draw(2, 3, 4)],
        [(2, 3, 4), (2, 5, 4), (2, 5, 4)],
    ),
    "self_attention": ([draw(2, 3, 12), np.int32(2)], [(2, 3, 4)]),
    "self_attention_grad": ([draw(2, 3, 12), np.int32(2), draw(2, 3, 4)], [(2, 3, 12)]),
    "relative_attention": ([ones(1, 7, 12), ones(18, 2), numbers(2, 3)], [(1, 7, 4)]),
    "relative_attention_grad": (
        [ones(1, 7, 12), ones(18, 2), numbers(2, 3), ones(1, 7, 4)],
        [(1, 7, 12), (18, 2)],
    ),
    "window_attention": ([ones(1, 3, 5, 12), ones(12), ones(8, 4, 4), numbers(2, 1, 2)], [(1, 3, 5, 4)]),
    "window_attention_grad": (
        [ones(1, 3, 5, 12), ones(12), ones(8, 4, 4), numbers(2, 1, 2), ones(1, 3, 5, 4)],
        [(1, 3, 5, 12), (12,), (8, 4, 4)],
    ),
    "cross_entropy": ([ones(2, 3, 4, 5), np.zeros((2, 1, 4, 5), np.int32)], [(2, 1, 4, 5)]),
    "cross_entropy_grad": (
        [ones(2, 3, 4, 5), np.zeros((2, 1, 4, 5), np.int32), ones(2, 1, 4, 5)],
        [(2, 3, 4, 5)],
    ),
    "sample_points": ([ones(3, 4, 5), numbers(0, 1), ones(1, 7, 2)], [(2, 7)]),
    "sample_points_grad": ([ones(3, 4, 5), numbers(0, 1), ones(1, 7, 2), ones(2, 7)], [(3, 4, 5)]),
    "assignment": ([ones(2, 3, 4), numbers(*[1] * 8).reshape(2, 4)], [(2, 2, 4)]),
    "uncertain_points": ([ones(3, 4, 5), numbers(0, 1), ones(2, 7, 2), ones(3)], [(2, 3, 2)]),
    "deformable_attention": (deformable(np.array([[3, 4]], np.float32)), [(1, 5, 6)]),
    "deformable_attention_grad": (
        [*deformable(np.array([[3, 4]], np.float32)), ones(1, 5, 6)],
        [(1, 12, 6), (1, 5, 2, 1, 4, 2), (1, 5, 2, 1, 4)],
    ),
}

SOUND |= {f"{name}_bfloat16": SOUND[name] for name in ("linear", "linear_relu", "linear_gelu", "linear_residual")}

FITS = {  # longer arrays that are sound as well: more maps, larger ones, more points, more candidates, more biases
    *(("sample_points", 0, shape) for shape in ((4, 4, 5), (3, 5, 5), (3, 4, 6))),
    *(("uncertain_points", 0, shape) for shape in ((4, 4, 5), (3, 5, 5), (3, 4, 6))),
    *((name, 2, (2, 7, 2)) for name in ("sample_points", "sample_points_grad")),
    ("uncertain_points", 2, (2, 8, 2)),
    ("assignment", 0, (2, 4, 4)),
    ("biased_softmax", 1, (2, 3, 4)),
    *(("conv1x1_bias_grad", 1, shape) for shape in ((3, 6, 4, 5), (2, 6, 5, 5), (2, 6, 4, 6))),
    *(("cross_entropy", 0, (2, *shape)) for shape in [(4, 4, 5), (3, 5, 5), (3, 4, 6)]),
    ("squared_norm", 0, (2, 4, 4, 5)),
    *(("sum_of_squares", 0, shape) for shape in ((4, 4), (3, 5), (3, 4, 2))),
    *((name, 0, shape) for name in ("resize", "resize_corners") for shape in ((2, 3, 5, 5), (2, 3, 4, 6))),
    *(("resized_sum_relu", level, shape) for level in (1, 2, 3) for shape in ((2, 3, 3, 3), (2, 2, 4, 3))),
    ("patches", 0, (2, 3, 4, 6)),
    ("token_patches", 0, (2, 4, 6, 3)),
    *(("linear_bias_grad", 1, shape) for shape in ((3, 3, 5), (2, 4, 5))),
}


@pytest.mark.parametrize("name", SOUND)
def test_arrays_of_other_types_and_of_another_number_are_refused(name: str):
    inputs, outputs = SOUND[name]
    outputs_of(name, inputs, outputs)
    for position, array in enumerate(inputs):
        other = np.float16 if array.dtype == np.float32 else np.int64
        changed = [*inputs[:position], array.astype(other), *inputs[position + 1 :]]
        assert refuses(WRONG_TYPE, name, changed, outputs), position
    assert refuses(WRONG_TYPE, name, inputs, outputs[:-1])
    assert refuses(WRONG_TYPE, name, inputs, [*outputs, (1,)])


@pytest.mark.parametrize("name", SOUND)
def test_arrays_whose_shapes_do_not_fit_are_refused(name: str):
    """Each array in turn is one longer along each of its axes, or has an axis more."""
    inputs, outputs = SOUND[name]
    for position, array in enumerate(inputs):
        shapes = [(*array.shape[:axis], size + 1, *array.shape[axis + 1 :]) for axis, size in enumerate(array.shape)]
        for shape in (*shapes, (*array.shape, 2)):
            changed = [*inputs[:position], np.zeros(shape, array.dtype), *inputs[position + 1 :]]
            status, _ = call(name, changed, outputs)
            assert status in (WRONG_SHAPE, WRONG_INDEX) or (name, position, shape) in FITS, (position, shape)
    for position, shape in enumerate(outputs):
        for other in ((*shape[:-1], shape[-1] + 1), (*shape, 1)):
            assert refuses(WRONG_SHAPE, name, inputs, [*outputs[:position], other, *outputs[position + 1 :]]), position


def test_more_points_than_candidates_and_empty_maps_are_refused():
    maps, rows, candidates = draw(3, 4, 5), numbers(0, 1), ones(2, 7, 2)
    assert refuses(WRONG_SHAPE, "uncertain_points", [maps, rows, candidates, ones(8)], [(2, 8, 2)])
    for empty in (ones(3, 0, 5), ones(3, 4, 0)):
        assert refuses(WRONG_SHAPE, "sample_points", [empty, rows, candidates], [(2, 7)])
    assert refuses(WRONG_SHAPE, "sample_points", [maps, numbers(0, 1, 2), candidates], [(3, 7)])
    assert refuses(WRONG_SHAPE, "sample_points", [maps, rows, ones(0, 7, 2)], [(2, 7)])
    for shape in ((1, 2, 0, 3), (1, 2, 3, 0)):
        assert refuses(WRONG_SHAPE, "depthwise_conv", [ones(*shape), ones(2, 1, 3, 3)], [shape])
    for qkv, table in ((ones(1, 7, 0), ones(18, 2)), (ones(1, 7, 12), ones(18, 0)), (ones(1, 7, 10), ones(18, 2))):
        out = (1, 7, qkv.shape[2] // 3)
        assert refuses(WRONG_SHAPE, "relative_attention", [qkv, table, numbers(2, 3)], [out])
    for qkv in ((1, 7, 0), (1, 0, 12), (1, 7, 13)):
        assert refuses(WRONG_SHAPE, "self_attention", [ones(*qkv), np.int32(2)], [(*qkv[:2], qkv[2] // 3)])
    for heads in (0, -1, 3):
        assert refuses(WRONG_INDEX, "self_attention", [ones(1, 7, 12), np.int32(heads)], [(1, 7, 4)])
    for shape in ((1, 2, 0, 3), (1, 0, 2, 3), (1, 2, 2, 0)):
        inputs = [ones(*shape), ones(shape[3], 1, 3, 3), ones(shape[3])]
        assert refuses(WRONG_SHAPE, "depthwise_conv_gelu", inputs, [shape])
    for coarse in ((2, 0, 3, 3), (2, 2, 0, 3)):
        inputs = [ones(2, 4, 5, 3), *[ones(*coarse)] * 3, ones(3), ones(3)]
        assert refuses(WRONG_SHAPE, "resized_sum_relu", inputs, [(2, 4, 5, 3)])
    for x, like in (((2, 3, 0, 5), (7, 6)), ((2, 3, 4, 0), (7, 6)), ((2, 3, 4, 5), (0, 6)), ((2, 3, 4, 5), (7, 0))):
        assert refuses(WRONG_SHAPE, "resize", [ones(*x), ones(*like)], [(2, 3, *like)])
    for geometry in ((0, 2, 2), (3, 0, 2), (3, 2, 0), (7, 2, 2)):
        assert refuses(WRONG_SHAPE, "patches", [ones(2, 3, 4, 5), ones(*geometry)], [(2, 2, 3, 27)])
    assert refuses(WRONG_SHAPE, "layer_scale", [ones(3, 0), ones(3, 0), ones(0)], [(3, 0)])
    assert refuses(WRONG_SHAPE, "layer_norm", [ones(3, 0), ones(0), ones(0), ones()], [(3, 0)])


# --------------------------------------------------------------------------------------------- as MindSpore calls it


REFUSED = """
import mindspore as ms, numpy as np
from mindspore import Tensor
from ms_seg.cells import native
from ms_seg.cells.attention import BiasedSoftmax
from ms_seg.cells.points import SamplePoints

rows = [Tensor(np.array([0, last], np.int32)) for last in (1, 2)]
maps, points = Tensor(np.ones((2, 4, 4), np.float32)), Tensor(np.full((2, 5, 2), 0.5, np.float32))
softmax = BiasedSoftmax()

def weighted(scores, index):
    return (softmax(scores, maps, index) * scores).sum()

calls = {
    "pynative": lambda index: SamplePoints()(maps, index, points),
    "graph": lambda index: ms.jit(SamplePoints())(maps, index, points),
    "gradient": lambda index: ms.jit(ms.grad(weighted))(maps, index),
}
with native.clear_errors():
    assert np.isfinite(calls["WAY"](rows[0]).asnumpy()).all()
    print("sound", flush=True)
    calls["WAY"](rows[1]).asnumpy()
"""


@pytest.mark.parametrize(
    ("way", "name"), [("pynative", "sample_points"), ("graph", "sample_points"), ("gradient", "biased_softmax")]
)
def test_a_refusal_is_an_error_in_a_sentence(way: str, name: str, tmp_path: Path):
    """In a process of its own: MindSpore raises a graph's error again at what follows."""
    program = tmp_path / "program.py"
    program.write_text(REFUSED.replace("WAY", way))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, str(program)], env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1 and ended.stdout == "sound\n"
    sentence = f"ValueError: the operator {name} refused its inputs: every index must lie within the tensor that it"
    assert any(line.startswith(sentence) for line in ended.stderr.splitlines()), ended.stderr


def test_other_errors_pass_unchanged():
    with pytest.raises(RuntimeError, match="^something else$"):
        with native.clear_errors():
            raise RuntimeError("something else")


def test_every_status_of_the_header_has_a_sentence():
    header = (Path(native.__file__).parent / "operator.h").read_text()
    codes = {int(code) for code in re.findall(r"^    [A-Z_]+ = (\d+),", header, re.MULTILINE)}
    assert codes == {0, *native._STATUS} and len(codes) > 4


def test_views_arrive_without_gaps():
    x = Tensor(draw(6, 8))
    views = (mint.transpose(x, 0, 1), x[:, ::2], mint.narrow(x, 1, 2, 3), mint.chunk(x, 2, 1)[1])
    assert not all(view.is_contiguous() for view in views)
    for view in views:
        np.testing.assert_array_equal(GELU()(view).asnumpy(), GELU()(Tensor(view.asnumpy().copy())).asnumpy())

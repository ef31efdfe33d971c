"""How cells come by the operators in C: compiled once, done without where there is no compiler or none are wanted."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

import ms_seg
from ms_seg.cells import native
from ms_seg.cells.activation import GELU, QuickGELU
from ms_seg.cells.attention import Attention, BiasedSoftmax, SelfAttention
from ms_seg.cells.conv import Conv2d, ConvNormReLU, DepthwiseConv2d
from ms_seg.cells.deformable_attention import DeformableAttention
from ms_seg.cells.drop import Drop
from ms_seg.cells.mlp import Dense, MixFFN
from ms_seg.cells.norm import GroupNorm, LayerNorm, LayerScale, SquaredNorm
from ms_seg.cells.points import SamplePoints, UncertainPoints
from ms_seg.cells.relative_attention import RelativeAttention
from ms_seg.cells.resize import Resize
from ms_seg.cells.sums import ScaledSum, SumOfSquares
from ms_seg.cells.tokens import ConvToTokens, SwapAxes, TokenConv
from ms_seg.cells.window_attention import ShiftedWindowAttention
from ms_seg.decoders.all_mlp import AllMLPDecoder
from ms_seg.decoders.dpt import ResidualUnit

CELLS = {
    "gelu": GELU,
    "layer_norm": lambda: LayerNorm(6, 1e-5),
    "group_norm": lambda: GroupNorm(2, 6),
    "linear": lambda: Dense(6, 6),
    "linear_relu": lambda: Dense(6, 6, activation=nn.ReLU()),
    "linear_gelu": lambda: Dense(6, 6, activation=GELU()),
    "linear_quick_gelu": lambda: Dense(6, 6, activation=QuickGELU()),
    "linear_residual": lambda: Dense(6, 6),
    "linear_of_map": lambda: AllMLPDecoder((4, 4, 4, 4), 6, 3, False, "fine_to_coarse", 0.0),
    "linear_to_map": lambda: AllMLPDecoder((4, 4, 4, 4), 6, 3, False, "fine_to_coarse", 0.0),
    "resized_sum_relu": lambda: AllMLPDecoder((4, 4, 4, 4), 6, 3, False, "fine_to_coarse", 0.0),
    "resize": Resize,
    "resize_corners": lambda: Resize(align_corners=True),
    "depthwise_conv_gelu": lambda: MixFFN(4, 8),
    "patches": lambda: ConvToTokens(3, 4, 3, 2, 1),
    "token_patches": lambda: TokenConv(4, 4, 2, 2),
    "swap_axes": SwapAxes,
    "squared_norm": SquaredNorm,
    "sum_of_squares": SumOfSquares,
    "scaled_sum": ScaledSum,
    "scale_rows": lambda: Drop(0.5, 1),
    "layer_scale": lambda: LayerScale(6, 1e-6),
    "depthwise_conv": lambda: DepthwiseConv2d(6),
    "conv1x1": lambda: Conv2d(6, 5, 1),
    "conv3x3": lambda: Conv2d(32, 32, 3, padding=1),
    "conv3x3_norm_relu": lambda: ConvNormReLU(32, 32, 3),
    "conv3x3_norm_residual": lambda: ResidualUnit(32),
    "attention": lambda: Attention(2),
    "masked_attention": lambda: Attention(2),
    "self_attention": lambda: SelfAttention(4, 2),
    "biased_softmax": BiasedSoftmax,
    "deformable_attention": lambda: DeformableAttention(4, 2, 1, 1),
    "relative_attention": lambda: RelativeAttention(2, (2, 3)),
    "window_attention": lambda: ShiftedWindowAttention(2, 4, 2),
    "sample_points": SamplePoints,
    "uncertain_points": lambda: UncertainPoints(3),
}


def custom_operators(model: nn.Cell) -> list[str]:
    """The names in C of all custom operators that a cell, or a cell within, is made of."""
    parts = [part for _, cell in model.cells_and_names() for part in vars(cell)["_primitives"].values()]
    return [part.func.rsplit(":", 1)[1] for part in parts if isinstance(part, ops.Custom)]


def outputs_of(model: nn.Cell, *inputs: np.ndarray) -> Iterator[np.ndarray]:
    outputs = model.set_train(False)(*map(Tensor, inputs))
    for output in outputs if isinstance(outputs, tuple) else (outputs,):
        yield output.asnumpy()


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_built_while_they_are_disabled_has_none(name: str):
    assert name in custom_operators(CELLS[name]())
    with native.disabled():
        assert not native.available()
        assert not custom_operators(CELLS[name]())
    assert name in custom_operators(CELLS[name]())


@pytest.mark.parametrize("name", ["segformer_tiny_shapes", "lseg_tiny_shapes", "mask2former_tiny_shapes"])
def test_a_model_of_mindspores_operators_alone_gives_the_same(name: str):
    ms.set_seed(0)
    model = ms_seg.create_model(name)
    with native.disabled():
        plain = ms_seg.create_model(name)
    ms.load_param_into_net(plain, model.parameters_dict())
    assert custom_operators(model) and not custom_operators(plain)
    generator = np.random.default_rng(0)
    inputs = [generator.standard_normal((1, 3, 64, 96)).astype(np.float32)]
    if name == "lseg_tiny_shapes":
        inputs.append(generator.integers(1, 200, (3, 77)).astype(np.int32))
    for ours, others in zip(outputs_of(model, *inputs), outputs_of(plain, *inputs), strict=True):
        assert np.linalg.norm(ours - others) < 1e-5 * np.linalg.norm(others)


def test_disabling_nests_and_ends_with_an_error():
    with native.disabled():
        with native.disabled():
            assert not native.available()
        assert not native.available()
    assert native.available()
    with pytest.raises(KeyError), native.disabled():
        raise KeyError
    assert native.available()


def test_disabling_is_for_the_thread_that_does_it():
    with ThreadPoolExecutor(1) as other, native.disabled():
        assert other.submit(native.available).result()
        assert not native.available()


def test_a_compiler_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    compiler = tmp_path / "broken"
    compiler.write_text("#!/bin/sh\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with caplog.at_level(logging.INFO, "ms_seg"):
        assert native._library.__wrapped__() is None
    assert "could not be compiled" in caplog.text
    assert not list((tmp_path / "cache" / "ms_seg").iterdir())


def test_without_a_compiler_the_cells_do_without(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(native, "_library", lambda: None)
    assert not native.available()
    assert not any(custom_operators(make()) for make in CELLS.values())


def test_the_operators_are_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library = native._library.__wrapped__()
    written = library.stat().st_mtime_ns
    assert native._library.__wrapped__() == library
    assert library.stat().st_mtime_ns == written
    assert [path.name for path in library.parent.iterdir()] == [library.name]

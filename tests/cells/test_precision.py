"""Products in low precision: of rounded operands, rounded, to float32; gradients too; and only where asked for."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

import ms_seg
from ms_seg.cells import native, precision
from ms_seg.cells.activation import GELU
from ms_seg.cells.mlp import Dense
from ms_seg.cells.precision import compute_dtype, in_precision, inference_dtype
from ms_seg.inference import execution
from ms_seg.inference.execution import Runner
from ms_seg.training.losses.cross_entropy import SemanticLoss

UNITS = {ms.bfloat16: 2.0**-8, ms.float16: 2.0**-11}  # half a unit in the last place of 1.0
SMALL = {"embed_dims": (8, 16, 40, 64), "depths": (1, 1, 1, 1), "head_width": 8, "num_classes": 5}
STILL = {"drop_path_rate": 0.0, "dropout_rate": 0.0}


class Squares(nn.Cell):
    """Half the sum of the squares of x w: the gradient of x w is x w itself."""

    def construct(self, x: Tensor, w: Tensor) -> Tensor:
        y = in_precision(ops.MatMul(), x, w)
        return ops.reduce_sum(y * y) * 0.5


class Compiled(nn.Cell):
    """A cell's value, and its gradients by its inputs or its parameters; each of these compiles a graph of its own."""

    def __init__(self, cell: nn.Cell, positions: tuple[int, ...] | None, parameters: ms.ParameterTuple | None = None):
        super().__init__(auto_prefix=False)
        self.compute = ms.value_and_grad(cell, positions, parameters)

    def construct(self, *inputs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        return self.compute(*inputs)


def rounded(array: np.ndarray, kind: ms.Type) -> np.ndarray:
    return Tensor(array).astype(kind).astype(ms.float32).asnumpy()


def error(ours: np.ndarray, truth: np.ndarray) -> float:
    return float(np.linalg.norm(ours - truth) / np.linalg.norm(truth))


@pytest.mark.parametrize("kind", UNITS, ids=str)
def test_a_product_and_its_gradients_are_those_of_rounded_numbers(kind: ms.Type):
    generator = np.random.default_rng(0)
    x, w = (generator.standard_normal(shape).astype(np.float32) for shape in ((64, 48), (48, 32)))
    with compute_dtype(kind):
        value, gradients = ms.jit(Compiled(Squares(), (0, 1)).construct)(Tensor(x), Tensor(w))
    low_x, low_w = rounded(x, kind), rounded(w, kind)
    y = rounded(low_x @ low_w, kind)
    truth = rounded(y @ low_w.T, kind), rounded(low_x.T @ y, kind)
    assert float(value) == pytest.approx(0.5 * np.square(y, dtype=np.float64).sum(), rel=UNITS[kind] / 10)
    for ours, theirs in zip(gradients, truth, strict=True):
        assert ours.dtype == ms.float32
        # The sums' own rounding moves a few results to their neighbour, one unit away.
        assert error(ours.asnumpy(), theirs) < UNITS[kind] / 4


def test_graphs_compiled_afterwards_are_float32():
    x = Tensor(np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32))
    values = [ms.jit(Compiled(Squares(), (0, 1)).construct)(x, x)[0]]
    with compute_dtype(ms.bfloat16):
        low = ms.jit(Compiled(Squares(), (0, 1)).construct)
        values.append(low(x, x)[0])
    values.append(ms.jit(Compiled(Squares(), (0, 1)).construct)(x, x)[0])
    first, within, after = map(float, values)
    assert first == after != within
    assert float(low(x, x)[0]) == within


@pytest.fixture(scope="module")
def network() -> nn.Cell:
    """A small SegFormer whose weights are drawn away from their initial values."""
    ms.set_seed(0)
    network = ms_seg.create_model("segformer_b0_ade20k_mmseg", **SMALL, **STILL)
    generator = np.random.default_rng(0)
    for parameter in network.trainable_params():
        noise = generator.standard_normal(parameter.shape).astype(np.float32)
        parameter.set_data(Tensor(parameter.asnumpy() + 0.1 * noise))
    return network


def loss_and_gradients(network: nn.Cell, kind: ms.Type) -> tuple[float, np.ndarray]:
    generator = np.random.default_rng(1)
    images = Tensor(generator.standard_normal((2, 3, 32, 32)).astype(np.float32))
    labels = Tensor(generator.integers(0, 5, (2, 32, 32)).astype(np.int32))
    cell = SemanticLoss(network).set_train(True)
    scale = 2.0**10 if kind == ms.float16 else 1.0  # or most gradients would be 0
    with compute_dtype(kind):
        compute = ms.jit(Compiled(_Times(cell, scale), None, ms.ParameterTuple(network.trainable_params())).construct)
        loss, gradients = compute(images, labels)
    assert {gradient.dtype for gradient in gradients} == {ms.float32}
    return float(loss) / scale, np.concatenate([gradient.asnumpy().ravel() for gradient in gradients]) / scale


class _Times(nn.Cell):
    def __init__(self, loss: nn.Cell, scale: float):
        super().__init__(auto_prefix=False)
        self.loss, self.scale = loss, scale

    def construct(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.loss(images, labels) * self.scale


@pytest.fixture(scope="module")
def exact(network: nn.Cell) -> tuple[float, np.ndarray]:
    return loss_and_gradients(network, ms.float32)


@pytest.mark.parametrize("kind", UNITS, ids=str)
def test_segformers_loss_and_gradients_are_near_those_of_float32(network, exact, kind: ms.Type):
    """A weight's gradient goes through some sixty products, each rounded three times, and the parts of it that pictures
    and pixels contribute cancel out for the most part. torch.autocast, which rounds more, is 33 units of bfloat16 and
    75 of float16 off on such a network.
    """
    loss, gradients = loss_and_gradients(network, kind)
    assert loss == pytest.approx(exact[0], rel=UNITS[kind])
    assert UNITS[kind] < error(gradients, exact[1]) < 64 * UNITS[kind]


def test_the_formulation_of_other_devices_compiles_for_a_whole_model(network, exact, monkeypatch):
    """float16 runs on the CPU as on any device; bfloat16 gets as far as to ask for a kernel that the CPU has not."""
    monkeypatch.setattr(precision, "on_cpu", lambda: False)
    with pytest.raises((TypeError, RuntimeError), match="Unsupported data type"):
        loss_and_gradients(network, ms.bfloat16)


# ------------------------------------------------------------------------------------------------------- in inference


@pytest.mark.parametrize("rows", [3, 2100])
@pytest.mark.parametrize("activation", [None, nn.ReLU, GELU], ids=str)
def test_a_linear_layer_in_inference_is_of_rounded_numbers(activation: type[nn.Cell] | None, rows: int):
    dense = Dense(70, 530, activation=activation() if activation else None).set_train(False)
    x, weight, bias, residual = (
        np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        for shape in ((rows, 70), (530, 70), (530,), (rows, 530))
    )
    dense.weight.set_data(Tensor(weight))
    dense.bias.set_data(Tensor(bias))
    low_x, low_weight = (rounded(array, ms.bfloat16).astype(np.float64) for array in (x, weight))
    truth = low_x @ low_weight.T + bias
    truth = truth if activation is None else activation()(Tensor(truth.astype(np.float32))).asnumpy()
    with inference_dtype(ms.bfloat16):
        assert error(dense(Tensor(x)).asnumpy(), truth) < 1e-6
        assert error(dense(Tensor(x), Tensor(residual)).asnumpy(), truth + residual) < 1e-6
        dense.set_train(True)
        trained = dense(Tensor(x)).asnumpy()
    assert error(trained, truth) > 1e-4, "training is in float32"
    np.testing.assert_array_equal(dense.set_train(False)(Tensor(x)).asnumpy(), dense(Tensor(x)).asnumpy())
    assert error(dense(Tensor(x)).asnumpy(), truth) > 1e-4, "float32 is back"


def test_rounding_keeps_nan_and_infinity():
    dense = Dense(4, 3).set_train(False)
    dense.weight.set_data(Tensor(np.ones((3, 4), np.float32)))
    x = np.ones((4, 4), np.float32)
    x[0, 1], x[1, 2] = np.array([0x7F800001, 0x7F7FFFFF], np.uint32).view(
        np.float32
    )  # a NaN of the last bit, the largest
    x[2, 3] = -np.inf
    with inference_dtype(ms.bfloat16):
        out = dense(Tensor(x)).asnumpy()
    assert np.isnan(out[0]).all() and (out[1] == np.inf).all() and (out[2] == -np.inf).all() and (out[3] == 4).all()


@pytest.mark.parametrize("mode", ["graph", "pynative"])
def test_a_network_runs_in_bfloat16_where_it_is_asked_for(mode: str):
    model = ms_seg.create_model("segformer_b0_ade20k", **SMALL)
    images = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    low, high, again = (Runner(model, mode, kind)(images)[0].asnumpy() for kind in ("bfloat16", "float32", "bfloat16"))
    assert 1e-4 < error(low, high) < 0.03
    np.testing.assert_array_equal(low, again)


@pytest.mark.parametrize("faster", [True, False])
def test_a_processor_on_which_bfloat16_gains_nothing_is_told_of_once(
    faster: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(native, "faster_in_bfloat16", lambda: faster)
    execution._say_no_faster.cache_clear()
    model = ms_seg.create_model("segformer_b0_ade20k", **SMALL)
    Runner(model, precision="float32")
    assert not caplog.records
    for _ in range(2):
        Runner(model, precision="bfloat16")
    said = [record.getMessage() for record in caplog.records if record.name.startswith("ms_seg")]
    assert len(said) == (0 if faster else 1)
    assert all("is no faster than float32 on this processor" in message for message in said)


def test_bfloat16_is_refused_where_there_is_no_compiler():
    with native.disabled():
        model = ms_seg.create_model("segformer_b0_ade20k", **SMALL)
        with pytest.raises(ValueError, match="^precision bfloat16 needs a C compiler on the CPU"):
            ms_seg.Segmenter(model, precision="bfloat16")
    with pytest.raises(ValueError, match="^precision must be one of float32, bfloat16: 'float16' is not"):
        ms_seg.Segmenter(model, precision="float16")

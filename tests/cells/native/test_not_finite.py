"""NaN and infinity have their place, as operator.h promises: they go the way of the formula and no further."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cells.native.calls import NOWHERE, deformable, draw, numbers, ones, outputs_of


def test_samples_at_no_number_and_far_away_are_zeros():
    points = np.full((1, 2 * len(NOWHERE) + 1, 2), 0.5, np.float32)
    points[0, : len(NOWHERE), 0] = points[0, len(NOWHERE) : -1, 1] = NOWHERE
    (samples,) = outputs_of("sample_points", [ones(1, 4, 4), numbers(0), points], [(1, points.shape[1])])
    assert samples[0].tolist() == [0] * (2 * len(NOWHERE)) + [1]
    (gradient,) = outputs_of(
        "sample_points_grad", [ones(1, 4, 4), numbers(0), points, np.ones_like(samples)], [(1, 4, 4)]
    )
    assert gradient.sum() == pytest.approx(1) and np.isfinite(gradient).all()


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("far", NOWHERE)
def test_deformable_samples_at_no_number_and_far_away_are_zeros_without_gradients(far: float, axis: int):
    offsets = np.zeros((1, 5, 2, 1, 4, 2), np.float32)
    offsets[..., :3, axis] = far
    inputs = deformable(np.array([[3, 4]], np.float32), offsets=offsets)
    (out,) = outputs_of("deformable_attention", inputs, [(1, 5, 6)])
    middle = inputs[0].reshape(3, 4, 6)[1, 1:3].mean(0)  # three rows and four columns
    np.testing.assert_allclose(out, np.broadcast_to(middle / 4, (1, 5, 6)), rtol=1e-5)
    shapes = [array.shape for array in inputs[:3]]
    of_value, of_offsets, of_weights = outputs_of("deformable_attention_grad", [*inputs, ones(1, 5, 6)], shapes)
    assert np.isfinite(of_value).all() and not of_offsets[..., :3, :].any() and not of_weights[..., :3].any()
    assert of_value.sum() == pytest.approx(5 * 6 / 4)
    assert of_weights[..., 3].any()


def test_where_a_mask_is_nan_it_is_certain():
    """A map of four pairs of columns, a candidate between each pair: NaN is chosen when nothing else is left."""
    values = np.array([3, -0.5, np.nan, -np.inf], np.float32)
    maps = np.repeat(values, 2)[None, None]
    candidates = np.stack((np.arange(4, dtype=np.float32) / 4 + 0.125, np.full(4, 0.5, np.float32)), -1)[None]
    (samples,) = outputs_of("sample_points", [maps, numbers(0), candidates], [(1, 4)])
    np.testing.assert_array_equal(samples[0], values)
    for expected in ([1], [0, 1], [0, 1, 3], [0, 1, 2, 3]):
        inputs = [maps, numbers(0), candidates, ones(len(expected))]
        (selected,) = outputs_of("uncertain_points", inputs, [(1, len(expected), 2)])
        np.testing.assert_array_equal(selected[0], candidates[0, expected])


def test_the_softmax_of_rows_with_nan_and_infinity_is_the_formulas():
    scores = np.zeros((1, 5, 40), np.float32)
    scores[0, 0, 7], scores[0, 1, 39], scores[0, 2], scores[0, 3, 3] = np.nan, np.inf, -np.inf, -np.inf
    for keys in (40, 5):
        rows = scores[:, :, 40 - keys :] if keys == 40 else scores[:, :, 3:8]
        (out,) = outputs_of("biased_softmax", [rows, np.zeros((1, 5, keys), np.float32), numbers(0)], [(1, 5, keys)])
        assert np.isnan(out[0, 0]).all() and np.isnan(out[0, 2]).all()
        expected = np.full(keys, np.float32(1 / (keys - 1)))
        expected[0 if keys == 5 else 3] = 0
        np.testing.assert_allclose(out[0, 3], expected, rtol=1e-6)
        np.testing.assert_allclose(out[0, 4], np.full(keys, 1 / keys), rtol=1e-6)
        if keys == 40:
            assert np.isnan(out[0, 1, 39])


def test_gelu_and_its_gradient_of_nan_and_infinity():
    x = np.array([*NOWHERE[:5], 2.0**31, -(2.0**63), 0, -0.0, 1e-40], np.float32)
    (out,) = outputs_of("gelu", [x], [x.shape])
    (gradient,) = outputs_of("gelu_grad", [x, np.ones_like(x)], [x.shape])
    assert np.isnan(out[0]) and np.isnan(gradient[0])
    np.testing.assert_array_equal(out[[1, 3, 5]], x[[1, 3, 5]])
    np.testing.assert_allclose(gradient[[3, 5]], 1)
    np.testing.assert_array_equal(out[[4, 6]], 0)
    np.testing.assert_allclose(gradient[[4, 6]], 0, atol=1e-7)


def test_a_layer_norm_of_nan_and_infinity_is_nan_in_their_rows_alone():
    x = draw(4, 20)
    x[0, 3], x[1, 5], x[2, 7] = np.nan, np.inf, -np.inf
    (out,) = outputs_of("layer_norm", [x, ones(20), ones(20), ones()], [(4, 20)])
    assert np.isnan(out[0]).all() and np.isnan(out[1, 5]) and np.isnan(out[2, 7]) and np.isfinite(out[3]).all()


@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1), (2, 5, 3, 1), (1, 64, 16, 1), (2, 130, 33, 1), (1, 3, 70, 1), (2, 9, 7, 5)]
)
def test_swapped_axes_are_numpys(shape: tuple[int, ...]):
    x = draw(*shape)
    (out,) = outputs_of("swap_axes", [x], [(shape[0], shape[2], shape[1], shape[3])])
    np.testing.assert_array_equal(out, x.transpose(0, 2, 1, 3))


def test_a_layer_scale_of_nan_and_infinity_is_the_formulas():
    x, branch, gamma = ones(3, 20), draw(3, 20), ones(20)
    x[0, 3], branch[1, 5], gamma[7] = np.nan, np.inf, 0
    branch[2, 7] = np.inf
    (out,) = outputs_of("layer_scale", [x, branch, gamma], [(3, 20)])
    expected = np.zeros((3, 20), bool)
    expected[0, 3] = expected[2, 7] = True
    np.testing.assert_array_equal(np.isnan(out), expected)
    assert out[1, 5] == np.inf and np.isfinite(np.delete(out, (3, 5, 7), 1)).all()


def test_a_depthwise_convolution_spreads_nan_to_its_neighbours_alone():
    x = ones(1, 2, 5, 5)
    x[0, 0, 2, 2] = np.nan
    (out,) = outputs_of("depthwise_conv", [x, ones(2, 1, 3, 3)], [x.shape])
    around = np.zeros((5, 5), bool)
    around[1:4, 1:4] = True
    assert (np.isnan(out[0, 0]) == around).all() and np.isfinite(out[0, 1]).all()


def test_a_depthwise_convolution_of_tokens_spreads_nan_and_infinity_to_their_neighbours_alone():
    x, weight = ones(1, 5, 5, 18), ones(18, 1, 3, 3)
    x[0, 0, 2, 1], x[0, 4, 4, 17] = np.nan, np.inf
    (out,) = outputs_of("depthwise_conv_gelu", [x, weight, ones(18)], [x.shape])
    finite, expected = np.isfinite(out), np.ones(x.shape, bool)
    expected[0, :2, 1:4, 1] = expected[0, 3:, 3:, 17] = False
    np.testing.assert_array_equal(finite, expected)
    assert np.isnan(out[0, :2, 1:4, 1]).all() and (out[0, 3:, 3:, 17] == np.inf).all()


def test_pairs_of_costs_that_are_no_numbers_are_the_last_choice():
    """Targets are assigned where costs are numbers, and somewhere where none is."""
    costs = np.full((2, 3, 2), np.nan, np.float32)
    costs[0] = [[np.inf, 5], [1, np.nan], [-np.inf, 3]]
    (pairs,) = outputs_of("assignment", [costs, np.array([[0, 0], [0, 0]], np.int32)], [(2, 2, 2)])
    assert pairs[:, 0].tolist() == [[0, 2], [1, 0]]
    assert sorted(pairs[1, 1]) == [0, 1] and len(set(pairs[0, 1])) == 2

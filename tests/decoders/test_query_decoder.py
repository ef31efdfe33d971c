"""A query looks where its mask is, and one whose mask is empty looks everywhere."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ms_seg.decoders.query_decoder import QueryDecoder, attention_mask

SIZES = ((1, 2), (3, 4), (5, 8))
WIDTH = 32
IDENTITY = Tensor(np.eye(WIDTH, dtype=np.float32)[:, :, None, None]), Tensor(np.zeros(WIDTH, np.float32))


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def decoder(layers: int) -> QueryDecoder:
    return QueryDecoder(num_classes=5, queries=3, width=WIDTH, heads=2, layers=layers, hidden=16).set_train(False)


def test_pixels_below_a_half_are_hidden_unless_all_are():
    logits = np.array([[[0.5, -0.1], [0.0, -3.0]], [[-1.0, -2.0], [-0.1, -5.0]], [[1.0, 2.0], [0.0, 3.0]]], np.float32)
    mask = attention_mask(Tensor(logits[None])).asnumpy()
    assert mask.shape == (1, 3, 4)
    hidden = [[False, True, False, True], [False] * 4, [False] * 4]
    assert (mask[0] == -np.inf).tolist() == hidden
    assert (mask[0][~np.array(hidden)] == 0).all()


def test_a_query_hears_nothing_from_pixels_outside_its_mask():
    """All masks are positive in the left half of the finest map, of which each level sees its part."""
    cell, sizes = decoder(layers=1), ((1, 4), (2, 8), (4, 16))
    third = cell.mask_embed[2]
    third.weight.set_data(ms.ops.zeros_like(third.weight))
    third.bias.set_data(Tensor(np.eye(1, WIDTH, dtype=np.float32)[0]))
    features = np.zeros((1, WIDTH, 8, 32), np.float32)
    features[:, 0, :, :16], features[:, 0, :, 16:] = 1, -1
    memories = [draw(1, height * width, WIDTH, seed=level) for level, (height, width) in enumerate(sizes)]
    changed = [memory.copy() for memory in memories]

    def classes(inputs: list[np.ndarray]) -> np.ndarray:
        return cell(Tensor(features), IDENTITY, tuple(map(Tensor, inputs)), sizes)[0].asnumpy()

    changed[0][:, 2:] = 100  # the right half of the level that the only layer looks at
    np.testing.assert_array_equal(classes(changed), classes(memories))
    changed[0][:, :2] = 100
    assert np.abs(classes(changed) - classes(memories)).max() > 1e-3


def test_predictions_are_made_before_the_first_and_after_every_layer():
    cell, features = decoder(layers=4), Tensor(draw(2, WIDTH, 10, 16))
    memories = tuple(Tensor(draw(2, height * width, WIDTH, seed=height)) for height, width in SIZES)
    every = cell(features, IDENTITY, memories, SIZES, return_all_layers=True)
    answer = cell(features, IDENTITY, memories, SIZES)
    assert [(classes.shape, masks.shape) for classes, masks in every] == [((2, 3, 6), (2, 3, 10, 16))] * 5
    for ours, last in zip(answer, every[-1], strict=True):
        np.testing.assert_array_equal(ours.asnumpy(), last.asnumpy())
    before = cell.class_embed(cell.norm(cell.query_feat)).asnumpy()
    np.testing.assert_allclose(every[0][0].asnumpy(), np.stack([before, before]), atol=1e-6)


def test_masks_are_those_of_the_features_that_a_convolution_makes_of_the_finest_map():
    cell, finest = decoder(layers=4), draw(2, WIDTH, 10, 16)
    weight, bias = draw(WIDTH, WIDTH, seed=1) / 6, draw(WIDTH, seed=2)
    features = np.einsum("oc,nchw->nohw", weight, finest) + bias[:, None, None]
    memories = tuple(Tensor(draw(2, height * width, WIDTH, seed=height)) for height, width in SIZES)
    conv = Tensor(weight[:, :, None, None]), Tensor(bias)
    answer = cell(Tensor(finest), conv, memories, SIZES, return_all_layers=True)
    expected = cell(Tensor(features), IDENTITY, memories, SIZES, return_all_layers=True)
    for ours, theirs in zip(answer, expected, strict=True):
        for values, wanted in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(values.asnumpy(), wanted.asnumpy(), rtol=1e-4, atol=1e-5)

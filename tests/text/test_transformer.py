"""CLIP's text transformer: what a feature depends on, in both modes, and how the network starts."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from ms_seg.cells.precision import compute_dtype
from ms_seg.inference.execution import Runner
from ms_seg.text.transformer import TextTransformer

START, END = 98, 99


@pytest.fixture(scope="module")
def text() -> TextTransformer:
    ms.set_seed(0)
    return TextTransformer(width=32, heads=4, layers=2, embed_dim=24, vocabulary=100, context_length=20)


def rows(*texts: list[int], length: int = 20) -> np.ndarray:
    tokens = np.zeros((len(texts), length), np.int32)
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text) + 2] = [START, *text, END]
    return tokens


def features(text: TextTransformer, tokens: np.ndarray) -> np.ndarray:
    return Runner(text, "pynative")(Tensor(tokens))[0].asnumpy()


def test_every_text_gets_a_feature_of_its_own(text: TextTransformer):
    given = features(text, rows([1, 2, 3], [], [1, 2, 4], list(range(18))))
    assert given.shape == (4, 24) and given.dtype == np.float32 and np.isfinite(given).all()
    distances = np.linalg.norm(given[:, None] - given, axis=-1) + 10 * np.eye(4)
    assert distances.min() > 1e-2


def test_the_order_of_words_matters(text: TextTransformer):
    one, other = features(text, rows([1, 2, 3], [2, 1, 3]))
    assert np.abs(one - other).max() > 1e-3


def test_nothing_after_the_first_end_mark_is_seen(text: TextTransformer):
    tokens = rows([1, 2, 3], [1, 2, 3], [1, 2, 3])
    tokens[1, 5:] = 7
    tokens[2, 9] = END
    given = features(text, tokens)
    np.testing.assert_array_equal(given[1], given[0])
    np.testing.assert_array_equal(given[2], given[0])


def test_columns_of_padding_can_be_cut_off(text: TextTransformer):
    texts = [1, 2, 3], [4], [5, 6, 7, 8, 9]
    short, long = features(text, rows(*texts, length=7)), features(text, rows(*texts))
    assert np.linalg.norm(short - long) < 1e-6 * np.linalg.norm(long)


def test_one_text_alone_gets_the_same_feature(text: TextTransformer):
    texts = [1, 2, 3], [4], [5, 6]
    together, alone = features(text, rows(*texts)), np.stack([features(text, rows(words))[0] for words in texts])
    assert np.linalg.norm(together - alone) < 1e-6 * np.linalg.norm(alone)


def test_graphs_of_every_size_give_what_pynative_gives(text: TextTransformer):
    graph = Runner(text, "graph")
    for count, length in ((3, 20), (1, 20), (5, 20), (2, 9), (4, 6)):  # from the third on, of a size left open
        tokens = rows(*([number, number + 1, 7] for number in range(count)), length=length)
        np.testing.assert_allclose(graph(Tensor(tokens))[0].asnumpy(), features(text, tokens), rtol=0, atol=1e-6)


def test_the_mask_leaves_no_trace_in_half_precision(text: TextTransformer):
    tokens = rows([1, 2, 3], [1, 2, 3])
    tokens[1, 5:] = 7
    with compute_dtype(ms.float16):
        given = features(text, tokens)
    assert np.isfinite(given).all()
    np.testing.assert_array_equal(given[1], given[0])


def test_the_network_starts_as_the_papers_code_does():
    ms.set_seed(1)
    width, layers = 128, 3
    text = TextTransformer(width, heads=2, layers=layers, embed_dim=64, vocabulary=500)
    expected = {
        "token_embedding": 0.02,
        "pos_embed": 0.01,
        "attn.qkv.weight": width**-0.5,
        "attn.proj.weight": (2 * layers * width) ** -0.5,
        "fc1.weight": (2 * width) ** -0.5,
        "fc2.weight": (2 * layers * width) ** -0.5,
        "proj": width**-0.5,
    }
    deviations = {parameter.name: parameter.asnumpy().std() for parameter in text.get_parameters()}
    for ending, deviation in expected.items():
        found = [deviations[name] for name in deviations if name.endswith(ending)]
        assert found and found == pytest.approx([deviation] * len(found), rel=0.05), ending

"""Finding one named thing: what the network itself says of "others" and the name."""

from __future__ import annotations

import numpy as np
import pytest
from mindspore import Tensor

from ms_seg.data.preprocessing import network_input
from ms_seg.inference.zero_shot import find_things
from ms_seg.presets import find_preset
from ms_seg.systems import build
from ms_seg.text import Tokenizer

NAMES = ("wheel", "burj_al")
SMALL = {"depths": (1, 1, 1, 1), "features": 8, "embed_dim": 8, "text_width": 16, "text_layers": 1}
SMALL |= {"text_heads": 2, "vocabulary": 514, "short_side": 64, "long_side": 64}


@pytest.fixture
def vocab(tmp_path):
    path = tmp_path / "merges.txt"
    path.write_text("#version: 0.2\n")  # bytes alone
    return path


def small_model(**changes):
    model = build(find_preset("lseg_zs_resnet101").override(**SMALL, **changes))
    rng = np.random.default_rng(0)
    for parameter in model.get_parameters():
        if parameter.ndim > 1:
            drawn = rng.standard_normal(parameter.shape) / np.sqrt(np.prod(parameter.shape[1:]))
            parameter.set_data(Tensor(drawn.astype(np.float32)))
    return model


@pytest.mark.parametrize("mode", ["graph", "pynative"])
def test_a_squashing_model_answers_at_its_input_size_as_the_network_does(vocab, mode):
    model = small_model()
    find = find_things(model, NAMES, mode, vocab)
    shares = []
    for seed, label in enumerate((0, 1, 1)):
        picture = np.random.default_rng(seed).integers(0, 256, (70 - 9 * seed, 50), np.uint8)
        picture = np.repeat(picture[..., None], 3, axis=2)
        images, _ = network_input(picture, model.preset.preprocessing)
        tokens = Tokenizer(vocab)(["others", NAMES[label]])
        logits = model(Tensor(images), Tensor(tokens)).asnumpy()[0]
        found = find(picture, label)
        assert found.shape == logits.shape[1:] == (64, 64)
        assert np.array_equal(found, logits.argmax(axis=0) == 1)
        shares.append(found.mean())
    assert any(0 < share < 1 for share in shares)


def test_another_model_answers_at_the_pictures_own_size(vocab):
    find = find_things(small_model(resize="round_up"), NAMES, "pynative", vocab)
    assert find(np.zeros((70, 50, 3), np.uint8), 0).shape == (70, 50)


def test_a_model_without_words_is_refused():
    model = build(find_preset("segformer_tiny_shapes"))
    with pytest.raises(ValueError, match="segformer_tiny_shapes has classes of its own"):
        find_things(model, NAMES)

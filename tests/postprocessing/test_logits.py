"""From logits to labels. Expected labels and scores are PyTorch 2.13's (two `interpolate`, softmax, argmax)."""

import hashlib
import tracemalloc
from contextlib import nullcontext

import numpy as np
import pytest

from ms_seg.data.preprocessing import Geometry
from ms_seg.postprocessing import logits as postprocessing
from ms_seg.postprocessing import native
from ms_seg.postprocessing.logits import Logits, label_pixels

INPUT = ((45, 64), (48, 68))  # resized, padded


def drawn_logits() -> np.ndarray:
    y, x, c = np.mgrid[:12, :17, :5]
    values = ((y * 37 + x * 61 + c * 101 + 1) * (y * x + c + 7)) % 9973 / 1000 - 5
    return values.astype(np.float32).transpose(2, 0, 1)


@pytest.mark.parametrize(
    ("geometry", "via_input", "digest", "scores"),
    [
        (
            Geometry((70, 100), *INPUT),
            True,
            "0571e0b7df1257ef",
            [0.56682311, 0.62295412, 0.65725702, 0.66425799, 0.65883929],
        ),
        (
            Geometry((33, 50), *INPUT),
            True,
            "b9d1bc5a3401ade6",
            [0.56882815, 0.63153198, 0.66141451, 0.67063512, 0.65185652],
        ),
        (
            Geometry((70, 100), (48, 68), (48, 68)),
            False,
            "05af73eb5a847133",
            [0.58113395, 0.64093988, 0.66233172, 0.6846553, 0.65792691],
        ),
    ],
    ids=["enlarged", "reduced", "at once"],
)
@pytest.mark.parametrize("way", [nullcontext, native.disabled], ids=["C", "NumPy"])
def test_labels_and_scores_are_pytorchs(geometry, via_input, digest, scores, way):
    with way():
        labels, class_scores = label_pixels(Logits(drawn_logits(), geometry, via_input))
    assert labels.dtype == np.int32
    assert hashlib.sha256(labels.astype(np.uint8).tobytes()).hexdigest()[:16] == digest
    assert class_scores == pytest.approx(scores, abs=1e-6)


def test_padding_is_cut_off_even_if_the_logits_go_to_the_picture_at_once():
    logits = np.zeros((2, 8, 8), np.float32)
    logits[1, :, 4:] = 9  # class 1 is in the padding alone
    labels, _ = label_pixels(Logits(logits, Geometry((32, 16), (32, 14), (32, 32)), via_input=False))
    assert not labels.any()


def test_bands_are_seamless(monkeypatch):
    geometry = Geometry((70, 100), *INPUT)
    whole, _ = label_pixels(Logits(drawn_logits(), geometry, via_input=True))
    for rows in (1, 3):
        monkeypatch.setattr(postprocessing, "_BAND_BYTES", rows * 100 * 5 * 4)
        with native.disabled():
            labels, _ = label_pixels(Logits(drawn_logits(), geometry, via_input=True))
        assert np.array_equal(labels, whole)


def test_a_class_without_pixels_scores_zero():
    _, scores = label_pixels(Logits(np.float32([[[4]], [[0]]]), Geometry((3, 3), (4, 4), (4, 4)), via_input=True))
    assert scores == pytest.approx([1 / (1 + np.exp(-4)), 0])


def test_a_large_picture_takes_little_memory():
    logits = np.random.default_rng(0).standard_normal((100, 32, 48), dtype=np.float32)
    tracemalloc.start()
    with native.disabled():
        label_pixels(Logits(logits, Geometry((1000, 1500), (128, 192), (128, 192)), via_input=True))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6  # all logits at once are 600 MB

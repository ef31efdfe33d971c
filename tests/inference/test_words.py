"""A model that takes words: the labels that a person gives are what its answer tells apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ms_seg import Segmenter
from ms_seg.inference import words as words_module
from ms_seg.presets.preset import Window
from ms_seg.text import Tokenizer
from tests.toy_model import WORD_PRESET, ColourWords, StrongestChannel

RED, GREEN, BLUE = range(3)


@pytest.fixture(scope="module")
def vocab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vocabulary without merges: every letter is a token."""
    path = tmp_path_factory.mktemp("vocab") / "letters.txt"
    path.write_text("#version: letters\n")
    return path


@pytest.fixture(scope="module")
def segmenter(vocab: Path) -> Segmenter:
    return Segmenter(ColourWords(Tokenizer(vocab)), vocab=vocab)


def flag(height: int = 48, width: int = 96) -> np.ndarray:
    """The left half red, the right half blue."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, : width // 2, RED] = picture[:, width // 2 :, BLUE] = 200
    return picture


def test_the_labels_are_the_classes_in_their_order(segmenter):
    answer = segmenter(flag(), labels=["green", "blue", "red"])
    assert answer.label_set.names == ("green", "blue", "red")
    assert np.all(answer.label_map[:, :46] == 2) and np.all(answer.label_map[:, 50:] == 1)
    assert sorted(answer.labels) == ["blue", "red"]


def test_other_labels_give_another_answer_to_the_same_picture(segmenter):
    assert segmenter(flag(), labels=["blue", "green"]).label_map[0, 90] == 0
    assert segmenter(flag(), labels=["green", "blue"]).label_map[0, 90] == 1


def test_a_window_of_no_multiple_of_32_is_refused(vocab: Path):
    with pytest.raises(ValueError, match="a window of toy_words must be a multiple of 32 pixels: 100 is not"):
        Segmenter(ColourWords(Tokenizer(vocab)), window=Window(100, 50), vocab=vocab)


def test_one_label_is_told_from_everything_else(segmenter):
    answer = segmenter(flag(), labels=["  red "])
    assert answer.label_set.names == ("others", "red")
    assert answer.label_map[0, 10] == 1 and answer.label_map[0, 90] == 0


def test_the_words_of_a_list_are_read_once(segmenter, monkeypatch):
    read = []
    tokenizer = segmenter.network.reader._tokenizer
    monkeypatch.setattr(segmenter.network.reader, "_tokenizer", lambda labels: read.append(labels) or tokenizer(labels))
    for _ in range(3):
        segmenter(flag(), labels=["red", "green", "grey"])
    assert read == [("red", "green", "grey")]


def test_every_pixel_has_a_score_for_every_label(segmenter):
    answer = segmenter(flag(33, 70), labels=["green", "blue", "red"])
    scores = answer.pixel_scores
    assert scores.shape == (3, 33, 70) and scores.dtype == np.float32
    assert scores.sum(0) == pytest.approx(np.ones((33, 70)), abs=1e-5)
    assert np.array_equal(scores.argmax(0), answer.label_map)
    mean = scores[2][answer.label_map == 2].mean()
    assert answer.class_scores[2] == pytest.approx(mean, abs=1e-5)


def test_graph_and_pynative_agree(segmenter, vocab):
    other = Segmenter(ColourWords(Tokenizer(vocab)), "pynative", vocab=vocab)
    for labels in (["red", "blue"], ["green", "blue", "red"], ["blue", "x", "y", "z"]):
        ours, theirs = segmenter(flag(), labels=labels), other(flag(), labels=labels)
        assert np.array_equal(ours.label_map, theirs.label_map)
        assert ours.class_scores == pytest.approx(theirs.class_scores, abs=1e-6)


def test_the_embeddings_are_those_that_were_compared(segmenter, tmp_path):
    answer = segmenter(flag(48, 94), labels=["green", "blue", "red"])
    path = answer.save_embeddings(tmp_path, "flag")
    assert path == tmp_path / "flag.embeddings.npz"
    with np.load(path) as saved:
        assert saved["labels"].tolist() == ["green", "blue", "red"]
        assert saved["pixels"].shape == (3, 24, 48) and saved["words"].shape == (3, 3)
        assert tuple(saved["picture"]) == tuple(saved["resized"]) == (48, 94) and tuple(saved["padded"]) == (48, 96)
        lengths = np.linalg.norm(saved["pixels"], axis=0)[:, :47]
        assert lengths == pytest.approx(np.ones_like(lengths), abs=1e-6)
        chosen = np.einsum("kd,dhw->khw", saved["words"], saved["pixels"]).argmax(0)
    assert chosen[0, 5] == 2 and chosen[0, 40] == 1


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (None, "toy_words takes words: pass the labels that it is to tell apart"),
        ([], "labels is empty: pass at least one name"),
        ("red,blue", "labels must be a list of names: 'red,blue' is a text"),
        (["red", ""], "the list of labels has no name for class 1"),
        (["red", "blue", "red"], "the list of labels names the class 'red' twice"),
        (["Red", "red"], "the labels 'Red' and 'red' are the same words to the model: leave one out"),
        (["a b\nc", "d"], "the list of labels has control characters in the name of class 0"),
        (["x" * 300, "d"], "the list of labels has a name of 300 characters for class 0: at most 200"),
        (["x" * 150, "d"], "77"),
    ],
)
def test_labels_that_will_not_do_are_refused_in_a_sentence(segmenter, labels, sentence):
    with pytest.raises(ValueError, match=".") as error:
        segmenter(flag(), labels=labels)
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_two_hundred_labels_are_told_apart(segmenter):
    names = ["red", "green", "blue", *(f"x{number}" for number in range(197))]
    answer = segmenter(flag(), labels=names)
    assert answer.label_map[0, 10] == 0 and answer.label_map[0, 90] == 2
    assert len(answer.class_scores) == 200


def test_a_model_with_classes_of_its_own_takes_no_labels():
    with pytest.raises(ValueError, match="toy has classes of its own"):
        Segmenter(StrongestChannel())(flag(), labels=["red"])


def test_a_resized_mask_is_that_of_modelscopes_pipeline(vocab):
    """PIL's bilinear resizing of a picture of 0 and 255, cut at 128; one text at a time."""
    rule = replace(WORD_PRESET.preprocessing, resize="fit", long_side=64, pad_multiple=64, resize_mask=True)
    model = ColourWords(Tokenizer(vocab), replace(WORD_PRESET, preprocessing=rule))
    segmenter = Segmenter(model, vocab=vocab)
    picture = np.random.default_rng(0).integers(0, (256, 100, 100), (60, 150, 3), np.uint8)
    answer = segmenter(picture, labels=["red"])
    others, red = segmenter.predict(picture, ("others", "red")).logits().values
    mask = Image.fromarray(np.uint8(255 * (red > others))[:25, :64])
    expected = np.asarray(mask.resize((150, 60), Image.Resampling.BILINEAR)) >= 128
    assert np.array_equal(answer.label_map, expected)
    assert 0 < expected.mean() < 1
    with pytest.raises(ValueError, match="tells one text from everything else: pass one label, not 3"):
        segmenter(picture, labels=["red", "green", "blue"])


def test_the_vocabulary_of_another_model_is_refused(vocab, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("#version: other\na b\n")
    with pytest.raises(ValueError, match="the vocabulary must be the model's, of 514 symbols: it has 515"):
        Segmenter(ColourWords(Tokenizer(vocab)), vocab=other)


def test_only_the_latest_lists_are_kept(segmenter):
    for number in range(words_module._CACHED_LISTS + 3):
        segmenter.check_labels([f"a{number}", "b"])
    assert segmenter.network.reader.features.cache_info().currsize == words_module._CACHED_LISTS

"""From a picture to an answer, through a network."""

import io
import logging
from dataclasses import replace
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor
from PIL import Image

from ms_seg import Segmenter
from ms_seg.label_sets import LabelSet, read_labels
from ms_seg.presets import ASSETS, Preprocessing
from tests.toy_model import PRESET, StrongestChannel

RED, GREEN, BLUE = range(3)


def flag(height: int = 48, width: int = 96) -> np.ndarray:
    """The left half red, the right half blue."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, : width // 2, RED] = picture[:, width // 2 :, BLUE] = 200
    return picture


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter(StrongestChannel())


def test_the_label_map_has_the_pictures_size(segmenter):
    answer = segmenter(flag(45, 90))
    assert answer.label_map.shape == (45, 90)
    assert np.all(answer.label_map[:, :43] == RED)
    assert np.all(answer.label_map[:, 47:] == BLUE)


def test_path_array_and_image_give_the_same_answer(segmenter, tmp_path):
    path = tmp_path / "flag.png"
    Image.fromarray(flag()).save(path)
    answers = [segmenter(picture) for picture in (path, str(path), flag(), Image.fromarray(flag()))]
    for answer in answers:
        assert np.array_equal(answer.label_map, answers[0].label_map)
    assert [answer.source for answer in answers] == [str(path), str(path), None, None]


def test_bytes_and_an_open_file_give_it_too(segmenter, tmp_path):
    path = tmp_path / "flag.png"
    Image.fromarray(flag()).save(path)
    with path.open("rb") as file:
        answers = [segmenter(path.read_bytes()), segmenter(file)]
    assert all(np.array_equal(answer.label_map, segmenter(flag()).label_map) for answer in answers)
    assert [answer.source for answer in answers] == [None, str(path)]


def test_a_folder_and_a_generator_are_answered_one_after_the_other(segmenter, tmp_path):
    for name in ("b.png", "a.jpg", "a.overlay.png", "notes.txt"):
        Image.fromarray(flag()).save(tmp_path / name, "PNG")
    answers = segmenter(tmp_path)
    assert [Path(answer.source).name for answer in answers] == ["a.jpg", "b.png"]
    given = segmenter(flag(48, width) for width in (96, 48))
    assert [answer.label_map.shape for answer in given] == [(48, 96), (48, 48)]
    assert [answer.label_map.shape for answer in segmenter((flag(), flag()))] == [(48, 96)] * 2
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ValueError, match="there are no pictures in"):
        segmenter(tmp_path / "nothing")


def test_what_is_wrong_with_the_labels_of_a_generator_is_said_at_once(segmenter):
    with pytest.raises(ValueError, match="has classes of its own"):
        segmenter((flag() for _ in range(2)), labels=["red"])


def test_a_checkpoint_that_says_which_model_it_is_needs_no_other_step():
    path = ASSETS / "segformer_tiny_shapes.pth"
    assert [Segmenter(model).preset.name for model in (path, str(path), "segformer_tiny_shapes")] == [
        "segformer_tiny_shapes"
    ] * 3


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("model.ckpt", "there is no file model.ckpt"),
        ("segformer_b0_ade20k", "segformer_b0_ade20k needs its weights"),
        ("segformer_b9", "there is no model 'segformer_b9'"),
    ],
)
def test_what_is_no_checkpoint_of_a_model_is_told(model, sentence):
    with pytest.raises(ValueError, match=sentence):
        Segmenter(model)


def test_a_vocabulary_is_not_taken_in_vain():
    with pytest.raises(ValueError, match="has classes of its own: a vocabulary is for a model that takes words"):
        Segmenter(StrongestChannel(), vocab="merges.txt")


def test_an_answer_is_shown_in_words_and_as_a_picture(segmenter, tmp_path):
    Image.fromarray(flag()).save(tmp_path / "flag.png")
    answer = segmenter(tmp_path / "flag.png")
    assert repr(answer) == f"<Answer of {tmp_path / 'flag.png'}, 96x48, by toy: {answer.summary}>"
    assert Image.open(io.BytesIO(answer._repr_png_())).size == answer.draw().size


def test_graph_and_pynative_agree(segmenter):
    ours = Segmenter(StrongestChannel(), mode="pynative")(flag())
    assert np.array_equal(ours.label_map, segmenter(flag()).label_map)
    assert ours.scores == pytest.approx(segmenter(flag()).scores, abs=1e-6)


def test_mindspores_global_mode_is_left_alone(segmenter):
    before = ms.get_context("mode")
    segmenter(flag())
    assert ms.get_context("mode") == before


def test_the_published_names_are_used():
    answer = Segmenter(StrongestChannel(replace(PRESET, label_set="ade20k")), mode="pynative")(flag())
    assert sorted(answer.labels) == sorted((read_labels("ade20k").names[RED], read_labels("ade20k").names[BLUE]))


def test_a_persons_own_names_and_colours_are_used():
    own = LabelSet(("brick", "moss", "slate"), np.uint8([[1, 2, 3], [4, 5, 6], [7, 8, 9]]))
    answer = Segmenter(StrongestChannel(replace(PRESET, label_set=own)), mode="pynative")(flag())
    assert sorted(answer.labels) == ["brick", "slate"]
    assert answer.label_set is own


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (31, 33)])
def test_small_and_thin_pictures_have_an_answer(size):
    picture = np.zeros((*size, 3), np.uint8)
    picture[..., GREEN] = 99
    for rule in (PRESET.preprocessing, Preprocessing("keep_ratio", short_side=64, mean=(0.0, 0.0, 0.0))):
        model = StrongestChannel(replace(PRESET, preprocessing=rule))
        answer = Segmenter(model, mode="pynative")(picture)
        assert answer.label_map.shape == size
        assert np.all(answer.label_map == GREEN)


def test_the_first_sizes_are_announced_and_no_further_one_is(caplog):
    segmenter = Segmenter(StrongestChannel())
    with caplog.at_level(logging.INFO, "ms_seg"):
        for width in (64, 64, 96, 128, 160):
            assert segmenter(flag(48, width)).label_map.shape == (48, width)
    assert [record.getMessage() for record in caplog.records] == [
        "compiling StrongestChannel for 48x64, once for this input size",
        "compiling StrongestChannel for 48x96, once for this input size",
        "compiling StrongestChannel for 48x128, once for every further size",
    ]


def test_dropout_is_off():
    model = StrongestChannel()
    model.set_train(True)
    Segmenter(model)
    assert not model.training


def test_values_that_are_not_finite_are_refused():
    class Broken(StrongestChannel):
        def construct(self, images: Tensor) -> Tensor:
            return self.pool(images) / 0

    with pytest.raises(ValueError, match="toy gave values that are not finite"):
        Segmenter(Broken(), mode="pynative")(flag())


def test_an_error_names_the_picture(segmenter, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"broken\.png"):
        segmenter(tmp_path / "broken.png")


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="mode must be one of graph, pynative, fixed: 'eager' is not"):
        Segmenter(StrongestChannel(), mode="eager")


class Scaled(StrongestChannel):
    def __init__(self):
        super().__init__()
        self.scale = ms.Parameter(Tensor([1.0], ms.float32), name="scale")

    def construct(self, images: Tensor) -> Tensor:
        return self.pool(images) * self.scale


def test_a_compiled_network_uses_the_weights_of_the_moment():
    model = Scaled()
    segmenter = Segmenter(model)

    def factor() -> float:
        return segmenter.predict(flag()).logits().values.max() / 20

    assert factor() == 1
    ms.ops.assign(model.scale, Tensor([2.0], ms.float32))  # as an optimiser does
    assert factor() == 2
    ms.load_param_into_net(model, {"scale": ms.Parameter(Tensor([3.0], ms.float32), name="scale")})
    assert factor() == 3
    assert Segmenter(model).predict(flag()).logits().values.max() / 20 == 3


def test_two_models_keep_their_own_weights():
    one, other = Scaled(), Scaled()
    other.scale.set_data(Tensor([5.0], ms.float32))
    assert (
        Segmenter(other).predict(flag()).logits().values.max()
        == 5 * Segmenter(one).predict(flag()).logits().values.max()
    )


def test_running_a_model_leaves_its_parameters_names():
    model = Scaled()
    Segmenter(model)(flag())
    assert [parameter.name for parameter in model.get_parameters()] == ["scale"]

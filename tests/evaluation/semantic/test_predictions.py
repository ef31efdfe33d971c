"""Label maps in a folder: what is written, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from ms_seg.answers import Answer
from ms_seg.evaluation.semantic.predictions import ModelLabelMaps, SavedLabelMaps, write_label_map
from tests.evaluation.stand_in import InMemory


@pytest.fixture
def dataset():
    return InMemory(3)


@pytest.fixture
def folder(dataset, tmp_path):
    for index in range(3):
        write_label_map(dataset.truths[index] % 4, tmp_path / f"picture_{index}.png")
    return tmp_path


def test_label_maps_come_back_as_they_were_written(dataset, folder):
    predictions = SavedLabelMaps(folder, dataset, 4)
    for index in range(3):
        assert np.array_equal(predictions[index], dataset.truths[index] % 4)


def test_a_file_holds_class_indices_in_grey_and_16_bits_when_it_must(tmp_path):
    write_label_map(np.array([[0, 171]]), tmp_path / "new" / "a.png")
    write_label_map(np.array([[0, 300]]), tmp_path / "b.png")
    assert Image.open(tmp_path / "new" / "a.png").mode == "L"
    assert np.array(Image.open(tmp_path / "b.png")).tolist() == [[0, 300]]


def test_files_beside_the_predictions_do_not_matter(dataset, folder):
    (folder / "metrics.json").write_text("{}")
    (folder / ".picture_0.png.123.part").write_text("")
    SavedLabelMaps(folder, dataset, 4)


def test_what_segment_wrote_is_taken_as_it_is(dataset, tmp_path):
    for index in range(3):
        picture = np.zeros((12, 16, 3), np.uint8)
        label_map = (dataset.truths[index] % 4).astype(np.int32)
        answer = Answer(picture, label_map, dataset.label_set, np.full(4, 0.25), "toy")
        answer.save(tmp_path, f"picture_{index}")  # overlays and JSON beside the labels
    predictions = SavedLabelMaps(tmp_path, dataset, 4)
    for index in range(3):
        assert np.array_equal(predictions[index], dataset.truths[index] % 4)
    (tmp_path / "picture_1.labels.png").unlink()
    with pytest.raises(ValueError, match=r"picture_1\.labels\.png is missing: the picture has no prediction$"):
        SavedLabelMaps(tmp_path, dataset, 4)


def test_pictures_of_one_name_are_not_told_apart_by_what_segment_wrote(dataset, tmp_path, monkeypatch):
    write_label_map(np.zeros((12, 16), int), tmp_path / "same.labels.png")
    monkeypatch.setattr(dataset, "name", lambda index: f"folder_{index}/same", raising=False)
    with pytest.raises(ValueError, match="cannot tell pictures apart that have one name in several folders"):
        SavedLabelMaps(tmp_path, dataset, 4)


def test_missing_predictions_are_named(dataset, folder):
    (folder / "picture_1.png").unlink()
    with pytest.raises(ValueError, match=r"picture_1\.png is missing: the picture has no prediction$"):
        SavedLabelMaps(folder, dataset, 4)
    (folder / "picture_2.png").unlink()
    with pytest.raises(ValueError, match=r"picture_1\.png is missing: .*, nor for 1 others"):
        SavedLabelMaps(folder, dataset, 4)


def test_a_prediction_of_no_picture_is_named(dataset, folder):
    write_label_map(np.zeros((2, 2), int), folder / "stranger.png")
    with pytest.raises(ValueError, match=r"stranger\.png belongs to no picture of the dataset"):
        SavedLabelMaps(folder, dataset, 4)


def test_a_folder_that_is_not_there_is_named(dataset, tmp_path):
    with pytest.raises(ValueError, match="there is no folder .*nothing"):
        SavedLabelMaps(tmp_path / "nothing", dataset, 4)


def test_a_class_out_of_range_is_named(dataset, folder):
    write_label_map(np.full((12, 16), 4), folder / "picture_2.png")
    with pytest.raises(ValueError, match=r"picture_2\.png predicts class 4, of 4 numbered from 0"):
        SavedLabelMaps(folder, dataset, 4)[2]
    assert SavedLabelMaps(folder, dataset, 5)[2].max() == 4  # a model's output beyond the classes


@pytest.mark.parametrize("content", [b"", b"no picture", "cut", "colours"])
def test_a_file_that_is_no_label_map_is_named(dataset, folder, content):
    file = folder / "picture_0.png"
    if content == "cut":
        file.write_bytes(file.read_bytes()[:60])
    elif content == "colours":
        Image.new("RGB", (16, 12), "red").save(file)
    else:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=r"picture_0\.png "):
        SavedLabelMaps(folder, dataset, 4)[0]


def test_an_error_of_the_model_names_the_picture(dataset):
    def segment(picture):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="picture_2: out of memory"):
        ModelLabelMaps(segment, dataset)[2]

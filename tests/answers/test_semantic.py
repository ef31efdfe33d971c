"""What an answer holds, and the files it writes."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ms_seg.answers import Answer
from ms_seg.answers.semantic import Embeddings
from ms_seg.data.coco.codecs import decode_mask
from ms_seg.data.preprocessing import Geometry
from ms_seg.label_sets import numbered_labels, read_labels

TREE, SKY, GRASS = 4, 2, 9


def landscape(num_outputs: int = 150) -> Answer:
    """10x12 pixels: half sky, a third grass, a sixth tree."""
    label_map = np.full((12, 10), SKY, np.int32)
    label_map[6:10] = GRASS
    label_map[10:] = TREE
    scores = np.zeros(num_outputs)
    scores[[SKY, GRASS, TREE]] = 0.9, 0.75, 0.5
    picture = np.zeros((12, 10, 3), np.uint8)
    return Answer(picture, label_map, read_labels("ade20k"), scores, "a_model", "/pictures/hill.jpg")


def test_classes_come_largest_first_in_every_list():
    answer = landscape()
    assert answer.labels == ["sky", "grass", "tree"]
    assert answer.scores.tolist() == [0.9, 0.75, 0.5]
    assert answer.masks.shape == (3, 12, 10)
    assert answer.masks.dtype == bool
    assert answer.masks.sum(axis=(1, 2)).tolist() == [60, 40, 20]
    assert [segment["category"] for segment in answer.segments] == answer.labels


def test_a_segment_is_as_coco_writes_it():
    segment = landscape().segments[1]
    encoded = segment.pop("segmentation")
    assert segment == {
        "id": 2,
        "category_id": GRASS,
        "category": "grass",
        "area": 40,
        "bbox": [0, 6, 10, 4],
        "score": 0.75,
    }
    assert np.array_equal(decode_mask(encoded), landscape().masks[1])


def test_boxes_are_tight():
    label_map = np.zeros((20, 30), np.int32)
    label_map[5:7, 11:16] = 1
    label_map[9, 3] = 1
    answer = Answer(np.zeros((20, 30, 3), np.uint8), label_map, numbered_labels(2), np.ones(2), "a_model")
    assert answer.segments[1]["bbox"] == [3, 5, 13, 5]


def test_a_pixel_of_an_output_without_a_name_belongs_to_no_segment():
    answer = landscape(num_outputs=151)
    answer.label_map[0] = 150
    assert answer.labels == ["sky", "grass", "tree"]
    assert sum(segment["area"] for segment in answer.segments) == 110
    assert np.all(answer.label_map[0] == 150)
    answer.draw()


def test_three_files_are_written_under_the_pictures_name(tmp_path):
    paths = landscape().save(tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["hill.overlay.png", "hill.labels.png", "hill.segments.json"]
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == sorted(path.name for path in paths)
    (tmp_path / "other").touch()
    assert {path.stat().st_mode for path in paths} == {(tmp_path / "other").stat().st_mode}


def test_the_stem_can_be_chosen_and_has_a_default(tmp_path):
    answer = landscape()
    assert answer.save(tmp_path, "other")[0].name == "other.overlay.png"
    nameless = Answer(answer.picture, answer.label_map, answer.label_set, answer.class_scores, "a_model")
    assert nameless.save(tmp_path)[0].name == "picture.overlay.png"


def test_the_label_png_holds_the_index_of_each_pixel_and_shows_its_colour(tmp_path):
    answer = landscape()
    _, path, _ = answer.save(tmp_path)
    with Image.open(path) as image:
        assert image.mode == "P"
        assert np.array_equal(np.array(image), answer.label_map)
        colours = np.array(image.convert("RGB"))
    assert colours[0, 0].tolist() == read_labels("ade20k").palette[SKY].tolist()


def test_more_than_256_classes_take_16_bits(tmp_path):
    label_map = np.array([[0, 299], [256, 5]], np.int32)
    picture = np.zeros((2, 2, 3), np.uint8)
    _, path, _ = Answer(picture, label_map, numbered_labels(300), np.ones(300), "a_model").save(tmp_path)
    assert np.array_equal(np.array(Image.open(path)), label_map)


def test_the_segments_file_says_what_it_is_about(tmp_path):
    answer = landscape()
    text = answer.save(tmp_path)[2].read_text(encoding="utf-8")
    content = json.loads(text)
    assert content.pop("segments") == answer.segments
    assert content == {"picture": "hill.jpg", "width": 10, "height": 12, "model": "a_model"}
    of_a_line = [json.loads(line.rstrip(",")) for line in text.splitlines() if line.startswith("  {")]
    assert of_a_line == answer.segments


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    def fill_the_disk(path, content):
        with path.open("wb") as file:
            file.write(content[:10])
        raise OSError("disk full")

    answer = landscape()
    before = {path: path.read_bytes() for path in answer.save(tmp_path)}
    monkeypatch.setattr(Path, "write_bytes", fill_the_disk)
    with pytest.raises(OSError, match="disk full"):
        answer.save(tmp_path)
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_answers_and_their_post_processing_need_no_mindspore():
    modules = "ms_seg.answers, ms_seg.postprocessing.semantic, ms_seg.postprocessing.panoptic, ms_seg.evaluation.tasks"
    code = f"import sys, {modules}; sys.exit('mindspore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0


def test_features_of_length_zero_stay_zero_and_warn_of_nothing():
    geometry = Geometry((1, 2), (1, 2), (1, 2))
    pixels = np.array([[[3, 0]], [[4, 0]]], np.float32)
    embeddings = Embeddings(("one", "none"), geometry, lambda: pixels, lambda: np.array([[0, 2], [0, 0]], np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        arrays = embeddings.arrays()
    assert arrays["pixels"][:, 0].T.tolist() == [pytest.approx([0.6, 0.8]), [0, 0]]
    assert arrays["words"].tolist() == [[0, 1], [0, 0]]

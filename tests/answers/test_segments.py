"""What panoptic and instance answers hold, and the files they write."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ms_seg.answers import InstanceAnswer, PanopticAnswer
from ms_seg.data.coco.codecs import decode_mask
from ms_seg.data.panoptic import read_ids
from ms_seg.label_sets import read_labels
from ms_seg.postprocessing.instance import instance_inference
from ms_seg.postprocessing.panoptic import Panoptic, PanopticSegment
from ms_seg.postprocessing.rules import RULES
from tests.postprocessing.test_panoptic import columns, queries_of

COCO = read_labels("coco_panoptic")
CAT, COUCH, SKY = (COCO.names.index(name) for name in ("cat", "couch", "sky-other-merged"))
PICTURE = np.zeros((30, 40, 3), np.uint8)


def two_cats() -> PanopticAnswer:
    """From the left: 5 columns of void, a cat of 5, one of 10, and 20 columns of sky."""
    segment_map = np.repeat([0, 1, 2, 3], [5, 5, 10, 20])[None].repeat(30, axis=0).astype(np.int32)
    found = (PanopticSegment(CAT, 0.9, 1), PanopticSegment(CAT, 0.8, 2), PanopticSegment(SKY, 0.95))
    return PanopticAnswer(PICTURE, COCO, "a_model", "/pictures/000000142238.jpg", panoptic=Panoptic(segment_map, found))


def overlapping() -> InstanceAnswer:
    """A cat under a surer couch, in the columns 20 to 29, and a doubtful cat at the right."""
    queries = queries_of(columns((0, 30), (20, 40), (35, 40)), [0, 1, 0], [0.7, 0.9, 0.3])
    found = instance_inference(queries, (True, True, False), RULES["mmdet"])
    labels = np.array([CAT, COUCH])[found.labels]
    return InstanceAnswer(PICTURE, COCO, "a_model", instances=replace(found, labels=labels))


def test_segments_come_largest_first_in_every_list():
    answer = two_cats()
    assert answer.labels == ["sky-other-merged", "cat", "cat"]
    assert answer.scores.tolist() == [0.95, 0.8, 0.9]
    assert answer.masks.shape == (3, 30, 40)
    assert answer.masks.sum(axis=(1, 2)).tolist() == [600, 300, 150]
    assert answer.segment_map[0, ::5].tolist() == [0, 3, 2, 2, 1, 1, 1, 1]
    assert [segment["category"] for segment in answer.segments] == answer.labels


def test_the_label_map_has_the_class_of_each_pixel():
    label_map = two_cats().label_map
    assert label_map.dtype == np.int32
    assert label_map[0, ::5].tolist() == [len(COCO), CAT, CAT, CAT, SKY, SKY, SKY, SKY]


def test_a_segment_is_as_coco_writes_it():
    answer = two_cats()
    segment = dict(answer.segments[1])
    assert np.array_equal(decode_mask(segment.pop("segmentation")), answer.masks[1])
    assert segment == {
        "id": answer.ids[1],
        "category_id": 17,
        "category": "cat",
        "isthing": True,
        "area": 300,
        "bbox": [10, 0, 10, 30],
        "score": 0.8,
    }
    assert answer.segments[0]["isthing"] is False


def test_ids_are_colours_of_which_no_two_are_the_same():
    answer = two_cats()
    assert len({0, *answer.ids}) == 4
    assert answer.ids[0] == COCO.palette[SKY].astype(int) @ (1, 256, 65536)
    many = Panoptic(np.arange(1200, dtype=np.int32).reshape(30, 40), (PanopticSegment(CAT, 0.9),) * 1199)
    ids = PanopticAnswer(PICTURE, COCO, "a_model", panoptic=many).ids
    assert len({0, *ids}) == 1200
    assert max(ids) < 1 << 24


def test_the_map_on_disk_holds_the_ids_of_the_segments(tmp_path):
    answer = two_cats()
    overlay, labels, segments, coco = answer.save(tmp_path / "new")
    assert [path.name for path in (overlay, labels, segments, coco)] == [
        "000000142238.overlay.png",
        "000000142238.labels.png",
        "000000142238.segments.json",
        "000000142238.panoptic.json",
    ]
    assert np.array_equal(read_ids(labels), answer.id_map)
    assert np.array_equal(read_ids(labels) == answer.ids[1], answer.masks[1])
    assert not read_ids(labels)[:, :5].any()
    content = json.loads(segments.read_text())
    assert content["segments"] == answer.segments
    assert (content["width"], content["height"], content["model"]) == (40, 30, "a_model")


def test_the_annotation_is_cocos(tmp_path):
    content = json.loads(two_cats().save(tmp_path)[3].read_text())
    (annotation,), (image,) = content["annotations"], content["images"]
    assert image == {"id": 142238, "file_name": "000000142238.jpg", "height": 30, "width": 40}
    assert annotation["image_id"] == 142238
    assert (tmp_path / annotation["file_name"]).is_file()
    assert [info["category_id"] for info in annotation["segments_info"]] == [187, 17, 17]
    assert [info["area"] for info in annotation["segments_info"]] == [600, 300, 150]
    categories = {category["id"]: category for category in content["categories"]}
    assert (categories[17]["name"], categories[17]["isthing"], categories[187]["isthing"]) == ("cat", 1, 0)


def test_a_picture_in_which_nothing_was_found_has_its_files(tmp_path):
    nothing = PanopticAnswer(PICTURE, COCO, "a_model", panoptic=Panoptic(np.zeros((30, 40), np.int32), ()))
    assert nothing.segments == []
    assert nothing.masks.shape == (0, 30, 40)
    paths = nothing.save(tmp_path)
    assert not read_ids(paths[1]).any()
    assert json.loads(paths[3].read_text())["annotations"][0]["segments_info"] == []


def test_masks_of_instances_overlap_and_the_surest_is_seen():
    answer = overlapping()
    assert answer.labels[:2] == ["couch", "cat"]
    assert answer.masks[:2].sum(axis=(1, 2)).tolist() == [600, 900]
    assert answer.segments[1]["area"] == 900
    assert answer.segments[1]["bbox"] == [0, 0, 30, 30]
    assert np.array_equal(decode_mask(answer.segments[1]["segmentation"]), answer.masks[1])
    assert answer.segment_map[0, ::10].tolist() == [2, 2, 1, 1]
    assert answer.label_map[0, ::10].tolist() == [CAT, CAT, COUCH, COUCH]


def test_doubtful_instances_are_listed_and_not_shown():
    answer = overlapping()
    assert answer.scores[2] == pytest.approx(0.3, abs=1e-3)
    assert set(np.unique(answer.segment_map)) == {1, 2}
    assert answer.shown_labels == ["couch", "cat"]


def test_an_instance_answer_has_three_files(tmp_path):
    assert [path.name for path in overlapping().save(tmp_path)] == [
        "picture.overlay.png",
        "picture.labels.png",
        "picture.segments.json",
    ]


def test_things_of_a_class_differ_in_the_drawing():
    picture = np.full((300, 400, 3), 90, np.uint8)
    answer = two_cats()
    segment_map = answer.panoptic.segment_map.repeat(10, axis=0).repeat(10, axis=1)
    large = replace(answer, picture=picture, panoptic=Panoptic(segment_map, answer.panoptic.segments))
    drawn = np.asarray(large.draw().convert("RGB")).astype(int)
    scale = drawn.shape[1] // 400
    left, right, void = (drawn[20 * scale, column * scale] for column in (75, 110, 25))
    assert np.abs(left - right).max() > 25
    assert void.tolist() == [90, 90, 90]

"""COCO panoptic's files: read as published, or refused in a sentence that names the file."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ms_seg.data.augmentation.lsj import augment
from ms_seg.data.coco.panoptic import open_coco_panoptic
from ms_seg.data.datasets import open_for_task, task_of
from ms_seg.data.drawn.world import DrawnPanoptic, DrawnWorld
from ms_seg.data.panoptic import PanopticMap, Segment, read_ids, target_map, to_colours, to_ids
from ms_seg.data.preflight import preflight_panoptic
from ms_seg.data.semantic import first_pictures
from ms_seg.evaluation.panoptic.quality import MISSED, outcomes
from ms_seg.label_sets import read_labels
from ms_seg.presets.recipe import Recipe
from tests.data.panoptic_files import CATEGORIES, encode, in_quarters, segment, write_coco_panoptic

IDS = (70_000, 513, 9, 0)
# The segments of COCO's example 000000142238, 427x640: the colour in its map, the id and the area in its JSON file.
PUBLISHED = [
    ((220, 20, 60), 3937500, 3528), ((222, 0, 65), 4260062, 3751), ((243, 16, 31), 2035955, 2301),
    ((202, 0, 66), 4325578, 4076), ((232, 25, 40), 2628072, 2931), ((246, 16, 43), 2822390, 2969),
    ((228, 35, 79), 5186532, 3557), ((205, 8, 75), 4917453, 477), ((195, 11, 53), 3476419, 3968),
    ((239, 0, 61), 3997935, 153), ((210, 5, 32), 2098642, 3330), ((194, 23, 81), 5314498, 355),
    ((206, 11, 72), 4721614, 636), ((210, 29, 48), 3153362, 24295), ((78, 180, 255), 16757838, 175),
    ((107, 142, 35), 2330219, 130762), ((70, 130, 180), 11829830, 8204), ((152, 251, 152), 10025880, 75100),
]  # fmt: skip
VOID = ((0, 0, 0), 0, 2712)


@pytest.fixture
def root(tmp_path) -> Path:
    """Two pictures: a cat, a crowd of dogs, grass and void; and grass in two pieces beside sky."""
    first = in_quarters(IDS), [segment(70_000, 3), segment(513, 7, iscrowd=1, area=150), segment(9, 92)]
    second = in_quarters((1, 2, 2, 3)), [segment(1, 92), segment(2, 199), segment(3, 92)]
    return write_coco_panoptic(tmp_path / "coco", [first, second])


def json_of(root: Path) -> Path:
    return root / "annotations" / "panoptic_val2017.json"


def change(root: Path, what) -> Path:
    """Rewrite the JSON file after `what` has changed its content."""
    content = json.loads(json_of(root).read_text())
    what(content)
    json_of(root).write_text(json.dumps(content))
    return json_of(root)


def test_segments_are_read_as_published(root):
    dataset = open_coco_panoptic(root, "validation")
    assert (len(dataset), dataset.name(0), dataset.image_id(1)) == (2, "000000000100", 101)
    panoptic = dataset.panoptic(0)
    assert panoptic.ids.dtype == np.int32
    assert np.array_equal(panoptic.ids, in_quarters(IDS))
    assert panoptic.segments == (
        Segment(70_000, 0, False, 150), Segment(513, 1, True, 150), Segment(9, 3, False, 150)
    )  # fmt: skip
    assert dataset.picture(0).shape == (20, 30, 3)
    assert dataset.label_set.names == ("cat", "dog", "owl", "grass", "sky")
    assert dataset.label_set.things == (True, True, True, False, False)
    assert dataset.label_set.palette[3].tolist() == [0, 0, 200]
    assert np.array_equal(np.unique(panoptic.classes()), [0, 1, 3, 0xFFFF])


def test_cocos_own_categories_are_its_label_set(root):
    labels = read_labels("coco_panoptic")
    rows = [{"id": i, "name": name, "isthing": 1} for i, name in zip(labels.ids, labels.names, strict=True)]
    change(root, lambda content: content.update(categories=rows[::-1]) or content["annotations"].pop(0))
    change(root, lambda content: content["annotations"][0]["segments_info"].__setitem__(0, segment(1, 93)))
    dataset = open_coco_panoptic(root, "validation")
    assert dataset.label_set is labels
    assert [found.label for found in dataset.panoptic(0).segments] == [81, 131, 80]


def test_targets_leave_out_crowds_and_void_and_join_stuff(root):
    dataset = open_coco_panoptic(root, "validation")
    labels, targets = target_map(dataset.panoptic(0), dataset.label_set)
    assert labels.tolist() == [0, 3] and targets.dtype == np.uint16
    assert np.array_equal(targets, in_quarters((1, 0, 2, 0)))
    labels, targets = target_map(dataset.panoptic(1), dataset.label_set)
    assert labels.tolist() == [3, 4]
    assert np.array_equal(targets, in_quarters((1, 2, 2, 1)))
    labels, targets = target_map(PanopticMap(np.zeros((4, 5), np.int32), ()), dataset.label_set)
    assert labels.shape == (0,) and np.array_equal(targets, np.zeros((4, 5)))


@pytest.mark.parametrize("move", [("annotations/panoptic_val2017", "panoptic_val2017"), ("val2017", "images/val2017")])
def test_the_folders_may_lie_where_others_put_them(root, move):
    source, target = (root / place for place in move)
    target.parent.mkdir(exist_ok=True)
    source.rename(target)
    dataset = open_coco_panoptic(root, "validation")
    assert dataset.panoptic(1).ids.shape == dataset.picture(1).shape[:2]


def test_pictures_need_not_be_there_where_they_are_not_wanted(root):
    assert open_coco_panoptic(root, "validation", with_pictures=False).has_pictures
    for file in (root / "val2017").iterdir():
        file.unlink()
    (root / "val2017").rmdir()
    assert not open_coco_panoptic(root, "validation", with_pictures=False).has_pictures
    with pytest.raises(ValueError, match=f"there is no folder {root / 'val2017'}"):
        open_coco_panoptic(root, "validation")


def segments(content, picture=0):
    return content["annotations"][picture]["segments_info"]


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        (lambda c: c.update(annotations=[]), "annotates no picture"),
        (lambda c: c.pop("annotations"), 'has no list "annotations"'),
        (lambda c: c.update(categories=[]), "names no categories"),
        (lambda c: c["categories"].append(dict(CATEGORIES[0], id=300)), "names the class 'cat' twice"),
        (lambda c: c["categories"].append({"id": 3, "name": "cow"}), "the same id for two categories"),
        (lambda c: c["images"].pop(), "annotates picture 101, which is not among its images"),
        (lambda c: c["images"].append(c["images"][0]), "picture 100 stands there twice"),
        (lambda c: c["images"][0].update(file_name="../x.jpg"), "no name of a file in a folder"),
        (lambda c: c["annotations"].append(c["annotations"][0]), "picture 100 is annotated twice"),
        (lambda c: segments(c)[0].update(category_id=5), "segment 70000 is of the unknown category 5"),
        (lambda c: segments(c)[0].update(id=0), "has a segment 0: ids are 1 to 16777215"),
        (lambda c: segments(c)[0].update(id=True), 'has no "id" that is a whole number'),
        (lambda c: segments(c)[1].update(area=float("nan")), "has an area of nan"),
        (lambda c: segments(c)[1].update(id=70_000), "has two segments of the same id"),
        (lambda c: segments(c).append(3), "a segment that is no dictionary"),
    ],
)
def test_a_json_file_that_is_wrong_is_named(root, what, sentence):
    file = change(root, what)
    with pytest.raises(ValueError, match=sentence) as error:
        open_coco_panoptic(root, "validation")
    assert str(file) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"[1", b"[]", b'{"images": 3}', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_annotation_file_is_named(root, content):
    json_of(root).write_bytes(content)
    with pytest.raises(ValueError, match="is no JSON|is no COCO annotation file") as error:
        open_coco_panoptic(root, "validation")
    assert str(json_of(root)) in str(error.value)


def lose_map(file: Path) -> None:
    file.unlink()


def cut_map(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-30])


def shrink_map(file: Path) -> None:
    Image.fromarray(encode(in_quarters(IDS, (10, 20)))).save(file)


def add_segment(file: Path) -> None:
    ids = in_quarters(IDS)
    ids[0, 0] = 4444
    Image.fromarray(encode(ids)).save(file)


def lose_segment(file: Path) -> None:
    ids = in_quarters(IDS)
    ids[ids == 9] = 0
    Image.fromarray(encode(ids)).save(file)


def bleach(file: Path) -> None:
    Image.fromarray(in_quarters((1, 2, 3, 0)).astype(np.uint8)).save(file)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lose_map, "is missing: .*panoptic_val2017.json names it"),
        (cut_map, "cut off or damaged"),
        (shrink_map, "is 20x10, but .*panoptic_val2017.json says 30x20"),
        (add_segment, "segment 4444 is in the map and has no entry in .*panoptic_val2017.json"),
        (bleach, "has no colours"),
    ],
)
def test_a_map_that_is_wrong_is_named(root, damage, sentence):
    file = root / "annotations" / "panoptic_val2017" / "000000000100.png"
    damage(file)
    with pytest.raises(ValueError, match=sentence) as error:
        open_coco_panoptic(root, "validation").panoptic(0)
    assert str(file) in str(error.value) and "\n" not in str(error.value)


def test_a_picture_of_another_size_is_named(root):
    file = root / "val2017" / "000000000101.jpg"
    Image.new("RGB", (8, 9)).save(file)
    with pytest.raises(ValueError, match="is 8x9, but .* says 30x20"):
        open_coco_panoptic(root, "validation").picture(1)


def test_a_look_beforehand_says_what_there_is(root):
    dataset = open_coco_panoptic(root, "validation")
    text = "\n".join(preflight_panoptic(dataset, 6))
    assert text.startswith("2 pictures, 3 classes of things and 2 of stuff; 2 read\n2.5 segments a picture; 12.5% of")
    assert "1 crowds, which are no target" in text
    assert "2 of 5 classes were not met in this sample: dog, owl" in text
    assert "the model has 6 outputs: no label asks for those from 5 on" in text
    with pytest.raises(ValueError, match=r"000000000100 holds class 3 \(grass\), but the model has 3 classes"):
        preflight_panoptic(dataset, 3)


def test_a_look_beforehand_stops_for_files_that_are_wrong_and_for_nothing_to_learn(root):
    add_segment(root / "annotations" / "panoptic_val2017" / "000000000100.png")
    with pytest.raises(ValueError, match="segment 4444 is in the map"):
        preflight_panoptic(open_coco_panoptic(root, "validation"), 5)
    change(root, lambda content: content["annotations"].pop(0) and [s.update(iscrowd=1) for s in segments(content)])
    with pytest.raises(ValueError, match="nothing but void and crowds"):
        preflight_panoptic(open_coco_panoptic(root, "validation"), 5)


def test_a_segment_that_others_cover_is_missed_and_no_target(root):
    lose_segment(root / "annotations" / "panoptic_val2017" / "000000000100.png")
    change(root, lambda content: [s.update(area=150) for s in segments(content)])
    dataset = open_coco_panoptic(root, "validation")
    panoptic = dataset.panoptic(0)
    assert panoptic.segments[2] == Segment(9, 3, False, 150)
    found = outcomes(PanopticMap(panoptic.ids, panoptic.segments[:2]), panoptic)
    assert found[found["iou"] == MISSED]["label"].tolist() == [3]
    recipe = Recipe(augmentation="lsj", crop_size=30, short_side=30, long_side=30, scale_min=1, photometric=False,
                    cat_max_ratio=1, scale_max=1)  # fmt: skip
    _, labels, _ = augment(dataset.picture(0), panoptic, dataset.label_set, recipe, np.random.RandomState(0))
    assert labels[labels >= 0].tolist() == [0]


def test_texts_for_numbers_and_folders_in_names_are_read(root):
    def rename(content):
        for kind in ("images", "annotations"):
            for row in content[kind]:
                key = "id" if kind == "images" else "image_id"
                row[key], row["file_name"] = f"ulm_{row[key]}", "ulm/" + row["file_name"]
        for row in content["categories"]:
            row["isthing"] = str(row["isthing"])

    change(root, rename)
    for folder in (root / "val2017", root / "annotations" / "panoptic_val2017"):
        files = list(folder.iterdir())
        (folder / "ulm").mkdir()
        for file in files:
            file.rename(folder / "ulm" / file.name)
    dataset = open_coco_panoptic(root, "validation")
    assert (dataset.name(0), dataset.image_id(0)) == ("ulm/000000000100", "ulm_100")
    assert dataset.label_set.things == (True, True, True, False, False)
    assert dataset.panoptic(0).ids.shape == dataset.picture(0).shape[:2]


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "b/../a.png", "", "b/"])
def test_a_file_name_that_leads_out_of_the_folder_is_refused(root, name):
    change(root, lambda content: content["annotations"][0].update(file_name=name))
    with pytest.raises(ValueError, match="which is no name of a file in a folder"):
        open_coco_panoptic(root, "validation")


def test_an_isthing_that_is_no_yes_or_no_is_refused(root):
    change(root, lambda content: content["categories"][1].update(isthing="stuff"))
    with pytest.raises(ValueError, match="category 7 has an \"isthing\" that is neither 0 nor 1: 'stuff'"):
        open_coco_panoptic(root, "validation")


def test_the_first_pictures_can_be_taken_alone(root):
    dataset = first_pictures(open_coco_panoptic(root, "validation"), 1)
    assert len(dataset) == 1
    assert len(dataset.panoptic(0).segments) == 3


def test_colours_of_ids_can_be_read_back(tmp_path):
    ids = np.random.default_rng(0).integers(0, 1 << 24, (7, 9)).astype(np.int32)
    for number, picture in enumerate((to_colours(ids), np.dstack((to_colours(ids), np.full((7, 9), 3, np.uint8))))):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
        assert np.array_equal(read_ids(tmp_path / f"{number}.png"), ids)
    assert np.array_equal(to_ids(to_colours(ids)), ids)


def test_a_map_of_the_published_colours_has_the_published_ids_and_areas(tmp_path):
    colours, numbers, areas = zip(*PUBLISHED, VOID, strict=True)
    pixels = np.repeat(np.array(colours, np.uint8), areas, axis=0)
    Image.fromarray(pixels.reshape(427, 640, 3)).save(tmp_path / "000000142238.png")
    found = np.unique(read_ids(tmp_path / "000000142238.png"), return_counts=True)
    assert dict(zip(*map(np.ndarray.tolist, found), strict=True)) == dict(zip(numbers, areas, strict=True))


# ------------------------------------------------------------------------------------------------- the drawn world


def test_the_drawn_world_is_told_apart_shape_by_shape():
    drawn = DrawnPanoptic("validation", size=(64, 80), max_pictures=3)
    flat = DrawnWorld("validation", size=(64, 80), max_pictures=3)
    for index in range(3):
        scene, panoptic = drawn.scene(index), drawn.panoptic(index)
        assert np.array_equal(drawn.picture(index), flat.picture(index))
        assert np.array_equal(panoptic.classes(), flat.label_map(index))
        assert np.array_equal(np.where(panoptic.ids <= len(scene.instances), panoptic.ids, 0), scene.instance_map)
        names = [drawn.label_set.names[found.label] for found in panoptic.segments]
        assert names[: len(scene.instances)] == [instance.label for instance in scene.instances]
        assert not any(drawn.label_set.things[found.label] for found in panoptic.segments[len(scene.instances) :])
        assert [found.area for found in panoptic.segments] == np.bincount(panoptic.ids.ravel())[1:].tolist()
    assert len(first_pictures(drawn, 2)) == 2 and isinstance(first_pictures(drawn, 2), DrawnPanoptic)
    assert preflight_panoptic(drawn, 9)[0] == "3 pictures, 6 classes of things and 3 of stuff; 3 read"


def test_datasets_are_opened_by_their_names(root):
    assert [task_of(name) for name in ("shapes", "shapes_panoptic", "coco_panoptic", "coco_instance")] == [
        "semantic", "panoptic", "panoptic", "instance"
    ]  # fmt: skip
    assert len(open_for_task("coco_panoptic", root, "validation")) == 2
    published = root.rename(root.with_name("coco_panoptic"))
    assert len(open_for_task("coco_panoptic", published.parent, "validation")) == 2
    assert len(open_for_task("shapes_panoptic", None, "training")) == 4000
    with pytest.raises(ValueError, match="coco_panoptic needs the folder that it lies in"):
        open_for_task("coco_panoptic", None, "validation")
    with pytest.raises(ValueError, match="there is no dataset 'coco'"):
        open_for_task("coco", root, "validation")
    with pytest.raises(ValueError, match="coco_panoptic has no split 'test'"):
        open_for_task("coco_panoptic", root, "test")


def test_two_files_of_one_split_are_refused(root):
    json_of(root).with_name("panoptic_val.json").write_text(json_of(root).read_text())
    with pytest.raises(ValueError, match=r"both .*panoptic_val2017\.json and .*panoptic_val\.json could be meant"):
        open_coco_panoptic(root, "validation")

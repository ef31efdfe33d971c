"""PASCAL-5i, COCO-20i and FSS-1000 as they are published: which pictures are tested, and what counts in them."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ms_seg.data.few_shot import COCO_NAMES, PASCAL_NAMES, find_splits, open_few_shot
from tests.data.few_shot_folders import FSS_NAMES, coco_lists, write_coco, write_fss, write_list, write_pascal
from tests.data.small_datasets import write_labels, write_picture

FSS_TEST_CLASSES = Path(__file__).with_name("fss_test_classes.txt")  # the published list, in its order
WRITE = {"pascal": write_pascal, "coco": write_coco, "fss": write_fss}


# --------------------------------------------------------------------------------------------------------- PASCAL-5i


@pytest.mark.parametrize("fold", range(4))
def test_pascal_takes_its_list_over_and_over_until_a_thousand(tmp_path, fold):
    opened = open_few_shot("pascal", write_pascal(tmp_path, fold), fold)
    assert opened.names == PASCAL_NAMES[5 * fold : 5 * fold + 5]
    assert len(opened) == 1000
    names = [query.picture.stem for query in opened.queries]
    assert names[:8] == [f"2007_{number % 7:06}" for number in range(8)]
    assert [query.label for query in opened.queries[:8]] == [0, 1, 2, 3, 4, 0, 1, 0]


def test_pascal_scores_one_class_against_all_others_and_leaves_255_out(tmp_path):
    opened = open_few_shot("pascal", write_pascal(tmp_path, 2), 2)
    picture, truth = opened[3]  # class 14, motorbike
    values = np.resize([*range(21), 255], (23, 30))
    assert opened.names[opened.queries[3].label] == "motorbike"
    assert (picture.shape, picture.dtype, truth.dtype) == ((23, 30, 3), np.uint8, np.uint8)
    assert np.array_equal(truth, np.where(values == 255, 255, values == 14))


def test_pascal_masks_with_a_palette_are_read_as_their_indices(tmp_path):
    opened = open_few_shot("pascal", write_pascal(tmp_path), 0)
    values = np.zeros((20, 30), np.uint8)
    values[5:9] = 1
    coloured = Image.fromarray(values)
    coloured.putpalette([0, 0, 0, 128, 0, 0] + [7] * 762)
    coloured.save(opened.queries[0].mask)
    assert np.array_equal(opened[0][1], values)


# ---------------------------------------------------------------------------------------------------------- COCO-20i


@pytest.mark.parametrize(("fold", "shots"), [(0, 0), (3, 0), (1, 1), (2, 5)])
def test_coco_draws_a_class_and_then_a_picture_with_numpys_seed_0(tmp_path, fold, shots):
    opened = open_few_shot("coco", write_coco(tmp_path, fold), fold, shots=shots)
    assert opened.names == COCO_NAMES[fold::4]
    lists = pickle.loads((tmp_path / f"splits/coco/val/fold{fold}.pkl").read_bytes())
    np.random.seed(0)
    for query in opened.queries:
        number = np.random.choice(range(fold, 80, 4), 1, replace=False)[0]
        name = np.random.choice(lists[number], 1, replace=False)[0]
        support: list[str] = []
        while len(support) < shots:
            other = np.random.choice(lists[number], 1, replace=False)[0]
            support += [other] * (other != name)
        assert query.picture == tmp_path / "COCO2014" / name
        assert opened.names[query.label] == COCO_NAMES[number]
        assert query.mask == tmp_path / "COCO2014/annotations" / f"{name[:-4]}.png"
    assert len(opened) == 1000


def test_coco_takes_255_for_background(tmp_path):
    opened = open_few_shot("coco", write_coco(tmp_path, 3), 3)
    values = np.resize([*range(81), 255], (20, 30))
    number = COCO_NAMES.index(opened.names[opened.queries[0].label])
    assert np.array_equal(opened[0][1], values == number + 1)


def test_coco_pictures_are_not_rotated_and_grey_ones_get_colours(tmp_path):
    opened = open_few_shot("coco", write_coco(tmp_path), 0)
    grey = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.fromarray(grey).save(opened.queries[0].picture, exif=exif)
    assert opened[0][0].shape == (20, 30, 3)


# ---------------------------------------------------------------------------------------------------------- FSS-1000


@pytest.mark.parametrize("fold", [0, 3])
def test_fss_tests_every_picture_of_its_classes_in_order(tmp_path, fold):
    opened = open_few_shot("fss", write_fss(tmp_path), fold)
    assert opened.names == tuple(sorted(FSS_NAMES))
    assert [query.label for query in opened.queries] == [0] * 11 + [1] * 11 + [2] * 11
    assert [query.picture.name for query in opened.queries[:4]] == ["1.jpg", "10.jpg", "11.jpg", "2.jpg"]
    assert [query.mask.name for query in opened.queries[:2]] == ["1.png", "10.png"]


@pytest.mark.parametrize(("shots", "count"), [(0, 33), (1, 30), (5, 33)])
def test_fss_keeps_the_first_picture_as_the_support_of_one_shot(tmp_path, shots, count):
    opened = open_few_shot("fss", write_fss(tmp_path), shots=shots)
    assert len(opened) == count
    assert ("1.jpg" in {query.picture.name for query in opened.queries}) == (shots != 1)


def test_fss_masks_of_every_colour_mode_are_white_on_black(tmp_path):
    opened = open_few_shot("fss", write_fss(tmp_path))
    for index in range(len(opened)):
        picture, truth = opened[index]
        assert np.array_equal(truth, picture[..., 0] > 130)


def test_fss_masks_are_cut_at_half_grey(tmp_path):
    opened = open_few_shot("fss", write_fss(tmp_path))
    write_labels(opened.queries[0].mask, [0, 127, 128, 255], (24, 24))
    assert opened[0][1][0, :4].tolist() == [0, 0, 1, 1]


def test_fss_masks_of_0_and_1_are_not_taken_for_black(tmp_path):
    opened = open_few_shot("fss", write_fss(tmp_path))
    write_labels(opened.queries[0].mask, [0, 1], (24, 24))
    assert opened[0][1][0, :4].tolist() == [0, 1, 0, 1]
    write_labels(opened.queries[0].mask, [0, 0], (24, 24))
    assert not opened[0][1].any()


def test_fss_masks_may_be_larger_than_their_pictures_as_some_published_ones_are(tmp_path):
    opened = open_few_shot("fss", write_fss(tmp_path))
    write_labels(opened.queries[0].mask, [0, 255], (60, 50))
    picture, truth = opened[0]
    assert (picture.shape[:2], truth.shape) == ((24, 24), (60, 50))


def test_files_beside_the_pictures_are_left_alone(tmp_path):
    write_fss(tmp_path)
    for name in ("12.jpeg", ".hidden.jpg", "Thumbs.db"):
        (tmp_path / "FSS-1000/wheel" / name).write_bytes(b"")
    assert len(open_few_shot("fss", tmp_path)) == 33


# ---------------------------------------------------------------------------------------------------- published files


def test_fss_pictures_whose_coloured_masks_hold_0_and_1_as_those_of_its_repository(tmp_path):
    folder = tmp_path / "FSS-1000" / "thing"
    for number in range(1, 6):
        write_picture(folder / f"{number}.jpg", (224, 224), seed=number)
        mask = np.zeros((224, 224, 3), np.uint8)
        mask[20 * number : 20 * number + 60, 50:110] = 1
        Image.fromarray(mask).save(folder / f"{number}.png")
    write_list(tmp_path / "splits/fss/test.txt", ["thing"])
    opened = open_few_shot("fss", tmp_path)
    assert len(opened) == 5
    for number, (picture, truth) in enumerate(opened, start=1):
        assert (picture.shape, truth.shape) == ((224, 224, 3), (224, 224))
        assert truth.sum() == 60 * 60 and truth[20 * number : 20 * number + 60, 50:110].all()


@pytest.mark.parametrize(
    ("names", "published"),
    [
        (PASCAL_NAMES, "7d877f185c807bc51b4cfb4f4202fc0b4e1c6724b782ba245fe36f8d254f0ad7"),
        (COCO_NAMES, "3ccf800c20ccafc41fb0954368d338bd2cd11f9191978763fda565129ba1657a"),
    ],
    ids=["pascal", "coco"],
)
def test_names_are_those_that_the_published_models_learned(names, published):
    """By the SHA-256 of the lines of lang-seg's label_files/fewshot_pascal.txt and fewshot_coco.txt."""
    assert checksum(names) == published


def test_fss_classes_come_in_the_order_that_the_published_models_learned(tmp_path, monkeypatch):
    """By the SHA-256 of lines 761 to 1000 of lang-seg's label_files/fewshot_fss.txt, its test classes."""
    names = FSS_TEST_CLASSES.read_text().split()
    assert (len(names), names[0], names[-1]) == (240, "bus", "tower_pisa")
    write_list(tmp_path / "splits/fss/test.txt", names)
    for name in names:
        (tmp_path / "FSS-1000" / name).mkdir(parents=True)
        (tmp_path / "FSS-1000" / name / "1.jpg").touch()
    monkeypatch.setattr(Path, "is_file", lambda _: True)  # of the pictures, only the names are looked at
    opened = open_few_shot("fss", tmp_path)
    assert checksum(opened.names) == "72d6a86067fed8dac503db7f556832f7d4d28aee82b12a4e35d310c7ca5c9f94"
    assert [query.label for query in opened.queries] == list(range(240))


@pytest.mark.parametrize(("fold", "pictures"), enumerate((346, 451, 725, 346)))
def test_pascal_tests_every_picture_of_lists_as_long_as_the_published_ones(tmp_path, fold, pictures, monkeypatch):
    names = [f"2007_{number:06}__{5 * fold + 1 + number % 5:02}" for number in range(pictures)]
    write_list(tmp_path / f"splits/pascal/val/fold{fold}.txt", names)
    monkeypatch.setattr(Path, "is_file", lambda _: True)
    opened = open_few_shot("pascal", tmp_path, fold)
    assert len(set(opened.queries)) == pictures
    assert {query.label for query in opened.queries} == set(range(5))


@pytest.mark.parametrize(("fold", "pictures"), [(0, 954), (3, 948)])
def test_coco_tests_as_many_pictures_as_of_the_published_lists(tmp_path, fold, pictures, monkeypatch):
    """Numbers counted with the published lists: which pictures are drawn follows from how many each class has."""
    (tmp_path / "splits/coco/val").mkdir(parents=True)
    (tmp_path / f"splits/coco/val/fold{fold}.pkl").write_bytes(pickle.dumps(coco_lists(fold), 3))
    monkeypatch.setattr(Path, "is_file", lambda _: True)
    opened = open_few_shot("coco", tmp_path, fold)
    assert len(set(opened.queries)) == pictures
    assert {query.label for query in opened.queries} == set(range(20))


def checksum(lines) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def test_split_lists_are_found_where_lang_seg_has_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "fewshot_data/Datasets_HSN"
    for place in ("fewshot_data/data/splits", "fewshot_data/Datasets_HSN/splits"):
        (tmp_path / place).mkdir(parents=True)
    assert find_splits(tmp_path / "elsewhere") == Path("fewshot_data/data/splits")
    monkeypatch.chdir(tmp_path / "fewshot_data")
    assert find_splits(data) == data / "splits"
    (data / "splits").rmdir()
    assert find_splits(data).resolve() == tmp_path / "fewshot_data/data/splits"
    assert find_splits(data, tmp_path) == tmp_path


# ------------------------------------------------------------------------------------------------- wrong and broken


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("benchmark", WRITE)
@pytest.mark.parametrize("kind", ["picture", "mask"])
def test_a_missing_file_is_named_before_anything_is_tested(tmp_path, benchmark, kind):
    query = open_few_shot(benchmark, WRITE[benchmark](tmp_path)).queries[1]
    getattr(query, kind).unlink()
    if (benchmark, kind) == ("fss", "picture"):
        assert query not in open_few_shot(benchmark, tmp_path).queries  # the folder itself is the list
        return
    with pytest.raises(ValueError, match=f"there is no file {getattr(query, kind)}"):
        open_few_shot(benchmark, tmp_path)


@pytest.mark.parametrize("benchmark", WRITE)
@pytest.mark.parametrize("kind", ["picture", "mask"])
def test_a_damaged_file_is_named(tmp_path, benchmark, kind):
    opened = open_few_shot(benchmark, WRITE[benchmark](tmp_path))
    path = getattr(opened.queries[1], kind)
    cut(path)
    with pytest.raises(ValueError, match=f"{path} is "):
        opened[1]
    path.write_bytes(b"<html>")
    with pytest.raises(ValueError, match=f"{path} is not a picture"):
        opened[1]


@pytest.mark.parametrize("benchmark", ["pascal", "coco"])
def test_a_mask_of_another_size_is_named_with_its_picture(tmp_path, benchmark):
    opened = open_few_shot(benchmark, WRITE[benchmark](tmp_path))
    query = opened.queries[0]
    write_labels(query.mask, [0, 1], (20, 31))
    with pytest.raises(ValueError, match=f"{query.mask} is 31x20, but its picture {query.picture} is 30x20"):
        opened[0]


@pytest.mark.parametrize(("benchmark", "value", "classes"), [("pascal", 21, 20), ("coco", 90, 80)])
def test_a_mask_of_another_numbering_is_named(tmp_path, benchmark, value, classes):
    opened = open_few_shot(benchmark, WRITE[benchmark](tmp_path))
    write_labels(opened.queries[0].mask, [0, value, 255])
    with pytest.raises(
        ValueError, match=f"{opened.queries[0].mask} holds the value {value}, .* 0 to {classes}, and 255"
    ):
        opened[0]


@pytest.mark.parametrize("benchmark", ["pascal", "coco"])
def test_a_mask_in_colours_is_named(tmp_path, benchmark):
    opened = open_few_shot(benchmark, WRITE[benchmark](tmp_path))
    write_picture(opened.queries[0].mask)
    with pytest.raises(ValueError, match=f"{opened.queries[0].mask} has colours"):
        opened[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ade20k", ".", 0), "there is no benchmark 'ade20k': choose from pascal, coco, fss"),
        (("pascal", ".", 4), "there is no fold 4: choose 0 to 3"),
        (("pascal", ".", -1), "there is no fold -1: choose 0 to 3"),
        (("fss", ".", 0, None, -1), "-1 support pictures cannot be drawn"),
        (("pascal", "nowhere", 0), "there is no folder nowhere"),
        (("pascal", ".", 0, "lists"), "there is no folder lists"),
        (("pascal", ".", 0), "pass fewshot_data/data/splits of github.com/isl-org/lang-seg as --splits"),
        (("pascal", ".", 0, "."), "there is no split list pascal/val/fold0.txt"),
        (("coco", ".", 0, "."), "coco/val/fold0.pkl does not exist"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as error:
        open_few_shot(*arguments)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("benchmark", "lines", "message"),
    [
        ("pascal", ["2007_000000__01", "2007_000001__06"], "line 2 of .*fold0.txt is '2007_000001__06', not"),
        ("pascal", ["../2007_0001__01"], "line 1 of .*fold0.txt is '../2007_0001__01', not"),
        ("pascal", [], "fold0.txt is empty"),
        ("fss", ["wheel", "spoke"], "there is no folder .*spoke, which .*test.txt asks for"),
        ("fss", ["../wheel"], "test.txt lists '../wheel', which is no name of a folder"),
        ("fss", [".."], "test.txt lists '..', which is no name of a folder"),
    ],
)
def test_a_wrong_line_in_a_list_is_named(tmp_path, benchmark, lines, message):
    WRITE[benchmark](tmp_path)
    write_list(tmp_path / ("splits/fss/test.txt" if benchmark == "fss" else "splits/pascal/val/fold0.txt"), lines)
    with pytest.raises(ValueError, match=message):
        open_few_shot(benchmark, tmp_path)


def test_a_list_that_is_no_text_is_named(tmp_path):
    write_fss(tmp_path)
    (tmp_path / "splits/fss/test.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="test.txt is not UTF-8 text"):
        open_few_shot("fss", tmp_path)


@pytest.mark.parametrize(
    ("names", "shots", "message"),
    [
        ([], 0, r"fold0.pkl does not list a picture of class 4 \(aeroplane\)$"),
        (["val2014/COCO_val2014_000000000001.jpg"], 1, r"class 4 \(aeroplane\) and others for its support$"),
        (["/etc/COCO_val2014_000000000001.jpg"], 0, "lists '/etc/COCO_.*', which is no picture of COCO 2014's"),
        (["val2014/../../COCO_val2014_000000000001.jpg"], 0, "which is no picture of COCO 2014's"),
    ],
)
def test_a_wrong_entry_in_a_coco_list_is_named(tmp_path, names, shots, message):
    write_coco(tmp_path)
    path = tmp_path / "splits/coco/val/fold0.pkl"
    path.write_bytes(pickle.dumps({**pickle.loads(path.read_bytes()), 4: names}))
    with pytest.raises(ValueError, match=message):
        open_few_shot("coco", tmp_path, shots=shots)


def test_an_fss_class_without_pictures_is_named(tmp_path):
    write_fss(tmp_path)
    for file in (tmp_path / "FSS-1000/wheel").glob("*.jpg"):
        file.unlink()
    with pytest.raises(ValueError, match="the folder .*wheel holds no .jpg file"):
        open_few_shot("fss", tmp_path)

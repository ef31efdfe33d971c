"""What the values of a person's own label files mean: said, read from a list, inferred where that is sure, or asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ms_seg.data.class_list import find_class_list
from ms_seg.data.numbering import Numbering, from_one, from_values, from_zero
from ms_seg.data.readings import AmbiguousLabels, LabelOptions, decide
from tests.data.small_datasets import write_labels, write_picture

SKY, ROAD, CAR = 0x804040, 0x408020, 0x0000FF  # blue, green, red, as packed
COLOURS = "sky #404080\nroad #208040\ncar #ff0000\n"


def numbering(root: Path, names: str, *files: object, **said) -> Numbering:
    """The numbering of label files of these values, below a labels.txt of these lines."""
    (root / "labels.txt").write_text(names)
    paths = [write_labels(root / f"{place}.png", values) for place, values in enumerate(files)]
    return decide(find_class_list(root), paths, LabelOptions(**said))[1]


NAMES = "sky\nroad\ncar\n"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 2], from_zero(3)),
        ([0, 1, 2, 255], from_zero(3)),
        ([1, 2, 3], from_one(3)),
        ([1, 2, 3, 255], from_one(3)),
    ],
)
def test_one_reading_alone_is_taken(tmp_path, values, expected):
    assert numbering(tmp_path, NAMES, values) == expected


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ([0, 1, 2, 3], ["--reduce-zero-label true", "--ignore-label 3"]),  # as CamVid: void is first or last
        ([0, 1], ["--reduce-zero-label false", "--reduce-zero-label true"]),  # car, or road and car, are not met
        ([1, 2], ["--reduce-zero-label false", "--reduce-zero-label true"]),
        ([0, 1, 3], ["--reduce-zero-label true", "--ignore-label 3"]),
    ],
)
def test_two_readings_are_asked_after_with_the_option_for_each(tmp_path, values, options):
    with pytest.raises(AmbiguousLabels, match="can be read in 2 ways") as caught:
        numbering(tmp_path, NAMES, values)
    assert [reading.option for reading in caught.value.readings] == options
    assert all(option in str(caught.value) for option in options)
    assert caught.value.file == tmp_path / "0.png"
    in_vain = values != [0, 1, 2, 3]  # a class is met in neither reading: `train` would ask after it next
    assert ("add --allow missing-classes" in str(caught.value)) == in_vain


def test_what_each_reading_makes_of_each_value_stands_in_a_table(tmp_path):
    with pytest.raises(AmbiguousLabels) as caught:
        numbering(tmp_path, NAMES, [0, 1, 2, 3], [1, 2, 2, 3])
    rows = [line.split() for line in str(caught.value).splitlines()]
    assert ["0", "12.5%", "1", "(ignored)", "sky"] in rows
    assert ["2", "37.5%", "2", "road", "car"] in rows
    assert ["3", "25.0%", "2", "car", "(ignored)"] in rows


def test_black_and_white_is_asked_after(tmp_path):
    with pytest.raises(AmbiguousLabels) as caught:
        numbering(tmp_path, "background\nbuilding\n", [0, 255])
    assert [reading.option for reading in caught.value.readings] == ["--label-values 0,255", "--ignore-label 255"]


def test_one_name_alone_is_refused_with_what_to_write(tmp_path):
    for values in ([0, 1], [0, 255]):
        lines = f"'0 background' and '{values[1]} building' into it"
        with pytest.raises(ValueError, match=rf"labels\.txt names 'building' alone, .* {lines}"):
            numbering(tmp_path, "building\n", values)
    with pytest.raises(ValueError, match="name what the other pixels are too, such as background"):
        numbering(tmp_path, "building\n", [0, 1, 2])


@pytest.mark.parametrize(
    ("said", "values", "expected"),
    [
        ({"values": (0, 255)}, [0, 255], from_values((0, 255))),
        ({"ignored": ("2",)}, [0, 1, 2], from_zero(2, [2])),
        ({"ignored": ("0",)}, [0, 1, 2], from_one(2)),
        ({"reduce_zero_label": True}, [0, 1, 2], from_one(2)),
        ({"reduce_zero_label": False, "ignored": ("7",)}, [0, 1, 7], from_zero(2, [7])),
        ({"values": (40, 3), "ignored": ("0",)}, [0, 3, 40], from_values((40, 3), [0])),
    ],
)
def test_what_is_said_is_done(tmp_path, said, values, expected):
    decided = numbering(tmp_path, "background\nbuilding\n", values, **said)
    assert (decided.values, set(decided.ignored)) == (expected.values, set(expected.ignored))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"values": (0, 1)}, "--label-values must give a value for each of the 3 classes"),
        ({"values": (0, 1, 1)}, "1 stands for two classes"),
        ({"values": (0, 1, 70000)}, "label files cannot hold 70000"),
        ({"values": (0, 1, 2), "reduce_zero_label": True}, "--label-values and --reduce-zero-label both say"),
        ({"ignored": ("#000000",)}, "--ignore-label #000000 does not fit: .* write it as a number"),
        ({"reduce_zero_label": False, "ignored": ("2",)}, "--ignore-label 2 is the value of car"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, said, message):
    with pytest.raises(ValueError, match=message):
        numbering(tmp_path, NAMES, [0, 1, 2], **said)


def test_values_beside_the_names_are_the_numbering_whatever_is_met(tmp_path):
    lines = "7 road\n300 sky\n0 ignore\n"
    decided = numbering(tmp_path, lines, [0, 7, 300])
    assert (decided.values, decided.ignored) == ((7, 300), (0, 255))
    labels = decided.classes(decided.read(tmp_path / "0.png"), tmp_path / "0.png")
    assert labels[0, :3].tolist() == [255, 0, 1]


def test_a_class_of_a_list_of_values_can_be_ignored(tmp_path):
    (tmp_path / "labels.txt").write_text("0 void\n1 road\n2 sky\n")
    file = write_labels(tmp_path / "0.png", [0, 1, 2])
    label_set, decided = decide(find_class_list(tmp_path), [file], LabelOptions(ignored=("0",)))
    assert (label_set.names, decided.values, decided.ignored) == (("road", "sky"), (1, 2), (0, 255))
    again, _ = decide(find_class_list(tmp_path), [file], LabelOptions(numbering=decided))
    assert again.names == label_set.names  # of the other split


def test_files_are_read_beyond_the_sample_until_every_class_is_met(tmp_path, monkeypatch):
    monkeypatch.setattr("ms_seg.data.readings._SAMPLE", 2)
    files = [[0, 1], [0, 1], [0, 2], [0, 1], [0, 1], [0, 1]]
    assert numbering(tmp_path, NAMES, *files) == from_zero(3)


def test_values_of_nobody_are_named_with_the_option_that_fits(tmp_path):
    with pytest.raises(
        ValueError, match=r"0\.png holds the value 7, but labels\.txt names 3 classes: number them 0\.\.2"
    ):
        numbering(tmp_path, NAMES, [0, 1, 2, 5, 7])
    with pytest.raises(
        ValueError, match="if 0, 128 and 255 are their values in this order, pass --label-values 0,128,255"
    ):
        numbering(tmp_path, NAMES, [0, 128, 255])


def test_labels_that_were_resized_like_pictures_are_told(tmp_path):
    with pytest.raises(ValueError, match="200 different values for the 3 classes .* resized or smoothed like pictures"):
        numbering(tmp_path, NAMES, range(200))


def test_they_are_told_where_the_values_are_said_too(tmp_path):
    decided = numbering(tmp_path, "0 background\n255 building\n", range(0, 256, 15))
    file = tmp_path / "0.png"
    with pytest.raises(ValueError, match="holds the value 240, .* it holds 16 that stand for nothing, as if resized"):
        decided.classes(decided.read(file), file)


# --------------------------------------------------------------------------------------------------------- recorded


def test_what_a_model_was_trained_on_decides_where_nothing_else_does(tmp_path):
    assert numbering(tmp_path, NAMES, [0, 1, 2, 3], recorded=from_zero(3, [3])) == from_zero(3, [3])
    assert numbering(tmp_path, NAMES, [0, 1, 2, 3], recorded=from_one(3)) == from_one(3)
    assert numbering(tmp_path, NAMES, [0, 128], recorded=from_values((0, 128, 255))) == from_values((0, 128, 255))


def test_what_a_model_was_trained_on_is_not_forced_on_files_that_are_numbered_otherwise(tmp_path):
    with pytest.raises(
        ValueError, match=r"one way, 0\.\.2 number them.* trained on labels of which 1\.\.3 number them"
    ):
        numbering(tmp_path, NAMES, [0, 1, 2], recorded=from_one(3))
    with pytest.raises(ValueError, match=r"holds the value 3, and the model was trained on labels of which 0\.\.2"):
        numbering(tmp_path, NAMES, [1, 2, 3], recorded=from_zero(3))


# ---------------------------------------------------------------------------------------------------------- colours


def coloured(file: Path, colours: list[int], **options) -> Path:
    packed = np.resize(np.array(colours, "<i4"), (4, 6))
    Image.fromarray(packed[..., None].view(np.uint8)[..., :3]).save(file, **options)
    return file


def by_colours(root: Path, names: str, *files: Path, **said) -> tuple[tuple[str, ...], list[int]]:
    """The classes, and the classes of the first pixels of the first file."""
    (root / "labels.txt").write_text(names)
    label_set, decided = decide(find_class_list(root), files, LabelOptions(**said))
    return label_set.names, decided.classes(decided.read(files[0]), files[0])[0].tolist()


def test_labels_coloured_by_class_are_read_by_the_colours_of_the_list(tmp_path):
    file = coloured(tmp_path / "a.png", [ROAD, SKY, CAR, 0])
    names, row = by_colours(tmp_path, COLOURS + "ignore #000000\n", file)
    assert (names, row) == (("sky", "road", "car"), [1, 0, 2, 255, 1, 0])
    names, row = by_colours(tmp_path, COLOURS + "nothing #000000\n", file, ignored=("#000000", "#404080"))
    assert (names, row) == (("road", "car"), [0, 255, 1, 255, 0, 255])


def test_a_palette_is_read_by_its_colours_where_the_list_has_them_and_by_its_indices_elsewhere(tmp_path):
    indices = Image.fromarray(np.resize(np.array([2, 1, 0], np.uint8), (4, 6)))
    indices.putpalette([255, 0, 0, 64, 64, 128, 32, 128, 64])  # car, sky, road
    indices.save(tmp_path / "a.png")
    assert by_colours(tmp_path, COLOURS, tmp_path / "a.png")[1][:3] == [1, 0, 2]
    assert by_colours(tmp_path, NAMES, tmp_path / "a.png")[1][:3] == [2, 1, 0]
    assert by_colours(tmp_path, "2 sky\n0 road\n1 car\n", tmp_path / "a.png")[1][:3] == [0, 2, 1]


def test_a_palette_beside_values_and_colours_is_read_by_what_accounts_for_it(tmp_path):
    indices = Image.fromarray(np.resize(np.array([2, 1, 0], np.uint8), (4, 6)))
    indices.putpalette([255, 0, 0, 64, 64, 128, 32, 128, 64])  # car, sky, road
    indices.save(tmp_path / "a.png")
    both = ["sky #404080", "road #208040", "car #ff0000"]

    def listed(*values: int) -> str:
        return "\n".join(f"{value} {line}" for value, line in zip(values, both, strict=True))

    assert by_colours(tmp_path, listed(7, 8, 9), tmp_path / "a.png")[1][:3] == [1, 0, 2]  # by colours alone
    assert by_colours(tmp_path, listed(1, 2, 0), tmp_path / "a.png")[1][:3] == [1, 0, 2]  # they agree
    with pytest.raises(ValueError, match=r"a\.png means one thing by its values and another by the colours"):
        by_colours(tmp_path, listed(0, 1, 2), tmp_path / "a.png")
    others = "0 sky #000001\n1 road #000002\n2 car #000003"
    assert by_colours(tmp_path, others, tmp_path / "a.png")[1][:3] == [2, 1, 0]  # by values alone


def test_colours_without_a_list_of_them_are_named_with_what_to_write(tmp_path):
    file = coloured(tmp_path / "a.png", [ROAD, SKY])
    with pytest.raises(
        ValueError, match=r"a\.png has colours \(#208040, #404080\).* write it behind the name, such as sky"
    ):
        by_colours(tmp_path, NAMES, file)


def test_a_photograph_among_the_labels_is_told(tmp_path):
    write_picture(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png has 600 colours, as photographs and smoothed label files have"):
        by_colours(tmp_path, NAMES, tmp_path / "a.png")


def test_a_colour_that_the_list_lacks_is_named(tmp_path):
    with pytest.raises(
        ValueError, match=r"a\.png holds the colour #ffffff, which is none of the 3 classes: each has its colour"
    ):
        by_colours(tmp_path, COLOURS, coloured(tmp_path / "a.png", [ROAD, 0xFFFFFF]))


def test_three_equal_channels_and_opaque_alpha_are_one_number(tmp_path):
    values = np.resize(np.array([0, 1, 2], np.uint8), (4, 6))
    layers = {
        "rgb": np.dstack([values] * 3),
        "rgba": np.dstack([values] * 3 + [np.full_like(values, 255)]),
        "la": np.dstack([values, np.full_like(values, 255)]),
    }
    for name, array in layers.items():
        Image.fromarray(array).save(tmp_path / f"{name}.png")
        assert by_colours(tmp_path, NAMES, tmp_path / f"{name}.png")[1][:3] == [0, 1, 2]
    Image.fromarray(np.dstack([values, values])).save(tmp_path / "glass.png")
    with pytest.raises(ValueError, match=r"glass\.png is transparent somewhere"):
        by_colours(tmp_path, NAMES, tmp_path / "glass.png")


@pytest.mark.parametrize("ending", ["png", "tif", "bmp"])
def test_formats_that_lose_nothing_are_read_alike(tmp_path, ending):
    Image.fromarray(np.resize(np.array([0, 1, 2], np.uint8), (4, 6))).save(tmp_path / f"a.{ending}")
    assert by_colours(tmp_path, NAMES, tmp_path / f"a.{ending}")[1][:3] == [0, 1, 2]

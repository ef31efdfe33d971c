"""Lists of classes in every form that a person or a tool writes them in."""

from __future__ import annotations

import pytest

from ms_seg.data.class_list import find_class_list

GREEN, VIOLET = 0x008000, 0x804080

LISTS = {
    "labels.txt": (
        "7 road #804080\n0 green plants #008000\n255 ignore #000000\n",
        ("road", "green plants"), (7, 0), (VIOLET, GREEN), (255,), (0,),
    ),
    "labelmap.txt": (
        "# label:color_rgb:parts:actions\nbackground:0,128,0::\nroad: wide:128,64,128::\n",
        ("background", "road: wide"), (), (GREEN, VIOLET), (), (),
    ),
    "class_names.txt": ("__ignore__\n_background_\nroad\n", ("_background_", "road"), (0, 1), (), (), ()),
    "_classes.csv": ("Pixel Value, Class\n0, background\n1, road\n", ("background", "road"), (0, 1), (), (), ()),
    "class_dict.csv": ("name,r,g,b\nTree,0,128,0\nRoad,128,64,128\n", ("Tree", "Road"), (), (GREEN, VIOLET), (), ()),
    "label_colors.txt": ("0 128 0\t\tPlants\n128 64 128\tRoad\n", ("Plants", "Road"), (), (GREEN, VIOLET), (), ()),
}  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_every_tools_list_is_read(tmp_path, name):
    text, *expected = LISTS[name]
    (tmp_path / name).write_text(text)
    found = find_class_list(tmp_path)
    assert found.file == tmp_path / name
    assert [
        found.names, found.values, found.colours, found.ignored_values, found.ignored_colours,
    ] == expected  # fmt: skip


@pytest.mark.parametrize(
    ("text", "names", "values"),
    [
        ("sky\nroad\n", ("sky", "road"), ()),
        ("0: sky\n4:\troad\n", ("sky", "road"), (0, 4)),
        ("2 wheeler\ncar\n", ("2 wheeler", "car"), ()),  # not every line begins with a number
        ("65535 sky\n1 road\n", ("sky", "road"), (65535, 1)),
        ("ignore\nroad\n", ("ignore", "road"), ()),  # a name like any other where there are no values
    ],
)
def test_a_persons_own_list_may_begin_its_lines_with_values(tmp_path, text, names, values):
    (tmp_path / "labels.txt").write_text(text)
    found = find_class_list(tmp_path)
    assert (found.names, found.values) == (names, values)


def test_a_persons_own_list_goes_before_a_tools(tmp_path):
    (tmp_path / "labels.txt").write_text("a\nb\n")
    (tmp_path / "labelmap.txt").write_text("c:0,0,0::\n")
    assert find_class_list(tmp_path).names == ("a", "b")


def test_colours_of_the_list_are_the_palette_and_others_differ(tmp_path):
    (tmp_path / "labels.txt").write_text("road #804080\nplants #008000\n")
    assert find_class_list(tmp_path).label_set.palette.tolist() == [[128, 64, 128], [0, 128, 0]]
    (tmp_path / "labels.txt").write_text("road\nplants\n")
    assert len({tuple(colour) for colour in find_class_list(tmp_path).label_set.palette.tolist()}) == 2


def test_background_is_drawn_in_a_dull_colour_wherever_it_stands(tmp_path):
    (tmp_path / "labels.txt").write_text("leaf\nBackground\nstem\n")
    colours = find_class_list(tmp_path).label_set.palette.astype(int)
    colourful = colours.max(axis=1) - colours.min(axis=1) > 60
    assert colourful.tolist() == [True, False, True] and colours[1].min() > 0  # black is what is ignored


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("labels.txt", "road #804080\nsky\n", "gives a colour on 1 of 2 lines"),
        ("labels.txt", "1 road\n1 sky\n", "gives the value 1 twice"),
        ("labels.txt", "road #808080\nsky #808080\n", "gives the colour #808080 twice"),
        ("labels.txt", "70000 road\n1 sky\n", "'70000' is no value from 0 to 65535"),
        ("labelmap.txt", "road\n", "the line 'road' is not name:red,green,blue::"),
        ("labelmap.txt", "road:1,2::\n", "'1,2' is no colour of three numbers"),
        ("_classes.csv", "Pixel Value, Class\n1\n", "the line '1' is not value,name"),
        ("class_dict.csv", "r,g,b\n1,2,3\n", "its first line must be name,r,g,b"),
        ("label_colors.txt", "1 2 3\n", "the line '1,2,3' is not red green blue name"),
    ],
)
def test_a_list_that_is_not_in_its_form_is_refused_with_the_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=rf"{name} .*{message}"):
        find_class_list(tmp_path)

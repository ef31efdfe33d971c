"""COCO's run lengths and boxes. The expected strings are pycocotools 2.0's."""

import numpy as np
import pytest

from ms_seg.data.coco.codecs import box_of, boxes_and_masks, decode_mask, encode_mask

Y, X = np.mgrid[:60, :80]
DISC = (X - 40) ** 2 + (Y - 30) ** 2 < 500


@pytest.mark.parametrize(
    ("mask", "counts"),
    [
        (np.zeros((4, 5), bool), "d0"),
        (np.ones((4, 5), bool), "0d0"),
        (
            DISC,
            "cR17a18J4L4L4M2N2N2N2N2O0O2O0O2O0O2O00000O2O000000000001N1000001N101N101N101N2N2N2N2N3L4L4L6HUo0",
        ),
        (((X * Y) % 7 == 0)[:9, :11], "0:6GK050K050K050K050K050K95GK050K050K"),
    ],
    ids=["nothing", "everything", "disc", "stripes"],
)
def test_counts_are_pycocotools(mask, counts):
    assert encode_mask(mask) == {"size": list(mask.shape), "counts": counts}
    assert np.array_equal(decode_mask({"size": list(mask.shape), "counts": counts}), mask)


def test_a_label_map_gives_the_box_and_the_mask_of_each_class():
    labels = np.random.default_rng(0).integers(0, 4, (37, 23)).repeat(5, axis=0)
    labels[:40, 3:] = labels[:, :2] = 1
    for index, (box, encoded) in zip((2, 0, 1), boxes_and_masks(labels, [2, 0, 1]), strict=True):
        assert encoded == encode_mask(labels == index)
        assert box == box_of(labels == index)


def test_a_class_that_is_not_in_a_label_map_has_an_empty_box_and_mask():
    labels = np.random.default_rng(0).integers(0, 4, (37, 23))
    nothing = ([0, 0, 0, 0], encode_mask(labels == 300))
    assert boxes_and_masks(labels, [300, 2, 7]) == [nothing, *boxes_and_masks(labels, [2]), nothing]


@pytest.mark.parametrize("index", [0, 1])
def test_a_picture_of_one_class_is_its_box(index: int):
    assert boxes_and_masks(np.full((4, 5), index, np.int32), [index]) == [
        ([0, 0, 5, 4], {"size": [4, 5], "counts": "0d0"})
    ]


@pytest.mark.parametrize("corner", [(0, 0), (3, 0), (0, 4), (3, 4)])
def test_a_part_of_a_picture_is_encoded_as_the_whole(corner: tuple[int, int]):
    """In parts of full height too, where a run goes on from the last row to the first of the next column."""
    generator, (top, left) = np.random.default_rng(0), corner
    for size in ((9, 14), (6, 14)):
        part = generator.random((9 - top if size[0] == 9 else 2, 7)) < 0.7
        picture = np.zeros(size, bool)
        picture[top : top + len(part), left : left + 7] = part
        assert encode_mask(part, size, corner) == boxes_and_masks(picture.view(np.uint8), [1])[0][1]


def test_counts_that_do_not_fill_the_mask_are_refused():
    for counts in ("d0", "", "P"):
        with pytest.raises(ValueError, match="do not fill"):
            decode_mask({"size": [4, 6], "counts": counts})


def test_large_runs_survive():
    mask = np.zeros((3000, 2000), bool)
    mask[:, 500:1999] = True
    assert np.array_equal(decode_mask(encode_mask(mask)), mask)


def test_a_box_is_the_tightest_around_a_mask():
    mask = np.zeros((20, 30), bool)
    mask[5:7, 11:16] = mask[9, 3] = True
    assert box_of(mask) == [3, 5, 13, 5]

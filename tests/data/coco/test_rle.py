"""COCO run lengths. The expected strings are pycocotools 2.0's."""

import numpy as np
import pytest

from ms_seg.data.coco.rle import decode_mask, encode_labels, encode_mask

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


def test_a_label_map_gives_the_mask_of_each_class():
    labels = np.random.default_rng(0).integers(0, 4, (37, 23)).repeat(5, axis=0)
    for index, encoded in zip((2, 0, 7), encode_labels(labels, [2, 0, 7]), strict=True):
        assert encoded == encode_mask(labels == index)


def test_counts_that_do_not_fill_the_mask_are_refused():
    for counts in ("d0", "", "P"):
        with pytest.raises(ValueError, match="do not fill"):
            decode_mask({"size": [4, 6], "counts": counts})


def test_large_runs_survive():
    mask = np.zeros((3000, 2000), bool)
    mask[:, 500:1999] = True
    assert np.array_equal(decode_mask(encode_mask(mask)), mask)

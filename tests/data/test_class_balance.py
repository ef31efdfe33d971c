"""Weights of classes from how often they are met."""

from __future__ import annotations

import numpy as np

from ms_seg.data.class_balance import median_frequency
from ms_seg.data.datasets import open_dataset
from tests.data.small_datasets import write_ade20k, write_labels


def test_a_weight_is_the_median_of_the_frequencies_over_the_classs_own(tmp_path):
    root = write_ade20k(tmp_path, count=2)
    one, two = np.zeros((20, 30)), np.zeros((20, 30))
    one[:10], one[10:15] = 1, 2  # 300 and 150 of 450 pixels that count
    two[:2], two[2:] = 1, 3  # 60 and 540 of 600
    for number, values in enumerate((one, two)):
        write_labels(root / f"annotations/training/ADE_{number:08}.png", values)
    frequencies = np.array([360 / 1050, 150 / 450, 540 / 600])
    expected = np.median(frequencies) / frequencies
    weights = median_frequency(open_dataset("ade20k", root, "training"), 151)
    assert np.allclose(weights[:3], expected, rtol=1e-5) and weights[3:] == (1.0,) * 148

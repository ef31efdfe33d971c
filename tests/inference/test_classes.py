"""Which classes a network tells apart, and whether they are a dataset's."""

import numpy as np
import pytest

from ms_seg.inference.networks import check_classes
from ms_seg.label_sets import LabelSet, numbered_labels, read_labels


def test_a_model_of_these_classes_fits_and_may_have_one_output_more():
    check_classes("ade20k", 150, read_labels("ade20k"), "semantic", "a_model")
    check_classes("cocostuff164k", 172, read_labels("cocostuff164k"), "semantic", "a_model")


def test_a_model_of_other_classes_is_refused():
    sentence = r"a_model tells ade20k's 150 classes apart \(wall, .*, and the dataset has 171 others \(person, "
    with pytest.raises(ValueError, match=sentence):
        check_classes("ade20k", 150, read_labels("cocostuff164k"), "semantic", "a_model")


def test_a_model_without_names_needs_as_many_outputs_as_there_are_classes():
    check_classes(None, 4, numbered_labels(4), "semantic", "a_model")
    with pytest.raises(ValueError, match="a_model has 4 classes, and the dataset has 5"):
        check_classes(None, 4, numbered_labels(5), "semantic", "a_model")


def test_a_model_of_a_persons_own_classes_fits_them_alone():
    palette = np.zeros((2, 3), np.uint8)
    own = LabelSet(("cat", "dog"), palette)
    check_classes(own, 2, LabelSet(("cat", "dog"), palette), "semantic", "a_model")
    with pytest.raises(ValueError, match=r"tells 2 classes apart \(cat, dog\), and the dataset has 2 others"):
        check_classes(own, 2, LabelSet(("dog", "cat"), palette), "semantic", "a_model")


def test_of_instances_only_the_things_must_fit():
    things = read_labels("coco_things")
    check_classes("coco_panoptic", 133, things, "instance", "a_model")
    with pytest.raises(ValueError, match="coco_panoptic's 133 classes apart .* has 80 others"):
        check_classes("coco_panoptic", 133, things, "panoptic", "a_model")

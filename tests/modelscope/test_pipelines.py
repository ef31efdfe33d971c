"""What `pipeline`, `MsDataset` and `build_trainer` take, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ms_seg.label_sets import numbered_labels
from ms_seg.modelscope import (
    MsDataset,
    OutputKeys,
    Tasks,
    Trainers,
    build_trainer,
    pipeline,
    semantic_seg_masks_to_image,
)
from ms_seg.modelscope.pipelines import EASYCV_PANOPTIC, EASYCV_SEMANTIC, PANOPTIC, SEMANTIC, TEXT_DRIVEN, kind_of
from ms_seg.presets import ASSETS, find_preset
from tests.toy_model import QUERY_PRESET, ColourQueries, StrongestChannel

RED, GREEN = (200, 0, 0), (0, 200, 0)
NAMES = numbered_labels(3).names


@pytest.fixture
def picture(tmp_path):
    """Red above green, to be turned by a quarter; without its EXIF tag it stays as it is."""
    pixels = np.repeat(np.array([RED, GREEN], np.uint8), 32, axis=0)[:, None].repeat(48, axis=1)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    return tmp_path / "turned.png"


@pytest.fixture(scope="module")
def segmenter():
    """The pipeline of SegFormer, around a network that names the strongest of red, green and blue."""
    return pipeline(Tasks.image_segmentation, StrongestChannel(), mode="pynative")


@pytest.fixture(scope="module")
def panoptic():
    return pipeline(Tasks.image_segmentation, ColourQueries(QUERY_PRESET), mode="pynative")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("segformer_b3_cocostuff164k", EASYCV_SEMANTIC),
        ("mask2former_r50_coco_panoptic", EASYCV_PANOPTIC),
        ("mask2former_swin_l_coco_panoptic", PANOPTIC),
        ("vit_adapter_beit_l_cocostuff164k", SEMANTIC),
        ("lseg_vitl16_text_driven", TEXT_DRIVEN),
    ],
)
def test_each_published_model_has_its_pipeline(name, kind):
    assert kind_of(find_preset(name)) is kind


def test_easycvs_pipeline_gives_classes_from_above_as_int32(segmenter, picture):
    result = segmenter(str(picture))
    assert [mask.dtype for mask in result[OutputKeys.MASKS]] == [np.int32] * 2
    assert [np.unique(mask[:32]).tolist() for mask in result["masks"]] == [[0], [1]]  # green is class 1, red 0
    assert result["scores"] == [0.999, 0.999] and len(result["confidences"]) == 2


def test_easycvs_pipeline_leaves_a_picture_unturned_and_takes_arrays_as_rgb(segmenter, picture):
    from_file, from_array = segmenter(str(picture)), segmenter(np.array(Image.open(picture)))
    assert from_file["masks"][0].shape == (64, 48)
    np.testing.assert_array_equal(from_file["masks"], from_array["masks"])


def test_easycvs_pipeline_takes_a_pillow_images_red_for_blue_and_says_so(segmenter, picture, caplog):
    labels = segmenter(Image.open(picture))["labels"]
    assert labels == [NAMES[2], NAMES[1]]  # blue for red, and green
    assert "takes a Pillow image's red for blue" in caplog.text


def test_easycvs_pipeline_gives_the_first_of_a_list_and_says_so(segmenter, picture, caplog):
    red = np.full((32, 32, 3), RED, np.uint8)
    assert len(segmenter([red, str(picture)])["labels"]) == 1
    assert "the result of a list's first picture alone" in caplog.text
    with pytest.raises(ValueError, match="the list of pictures is empty"):
        segmenter([])


def test_other_pipelines_turn_a_picture_and_take_arrays_as_bgr(panoptic, picture):
    from_file = panoptic(str(picture))
    upright = np.array(Image.open(picture).transpose(Image.Transpose.ROTATE_270))
    from_array = panoptic(upright[..., ::-1])
    assert from_file["masks"][0].shape == (48, 64)
    assert from_file["labels"] == from_array["labels"]
    np.testing.assert_array_equal(from_file["masks"], from_array["masks"])
    assert [result["labels"] for result in panoptic([str(picture)])] == [from_file["labels"]]


def test_nothing_found_is_empty_lists(panoptic):
    result = panoptic(np.zeros((32, 32, 3), np.uint8))
    assert result == {"masks": [], "labels": [], "scores": [], "confidences": []}


def test_a_dataset_is_answered_one_by_one(segmenter, tmp_path):
    for name, colour in (("b", GREEN), ("a", RED)):
        Image.new("RGB", (32, 32), colour).save(tmp_path / f"{name}.png")
    dataset = MsDataset.load(str(tmp_path), target="InputImage:FILE")
    results = segmenter(dataset)
    assert iter(results) is results
    assert [result["labels"] for result in results] == [[NAMES[0]], [NAMES[1]]]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (7, "int is no picture|int is not a picture"),
        ("nothing.jpg", "there is no picture nothing.jpg"),
        (np.zeros((4, 4, 4), np.uint8), r"the array is uint8 \(4, 4, 4\)"),
        ("http://127.0.0.1:1/a.jpg", "cannot be fetched"),
    ],
)
def test_what_is_no_picture_is_refused(segmenter, given, sentence):
    with pytest.raises(ValueError, match=sentence):
        segmenter(given)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"model": None}, "model must be named"),
        ({"model": "segformer_tiny_shapes", "preprocessor": object()}, "preprocessor and config_file must be left out"),
        (
            {"model": "segformer_tiny_shapes", "task": Tasks.text_driven_segmentation},
            "is a model for image-segmentation",
        ),
        ({"model": "segformer_tiny_shapes", "device": "tpu"}, "device must be cpu, gpu or cuda"),
        ({"model": "segformer_b0_ade20k"}, "needs its weights"),
    ],
)
def test_a_pipeline_that_cannot_be_is_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        pipeline(**{"task": Tasks.image_segmentation, **arguments})


def test_a_pipeline_of_words_asks_for_both_of_its_inputs():
    words = pipeline(Tasks.text_driven_segmentation, "lseg_tiny_shapes", mode="pynative")
    for given in ("a.png", {"image": "a.png"}, {"text": "sea"}, {"image": "a.png", "text": 7}):
        with pytest.raises(ValueError, match='the input must be {"image": a picture, "text": a word}'):
            words(given)


def test_masks_are_drawn_by_their_places_and_later_ones_cover():
    first, second = np.array([[1, 1, 0]]), np.array([[0, 1, 0]])
    image = semantic_seg_masks_to_image([first, second])
    assert image.tolist() == [[[220, 20, 60], [119, 11, 32], [0, 0, 0]]]  # COCO's person and bicycle
    for count in (0, 134):
        with pytest.raises(ValueError, match=f"{count} masks cannot be drawn"):
            semantic_seg_masks_to_image([first] * count)


# ------------------------------------------------------------------------------------------------------------ MsDataset


def test_a_table_beside_the_files_is_a_dataset(tmp_path):
    (tmp_path / "validation.csv").write_text("InputImage:FILE,Label\nimages/a.jpg,sea\n", encoding="utf-8")
    rows = MsDataset.load(str(tmp_path), split="validation")
    assert list(rows) == [{"InputImage:FILE": str((tmp_path / "images/a.jpg").resolve()), "Label": "sea"}]
    assert list(MsDataset.load(str(tmp_path), split="validation", target="Label")) == ["sea"]
    with pytest.raises(ValueError, match="has no column Score: it has InputImage:FILE, Label"):
        MsDataset.load(str(tmp_path), split="validation", target="Score")[0]


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (b"InputImage:FILE\n../../etc/passwd\n", "which is not in its folder"),
        (b"InputImage:FILE\n\xff\n", "is no table of commas"),
        (b'InputImage:FILE\n"a\n', "is no table of commas"),
    ],
)
def test_a_table_is_not_believed(tmp_path, table, sentence):
    (tmp_path / "train.csv").write_bytes(table)
    with pytest.raises(ValueError, match=sentence):
        len(MsDataset.load(str(tmp_path), split="train"))


def test_a_list_is_a_dataset_and_a_folder_without_pictures_is_none(tmp_path):
    assert list(MsDataset.load(["a", "b"])) == ["a", "b"]
    with pytest.raises(ValueError, match="there are no pictures in"):
        len(MsDataset.load(str(tmp_path), split="train"))


# -------------------------------------------------------------------------------------------------------- build_trainer


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": ""}, "model must be named"),
        ({"train_dataset": None}, "train_dataset must be a dataset in a folder"),
        ({"train_dataset": MsDataset.load(["a"])}, "train_dataset must be a dataset in a folder"),
        ({"eval_dataset": MsDataset(ASSETS.parent)}, "must be splits in one folder"),
        ({"cfg_options": {"train.lr": 1}}, "train.lr is no option that is known here"),
        ({"max_epochs": 0}, "train.max_epochs must be a whole number from 1"),
    ],
)
def test_a_trainer_that_cannot_be_is_refused(changes, sentence):
    dataset = MsDataset(ASSETS)
    arguments = {"model": "segformer_tiny_shapes", "train_dataset": dataset, "eval_dataset": dataset, **changes}
    with pytest.raises(ValueError, match=sentence):
        build_trainer(Trainers.easycv, arguments)


def test_another_trainer_is_refused():
    with pytest.raises(ValueError, match="there is no trainer 'nlp-base-trainer'"):
        build_trainer("nlp-base-trainer", {})


# -------------------------------------------------------------------------------------------------------------- folders

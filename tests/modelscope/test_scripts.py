"""Scripts as the cards of ModelScope's models have them: by ids, from its hub to files and to a trained model."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import ms_seg
from ms_seg import modelscope
from ms_seg.distributed import World
from ms_seg.hub.modelscope import cache_folder
from ms_seg.modelscope import DownloadMode, MsDataset, OutputKeys, Tasks, Trainers, build_trainer, pipeline
from ms_seg.presets import ASSETS, PRESETS, find_preset
from tests.data.small_datasets import write_folder
from tests.hub.servers import Hub, ask_modelscope, serving

# What stands in for each model of the hub: one of the drawn world, and its file there.
MODELS = {
    "damo/cv_segformer-b0_image_semantic-segmentation_coco-stuff164k": ("segformer_tiny_shapes", "pytorch_model.pt"),
    "damo/cv_swinL_panoptic-segmentation_cocopan": ("mask2former_tiny_shapes", "pytorch_model.pt"),
    "damo/cv_vitl16_segmentation_text-driven-seg": ("lseg_tiny_shapes", "pytorch_model.bin"),
}
SEGFORMER, PANOPTIC, WORDS = MODELS
PICTURE = (ASSETS / "shapes_1.png").read_bytes()


@pytest.fixture(scope="module", autouse=True)
def hub(tmp_path_factory):
    """ModelScope's hub on this machine, with small models under the published ids, and a picture to be fetched."""
    files = {"files": {"street.png": PICTURE}}
    with pytest.MonkeyPatch.context() as monkeypatch:
        for id_, (name, file) in MODELS.items():
            preset = find_preset(name)
            (published,) = (row.name for row in PRESETS.values() if any(entry.id == id_ for entry in row.published))
            monkeypatch.setitem(PRESETS, published, replace(preset, name=published))
            files[id_] = {file: preset.embedded.read_bytes(), "configuration.json": b"{}", "demo.jpg": b"not needed"}
        merges = (ASSETS / "merges.txt").read_bytes()
        files[WORDS]["bpe_simple_vocab_16e6.txt.gz"] = gzip.compress(merges)
        with serving(Hub(files)) as hub:
            ask_modelscope(monkeypatch, hub.url, tmp_path_factory.mktemp("modelscope"))
            yield hub


@pytest.fixture
def url(hub):
    return f"{hub.url}/files/street.png"


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_semantic_segmentation_of_an_address(url):
    segmenter = pipeline(Tasks.image_segmentation, SEGFORMER, mode="pynative")
    result = segmenter(url)
    model = ms_seg.create_model("segformer_tiny_shapes", ASSETS / "segformer_tiny_shapes.pth")
    answer = ms_seg.Segmenter(model, "pynative")(ASSETS / "shapes_1.png")
    assert list(result) == ["masks", "labels", "scores", "confidences"]
    assert sorted(result["labels"]) == sorted(answer.labels)
    assert result["scores"] == [0.999] * len(answer.labels)
    places = [answer.labels.index(label) for label in result["labels"]]
    np.testing.assert_array_equal(np.stack(result["masks"]), answer.masks[places])
    np.testing.assert_allclose(result["confidences"], answer.scores[places])


@pytest.fixture(scope="module")
def panoptic(hub):
    return pipeline(Tasks.image_segmentation, model=PANOPTIC, mode="pynative")


def test_panoptic_segmentation_is_drawn_into_a_file(panoptic, url, work):
    masks = panoptic(url)[OutputKeys.MASKS]
    cv2.imwrite("result.jpg", modelscope.panoptic_seg_masks_to_image(masks))
    assert cv2.imread("result.jpg").shape == (*masks[0].shape, 3)


def test_a_picture_of_a_dataset_is_segmented(panoptic):
    with pytest.raises(
        ValueError, match="put it into .*datasets/modelscope/COCO_segmentation_inference, or pass"
    ) as said:
        MsDataset.load("COCO_segmentation_inference", namespace="modelscope", split="validation")
    folder = Path(str(said.value).partition("put it into ")[2].partition(",")[0])
    folder.mkdir(parents=True)
    (folder / "1.png").write_bytes(PICTURE)
    dataset = MsDataset.load(
        "COCO_segmentation_inference", namespace="modelscope", split="validation",
        download_mode=DownloadMode.FORCE_REDOWNLOAD,
    )  # fmt: skip
    result = panoptic(dataset[0]["InputImage:FILE"])
    assert modelscope.semantic_seg_masks_to_image(result[OutputKeys.MASKS]).dtype == np.float64


def test_text_driven_segmentation_writes_its_mask(url):
    segmenter = pipeline(Tasks.text_driven_segmentation, model=WORDS, mode="pynative")
    result = segmenter({"image": url, "text": "circle"})
    cv2.imwrite("mask.png", result[OutputKeys.MASKS])
    assert set(np.unique(cv2.imread("mask.png", cv2.IMREAD_GRAYSCALE))) == {0, 255}


def test_each_model_was_fetched_once_and_nothing_that_is_not_needed(hub):
    models = [name for name in hub.files if name not in ("configuration.json", "street.png")]
    assert sorted(models) == [
        "bpe_simple_vocab_16e6.txt.gz",
        "pytorch_model.bin",
        "pytorch_model.pt",
        "pytorch_model.pt",
    ]


@pytest.fixture
def begun(work, monkeypatch):
    """What trainings were begun with, up to the loop, which is the command's; and the arguments of a card's script."""
    folder = cache_folder() / "datasets" / "damo" / "coco_stuff164k"
    if not folder.exists():
        parts = [f"{split}/{number}" for split in ("training", "validation") for number in range(5)]
        folder.parent.mkdir(parents=True)
        write_folder(folder, ["sea", "sky"], dict.fromkeys(parts, [0, 1]))
    begun: list = []
    monkeypatch.setattr("ms_seg.training.run.train", lambda *given, **named: begun.append(given))
    arguments = {
        key: MsDataset.load(dataset_name="coco_stuff164k", namespace="damo", split=split)
        for key, split in (("train_dataset", "train"), ("eval_dataset", "validation"))
    }
    return begun, arguments | {"model": SEGFORMER, "work_dir": str(work / "run")}


def test_a_model_is_trained_from_its_id_on_a_dataset_in_its_place(begun, work):
    """The model, the pictures, and the numbers that EasyCV's options mean."""
    begun, arguments = begun
    options = {"train.max_epochs": 2, "train.dataloader.batch_size_per_gpu": 3, "train.optimizer.lr": 1e-4}
    build_trainer(Trainers.easycv, {**arguments, "cfg_options": options, "seed": 3}).train()
    ((model, (training,), validation, recipe, output),) = begun
    assert model.preset.label_set.names == ("sea", "sky") and "damo--cv_segformer-b0" in model.checkpoint
    assert len(training) == len(validation) == 5 and training.picture(0).shape == (20, 30, 3)
    assert (recipe.steps, recipe.validate_every, recipe.batch_size) == (4, 2, 3)  # two epochs of two steps
    assert (recipe.learning_rate, recipe.seed, output) == (1e-4, 3, work / "run")


def test_without_options_a_process_trains_on_as_many_pictures_as_one_of_easycvs(begun, caplog):
    begun, arguments = begun
    build_trainer(Trainers.easycv, arguments).train()
    ((_, _, _, recipe, _),) = begun
    assert (recipe.batch_size, recipe.steps, recipe.validate_every) == (2, 50, 2)  # 20 epochs of 5 pictures
    assert "20 epochs, 2 pictures a step in each process: train.max_epochs and train.dataloader" in caplog.text


def test_a_models_own_configuration_says_its_epochs_and_pictures(begun, work, monkeypatch):
    begun, arguments = begun
    (work / "model").mkdir()
    (work / "model/pytorch_model.pt").write_bytes(find_preset("segformer_tiny_shapes").embedded.read_bytes())
    said = {"max_epochs": 4, "dataloader": {"batch_size_per_gpu": 5}, "optimizer": {"lr": 0.002}}
    (work / "model/configuration.json").write_text(json.dumps({"train": said}))
    arguments |= {"model": str(work / "model"), "cfg_options": {"train.max_epochs": 3}}
    monkeypatch.setenv("MS_ROLE", "MS_WORKER")
    monkeypatch.setenv("MS_WORKER_NUM", "2")
    monkeypatch.setattr("ms_seg.commands.train.start", lambda device: World(0, 1, []))
    build_trainer(Trainers.easycv, arguments).train()
    ((_, _, _, recipe, _),) = begun
    assert (recipe.batch_size, recipe.steps, recipe.learning_rate) == (10, 2, 0.002)
    (work / "model/configuration.json").write_text(json.dumps({"train": {"max_epochs": "many"}}))
    with pytest.raises(ValueError, match="train.max_epochs of .*configuration.json must be a whole number from 1"):
        build_trainer(Trainers.easycv, arguments | {"cfg_options": {}}).train()


def test_an_embedded_model_is_trained_by_its_name(begun):
    begun, arguments = begun
    build_trainer(Trainers.easycv, arguments | {"model": "segformer_tiny_shapes"}).train()
    ((model, *_),) = begun
    assert model.preset.name == "segformer_tiny_shapes" and model.checkpoint


def test_a_model_of_words_is_not_easycvs(begun):
    with pytest.raises(ValueError, match="trains SegFormer and Mask2Former: lseg_tiny_shapes is neither"):
        build_trainer(Trainers.easycv, begun[1] | {"model": "lseg_tiny_shapes"}).train()

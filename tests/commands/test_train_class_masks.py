"""`python -m ms_seg train` of a model of queries on label maps: the dataset's kind decides what it learns."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

import ms_seg
from ms_seg.__main__ import main
from ms_seg.presets import ASSETS, TASKS, find_preset
from ms_seg.training.step import TrainStep
from tests.commands.broken_datasets import CLASS_NAMES, write_dataset

MODEL = "mask2former_tiny_shapes"
PUBLISHED = ASSETS / f"{MODEL}.ckpt"
QUICK = ["--steps", "2", "--batch-size", "2", "--crop-size", "32", "--workers", "0", "--keep-every", "2"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset("folder", tmp_path_factory.mktemp("data") / "garden")


def run(output: Path, *more: object, dataset: str = "folder") -> int:
    options = ["--model", MODEL, "--dataset", dataset, "--output", output, *more]
    return main(["train", *map(str, options)])


def said(capfd: pytest.CaptureFixture) -> str:
    return [line for line in capfd.readouterr().err.splitlines() if line.startswith("ms_seg train: ")][-1]


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list]:
    """A checkpoint, and the batches of its steps, which compute nothing."""
    given: list = []
    folder = tmp_path_factory.mktemp("runs") / "run"
    more = ("--data", data, "--checkpoint", PUBLISHED, "--short-side", 48, "--validate-every", 2, *QUICK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainStep, "__call__", lambda self, step, batch: given.append(batch) or 1.5)
        assert run(folder, *more) == 0
    return folder / "checkpoints" / "00000002" / "model.ckpt", given


def test_the_steps_see_a_mask_for_each_class_in_a_label_map(trained: tuple[Path, list]):
    _, batches = trained
    assert len(batches) == 2
    for images, labels, masks in batches:
        assert (images.shape, labels.shape, masks.shape) == ((2, 3, 32, 32), (2, 16), (2, 16, 32, 32))
        counts = (labels >= 0).sum(1)
        assert set(labels[labels >= 0]) <= {0, 1, 2} and counts.all()
        assert (masks.sum(1) <= 1).all() and masks[:, :3].any() and not masks[:, counts.max() :].any()


def test_a_run_is_scored_by_miou_and_draws_it(trained: tuple[Path, list]):
    run = trained[0].parents[2]
    scores = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["mIoU"] for line in scores if "mIoU" in line] and "PQ" not in scores[-1]
    assert (run / "validation" / "00000002.png").read_bytes()


def test_what_learned_label_maps_answers_them_alone_at_the_scale_of_its_training(trained: tuple[Path, list]):
    preset = ms_seg.create_model("auto", trained[0]).preset
    assert (preset.name, preset.tasks, preset.label_set.names) == (MODEL, ("semantic",), CLASS_NAMES)
    assert (preset.preprocessing.short_side, preset.preprocessing.long_side) == (48, 160)
    answer = ms_seg.Segmenter(ms_seg.create_model("auto", trained[0]))(np.zeros((40, 56, 3), np.uint8))
    assert answer.label_map.shape == (40, 56)
    with pytest.raises(ValueError, match=f"{MODEL} gives semantic answers and no panoptic ones"):
        ms_seg.Segmenter(ms_seg.create_model("auto", trained[0]), task="panoptic")


def test_a_model_that_learned_label_maps_learns_things_again(trained: tuple[Path, list], untrained, tmp_path: Path):
    assert run(tmp_path / "again", "--checkpoint", trained[0], "--pictures", 2, dataset="shapes_panoptic") == 0
    preset = untrained[0][0][0].preset
    assert (preset.tasks, preset.label_set) == (TASKS, "shapes")


def test_the_recipe_is_the_models_own(untrained, tmp_path: Path):
    assert run(tmp_path / "run", "--pictures", 2, dataset="shapes") == 0
    (model, _, _, recipe, _), _ = untrained[0]
    assert asdict(recipe) == asdict(find_preset(MODEL).recipe)
    assert (model.preset.tasks, model.preset.label_set) == (("semantic",), "shapes")


def test_pictures_can_be_augmented_as_mmsegmentation_does(data: Path, untrained, tmp_path: Path):
    numbers = ("--augmentation", "mmseg", "--photometric", "true", "--cat-max-ratio", "0.75")
    assert run(tmp_path / "run", *numbers, "--data", data) == 0
    recipe = untrained[0][0][3]
    assert (recipe.augmentation, recipe.photometric, recipe.cat_max_ratio) == ("mmseg", True, 0.75)


def test_one_dataset_teaches_it_at_a_time(tmp_path: Path, capfd):
    assert run(tmp_path / "run", "--dataset", "shapes_panoptic", dataset="shapes") == 2
    assert said(capfd).startswith(f"ms_seg train: {MODEL} has classes of its own: 2 datasets are for a model that")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("tasks", "sentence"),
    [
        ('["panoptic"]', f"{MODEL} learns panoptic segmentation, and shapes is for semantic"),
        ('["semantic"]', "tasks cannot be overridden: it follows from the dataset and the recipe"),
        ("semantic", f"tasks must list some of panoptic, instance, semantic for {MODEL}: 'semantic' does not"),
        ("3", f"tasks must list some of panoptic, instance, semantic for {MODEL}: 3 does not"),
    ],
)
def test_its_tasks_follow_from_the_dataset(tmp_path: Path, capfd, tasks: str, sentence: str):
    assert run(tmp_path / "run", "--pictures", 2, "--override", f"tasks={tasks}", dataset="shapes") == 2
    assert said(capfd) == f"ms_seg train: {sentence}"
    assert not (tmp_path / "run").exists()

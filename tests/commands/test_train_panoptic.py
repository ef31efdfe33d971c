"""`python -m ms_seg train` on panoptic maps: what it says, records, refuses, and leaves for `segment`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import ms_seg
from ms_seg.__main__ import main
from ms_seg.training.step import TrainStep
from tests.data.panoptic_files import CATEGORIES, in_quarters, segment, write_coco_panoptic

MODEL = "mask2former_tiny_shapes"
SMALL = ["--override", "depths=[1,1,1,1]", "--override", "query_layers=1", "--override", "pixel_layers=1"]
QUICK = ["--steps", "2", "--batch-size", "2", "--crop-size", "32", "--workers", "0", "--keep-every", "1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """COCO's folders with classes of a person's own: a cat, a crowd of dogs, grass and sky."""
    root = tmp_path_factory.mktemp("data") / "coco"
    ids = in_quarters((1, 2, 3, 4))
    ids[:, :2] = 0
    rows = zip((1, 2, 3, 4), (3, 7, 92, 199), strict=True)
    rows = [segment(number, category, int(number == 2), area=int((ids == number).sum())) for number, category in rows]
    for part in ("train2017", "val2017"):
        write_coco_panoptic(root, [(ids, rows)] * 3, part)
    return root


def run(output: Path, *more: object, model: str = MODEL, dataset: str = "shapes_panoptic") -> int:
    options = ["--model", model, "--dataset", dataset, "--output", output, *more]
    return main(["train", *map(str, options)])


def said(capfd: pytest.CaptureFixture) -> str:
    return [line for line in capfd.readouterr().err.splitlines() if line.startswith("ms_seg train: ")][-1]


def test_what_the_maps_hold_is_said_before_the_first_step(untrained, data, tmp_path, capfd):
    assert run(tmp_path / "run", "--data", data, dataset="coco_panoptic") == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[1:4] == [  # below what the weights are
        "3 pictures, 3 classes of things and 2 of stuff; 3 read",
        "3.0 segments a picture; 6.7% of the pixels are void",
        "3 crowds, which are no target",
    ]
    assert lines[-1] == "validation: 3 pictures, 3 classes of things and 2 of stuff; 3 read"  # else as above
    (model, (training,), validation, recipe, _), _ = untrained[0]
    assert (len(training), len(validation), recipe.augmentation) == (3, 3, "lsj")
    assert model.preset.arguments["num_classes"] == 5
    labels = model.preset.label_set
    assert labels.ids == tuple(category["id"] for category in CATEGORIES)
    assert labels.things == tuple(category["isthing"] == 1 for category in CATEGORIES)


def test_the_published_classes_stay_the_models_own_and_pictures_keep_its_size(untrained, tmp_path):
    assert run(tmp_path / "run", "--pictures", 2, "--override", "queries=5") == 0
    preset = untrained[0][0][0].preset
    assert (preset.label_set, preset.arguments["queries"]) == ("shapes", 5)
    assert preset.preprocessing.long_side == 2048  # where training resizes to 160


@pytest.mark.parametrize(
    ("model", "dataset", "sentence"),
    [
        ("segformer_tiny_shapes", "shapes_panoptic", "segformer_tiny_shapes learns semantic segmentation, and"),
        ("lseg_tiny_shapes", "shapes_panoptic", "lseg_tiny_shapes learns semantic segmentation, and"),
    ],
)
def test_a_dataset_for_another_task_is_refused(untrained, tmp_path, capfd, model, dataset, sentence):
    assert run(tmp_path / "run", model=model, dataset=dataset) == 2
    assert said(capfd).startswith(f"ms_seg train: {sentence}")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--milestones", "0.9,0.5", "milestones must be growing fractions of the run, 0 to 1: (0.9, 0.5) are not"),
        ("--milestones", "0.9,1.5", "milestones must be growing fractions of the run, 0 to 1: (0.9, 1.5) are not"),
        ("--max-targets", "0", "max_targets must be 1 to 255: 0 is not"),
        ("--importance", "1.5", "importance must be 0 to 1: 1.5 is not"),
        (
            "--photometric",
            "true",
            "photometric must be false and cat_max_ratio 1 for augmentation lsj: it does neither",
        ),
    ],
)
def test_a_number_that_no_run_can_have_is_refused(untrained, tmp_path, capfd, option, value, sentence):
    assert run(tmp_path / "run", "--pictures", 2, option, value) == 2
    assert said(capfd).startswith(f"ms_seg train: {sentence}")


def test_pictures_of_label_maps_are_not_for_masks(tmp_path, capfd):
    assert run(tmp_path / "run", "--pictures", 2, *SMALL, "--augmentation", "lang_seg") == 2
    assert "augmentation is 'lang_seg': pictures of this kind of dataset take lsj or mmseg" in said(capfd)
    cut = ("--augmentation", "mmseg", "--cat-max-ratio", "0.75")
    assert run(tmp_path / "run", "--pictures", 2, *SMALL, *cut) == 2
    assert "cat_max_ratio must be 1, for it is of label maps: 0.75 is not" in said(capfd)


def test_milestones_are_recorded_and_a_run_does_not_go_on_with_others(untrained, tmp_path, capfd):
    small = ("--pictures", 2, *SMALL, "--schedule", "step")
    assert run(tmp_path / "run", *small, "--milestones", "0.5,0.75") == 0
    recorded = json.loads((tmp_path / "run" / "options.json").read_text())
    assert recorded["recipe"]["milestones"] == [0.5, 0.75]
    assert run(tmp_path / "run", *small, "--milestones", "0.5,0.75", "--resume") == 0
    assert run(tmp_path / "run", *small, "--milestones", "0.4", "--resume") == 2
    assert "was begun with milestones [0.5, 0.75], not [0.4]" in said(capfd)


def test_what_was_trained_on_classes_of_a_person_segments_pictures_with_them(data, tmp_path, capfd, monkeypatch):
    batches = []
    monkeypatch.setattr(TrainStep, "__call__", lambda self, step, batch: batches.append(batch) or 1.5)
    more = ("--data", data, "--pictures", 1, *SMALL, *QUICK)
    assert run(tmp_path / "run", *more, dataset="coco_panoptic") == 0
    assert "step 2: PQ 0." in capfd.readouterr().err
    images, labels, masks = batches[0]
    assert [array.shape for array in batches[0]] == [(2, 3, 32, 32), (2, 16), (2, 16, 32, 32)]
    assert (images.dtype, labels.dtype, masks.dtype) == (np.float32, np.int32, np.uint8)
    assert (tmp_path / "run" / "validation" / "00000002.png").read_bytes()
    trained = tmp_path / "run" / "checkpoints" / "00000002" / "model.ckpt"
    sizes = {"num_classes": 5, "depths": (1, 1, 1, 1), "query_layers": 1, "pixel_layers": 1}
    labels = ms_seg.create_model(MODEL, trained, **sizes).preset.label_set
    assert (labels.names, labels.things) == (("cat", "dog", "owl", "grass", "sky"), (True, True, True, False, False))
    assert labels.ids == (3, 7, 8, 92, 199)


def test_a_map_that_breaks_a_later_step_is_named(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(TrainStep, "__call__", lambda self, step, batch: 1.0)
    monkeypatch.setattr("ms_seg.training.tasks.panoptic.preflight_panoptic", lambda dataset, outputs: ["all is well"])
    root, ids = tmp_path / "coco", in_quarters((1, 3, 3, 3))
    for part in ("train2017", "val2017"):
        write_coco_panoptic(root, [(ids, [segment(1, 3), segment(3, 92)])], part)
    broken = root / "annotations" / "panoptic_train2017" / "000000000100.png"
    broken.write_bytes(broken.read_bytes()[:60])
    assert run(tmp_path / "run", "--data", root, *SMALL, *QUICK, dataset="coco_panoptic") == 2
    assert str(broken) in said(capfd)

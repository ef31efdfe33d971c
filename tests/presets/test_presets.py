"""The table of models: its rows agree with themselves, names lead to them, and a structure to no wrong one."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest

from ms_seg.label_sets import read_labels
from ms_seg.presets import PRESETS, TASKS, Preset, Window, find_preset, list_models, preset_for, title_of


@pytest.mark.parametrize("name", PRESETS)
def test_a_row_agrees_with_itself(name: str):
    row = PRESETS[name]
    assert row.name == name
    assert row.tasks == tuple(task for task in TASKS if task in row.tasks) != ()
    assert (row.num_classes is None) == (row.output == "words")
    assert not row.backbone[1].keys() & row.arguments.keys()  # `sizes` would hide one of them
    assert row.licence
    if row.label_set is not None:
        assert isinstance(row.label_set, str)
        assert len(read_labels(row.label_set)) in (row.num_classes, row.num_classes - 1)  # EasyCV's 172nd output


def test_no_two_models_are_published_as_one_file():
    places = Counter((entry.hub, entry.id, entry.file) for row in PRESETS.values() for entry in row.published)
    assert {place for place, count in places.items() if count > 1 and place[2]} == set()


def test_a_file_that_has_its_checksum_in_its_name_is_published_with_it():
    hashed = {"openmmlab": r".*_\d{8}_\d{6}-([0-9a-f]{8})\.pth", "detectron2": r"model_final_([0-9a-f]{6})\.pkl"}
    entries = [entry for row in PRESETS.values() for entry in row.published if entry.hub in hashed]
    assert Counter(entry.hub for entry in entries) == {"openmmlab": 13 + 6 + 22 + 13, "detectron2": 47}
    for entry in entries:
        digits = re.fullmatch(hashed[entry.hub], entry.file)[1]
        if "mmsegmentation/v0.5/mask2former" in entry.id:
            assert not entry.checksum  # the digits are of another file
        else:
            assert entry.checksum == f"{'md5' if entry.hub == 'detectron2' else 'sha256'}:{digits}"


def places(name: str) -> list[str]:
    return [f"{entry.hub}: {entry.id}/{entry.file}" for entry in find_preset(name).published]


def test_the_same_weights_are_one_model_wherever_they_are_published():
    assert places("mask2former_swin_t_coco_panoptic") == [
        "huggingface: facebook/mask2former-swin-tiny-coco-panoptic/",
        "openmmlab: mmdetection/v2.0/mask2former/mask2former_swin-t-p4-w7-224_lsj_8x2_50e_coco-panoptic/"
        "mask2former_swin-t-p4-w7-224_lsj_8x2_50e_coco-panoptic_20220326_224553-fc567107.pth",
        "openmmlab: mmdetection/v3.0/mask2former/mask2former_swin-t-p4-w7-224_8xb2-lsj-50e_coco-panoptic/"
        "mask2former_swin-t-p4-w7-224_8xb2-lsj-50e_coco-panoptic_20220326_224553-3ec9e0ae.pth",
        "detectron2: coco/panoptic/maskformer2_swin_tiny_bs16_50ep/model_final_9fd0ae.pkl",
    ]
    assert places("mask2former_swin_l_mapillary_semantic") == [
        "huggingface: facebook/mask2former-swin-large-mapillary-vistas-semantic/",
        "detectron2: mapillary_vistas/semantic/maskformer2_swin_large_IN21k_384_bs16_300k/model_final_90ee2d.pkl",
    ]
    assert places("segformer_b5_cityscapes_mmseg") == [
        "openmmlab: mmsegmentation/v0.5/segformer/segformer_mit-b5_8x1_1024x1024_160k_cityscapes/"
        "segformer_mit-b5_8x1_1024x1024_160k_cityscapes_20211206_072934-87a052ec.pth"
    ]


@pytest.mark.parametrize(
    ("name", "classes", "queries", "tasks", "sides", "rule"),
    [
        ("mask2former_r50_coco_instance", 80, 100, "instance", (800, 1333), "mmdet"),
        ("mask2former_swin_l_coco_instance", 80, 200, "instance", (800, 1333), "detectron2"),
        ("mask2former_r101_cityscapes_panoptic", 19, 100, "panoptic instance semantic", (1024, 2048), "detectron2"),
        ("mask2former_swin_l_cityscapes_instance", 8, 200, "instance", (1024, 2048), "detectron2"),
        ("mask2former_swin_l_cityscapes_semantic", 19, 100, "semantic", (1024, 2048), "mmseg"),
        ("mask2former_swin_l_ade20k_panoptic", 150, 200, "panoptic instance semantic", (640, 2560), "detectron2"),
        ("mask2former_r50_ade20k_instance", 100, 100, "instance", (640, 2560), "detectron2"),
        ("mask2former_swin_s_ade20k_semantic", 150, 100, "semantic", (512, 2048), "mmseg"),
        ("mask2former_swin_l_ade20k_semantic_mmseg", 150, 100, "semantic", (640, 2560), "mmseg"),
        ("mask2former_r50_ade20k_semantic_easycv", 150, 100, "semantic", (512, 2048), "mmdet"),
        ("mask2former_swin_l_mapillary_panoptic", 65, 200, "panoptic semantic", (2048, 2048), "detectron2_all"),
        ("mask2former_r50_mapillary_semantic", 65, 100, "semantic", (2048, 2048), "mmseg"),
    ],
)
def test_mask2formers_rows_are_those_of_their_configurations(name, classes, queries, tasks, sides, rule):
    row = find_preset(name)
    seen = row.preprocessing
    assert (row.num_classes, row.arguments["queries"], " ".join(row.tasks)) == (classes, queries, tasks)
    assert ((seen.short_side, seen.long_side), seen.query_rule) == (sides, rule)


def test_only_detectron2s_pictures_are_resized_by_pillow_and_mmsegmentations_large_ones_are_not_padded():
    for name in list_models("mask2former_*"):
        row = find_preset(name)
        hubs = {entry.hub for entry in row.published}
        assert (row.preprocessing.resize == "keep_ratio_pil") == (hubs <= {"detectron2", "huggingface"})
        unpadded = name.endswith(("swin_b_ade20k_semantic_mmseg", "in21k_ade20k_semantic_mmseg", "_easycv"))
        assert row.preprocessing.pad_multiple == (1 if unpadded or name.endswith("l_ade20k_semantic_mmseg") else 32)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("segformer_b0", "segformer_b0_cocostuff164k, segformer_b0_ade20k"),
        ("segformer_b5", "segformer_b5_cocostuff164k, segformer_b5_ade20k"),
        ("mask2former_swin_l", "mask2former_swin_l_"),
        ("lseg_vitl16_ade", "lseg_vitl16_ade20k"),
        ("mask2fromer_r50_coco_panoptic", "mask2former_r50_coco_panoptic"),
    ],
)
def test_the_nearest_names_are_those_that_were_begun(name: str, near: str):
    with pytest.raises(ValueError, match=f"there is no model '{name}'; the nearest are {near}"):
        find_preset(name)


def test_models_that_a_file_cannot_tell_apart_are_refused_by_their_names():
    row = find_preset("lseg_vitl16_ade20k")
    with pytest.raises(ValueError, match="can be any of lseg_vitl16_ade20k, lseg_zs_vitl16, .*: name the one that it"):
        preset_for("lseg", row.backbone, row.arguments)
    assert preset_for("lseg", row.backbone, row.arguments, name="lseg_zs_vitl16").name == "lseg_zs_vitl16"


def told_by_shapes(name: str, classes: int | None = None) -> tuple[tuple[str, dict], dict]:
    """A ViT-Adapter's backbone and arguments as the shapes of its file tell them."""
    row = find_preset(name)
    sizes = {key: row.backbone[1][key] for key in ("channels", "depth", "heads", "grid", "prior_width")}
    arguments = {key: value for key, value in row.arguments.items() if key not in row.arithmetic}
    return ("vit_adapter", sizes), arguments | {"num_classes": classes or row.num_classes}


COCO_STUFF = ("vit_adapter_beit_l_cocostuff164k", "vit_adapter_beit_l_cocostuff164k_czczup")


def test_the_two_arithmetics_of_vit_adapter_are_refused_by_both_names_until_one_is_named():
    backbone, arguments = told_by_shapes(COCO_STUFF[0])
    assert (backbone, arguments) == told_by_shapes(COCO_STUFF[1])
    with pytest.raises(ValueError) as error:
        preset_for("mask2former", backbone, arguments)
    assert str(error.value) == (
        f"the file can be any of {', '.join(COCO_STUFF)}, which its shapes cannot tell apart: name the one that it is"
    )
    for name, add_query in zip(COCO_STUFF, (True, False), strict=True):
        named = preset_for("mask2former", backbone, arguments, name=name)
        assert (named.name, named.sizes["add_query"]) == (name, add_query)


@pytest.mark.parametrize("name", sorted(set(list_models("vit_adapter_*")) - set(COCO_STUFF)))
def test_every_other_vit_adapter_is_found_by_its_shapes(name: str):
    assert preset_for("mask2former", *told_by_shapes(name)) is find_preset(name)


def test_a_vit_adapter_of_a_persons_own_classes_may_have_been_trained_in_either_arithmetic():
    with pytest.raises(ValueError, match=rf"can be any of {COCO_STUFF[0]}, {COCO_STUFF[1]}, .*_ade20k_czczup, which"):
        preset_for("mask2former", *told_by_shapes(COCO_STUFF[0], classes=7))
    own = preset_for("mask2former", *told_by_shapes("vit_adapter_beit_l_cityscapes_czczup", classes=7))
    assert (own.name, own.num_classes, own.label_set) == ("vit_adapter_beit_l_cityscapes_czczup", 7, None)


@pytest.mark.parametrize("name", list_models("vit_adapter_*"))
def test_a_vit_adapters_windows_are_as_large_as_its_grid(name: str):
    row = find_preset(name)
    assert row.window is not None and row.window.exact
    assert row.window.crop == 16 * row.backbone[1]["grid"] == row.recipe.crop_size


def structure(row: Preset) -> tuple[str, tuple[str, dict], dict]:
    """A Mask2Former as the shapes of its file tell it."""
    sizes = {key: value for key, value in row.backbone[1].items() if key not in ("drop_path_rate", "frozen_norms")}
    arguments = {key: value for key, value in row.arguments.items() if key not in row.arithmetic}
    return row.system, (row.backbone[0], sizes), arguments


def test_who_publishes_files_of_its_layout_tells_models_apart_that_shapes_do_not():
    row = find_preset("mask2former_r50_ade20k_semantic")
    found = preset_for(*structure(row), found_at=("openmmlab/mmsegmentation/",))
    assert found.name == "mask2former_r50_ade20k_semantic_mmseg"
    with pytest.raises(ValueError, match=r"any of mask2former_r50_ade20k_panoptic, mask2former_r50_ade20k_semantic, w"):
        preset_for(*structure(row), found_at=("detectron2/",))
    with pytest.raises(ValueError, match="mask2former_r50_ade20k_semantic_mmseg, mask2former_r50_ade20k_semantic_easy"):
        preset_for(*structure(row), found_at=("elsewhere/",))


def test_a_persons_own_classes_are_those_of_the_first_model_that_is_published_there():
    row = find_preset("mask2former_swin_t_coco_panoptic")
    system, backbone, arguments = structure(row)
    arguments["num_classes"] = 7  # of all published numbers nearest to Cityscapes' 8 things
    own = preset_for(system, backbone, arguments, found_at=("huggingface/",))
    assert (own.name, own.num_classes, own.label_set, own.tasks) == (row.name, 7, None, TASKS)
    own = preset_for(system, backbone, arguments, found_at=("openmmlab/mmsegmentation/",))
    assert (own.name, own.tasks) == ("mask2former_swin_t_ade20k_semantic_mmseg", ("semantic",))


def test_a_structure_that_none_has_is_refused_with_what_it_is():
    row = find_preset("segformer_b0_ade20k")
    backbone = (row.backbone[0], {**row.backbone[1], "depths": (1, 1, 1, 1)})
    with pytest.raises(ValueError, match=r"no published segformer has mit, .*depths=\(1, 1, 1, 1\)"):
        preset_for("segformer", backbone, row.arguments)


@pytest.mark.parametrize(("classes", "label_set"), [(171, "cocostuff164k"), (7, None)])
def test_another_number_of_classes_has_names_only_if_a_published_label_set_has_it(classes: int, label_set: str | None):
    row = find_preset("segformer_b0_ade20k_mmseg")
    own = preset_for("segformer", row.backbone, {**row.arguments, "num_classes": classes}, name=row.name)
    assert (own.num_classes, own.label_set) == (classes, label_set)


def test_a_window_that_is_a_number_is_swins_and_one_that_is_a_window_is_how_an_input_is_seen():
    preset = find_preset("mask2former_swin_t_coco_panoptic")
    narrow = preset.override(window=5)
    assert (narrow.backbone[1]["window"], narrow.window) == (5, None)
    seen = preset.override(window=Window(64, 32))
    assert (seen.backbone[1]["window"], seen.window) == (7, Window(64, 32))
    with pytest.raises(ValueError, match="window must be a ms_seg.presets.Window or None: 5 is not"):
        find_preset("mask2former_r50_coco_panoptic").override(window=5)


@pytest.mark.parametrize(
    ("name", "crop", "side", "steps", "most"),
    [
        ("mask2former_r50_cityscapes_panoptic", (512, 1024), 1024, 90_000, 1.0),
        ("mask2former_swin_l_cityscapes_instance", (512, 1024), 1024, 90_000, 1.0),
        ("mask2former_swin_t_cityscapes_semantic", (512, 1024), 1024, 90_000, 1.0),
        ("mask2former_swin_t_cityscapes_semantic_mmseg", (512, 1024), 1024, 90_000, 0.75),
        ("mask2former_r50_ade20k_panoptic", (640, 640), 640, 160_000, 1.0),
        ("mask2former_r50_ade20k_semantic", (512, 512), 512, 160_000, 1.0),
        ("mask2former_r50_mapillary_panoptic", (1024, 1024), 2048, 300_000, 1.0),
    ],
)
def test_mask2former_is_trained_on_the_published_crops_and_sides(name, crop, side, steps, most):
    """The sixteen sides are those that the original's configurations and mmsegmentation's list."""
    recipe = find_preset(name).recipe
    assert (recipe.crop, recipe.short_side, recipe.steps, recipe.cat_max_ratio) == (crop, side, steps, most)
    assert [int(side * scale) for scale in recipe.scales] == [int(tenths * 0.1 * side) for tenths in range(5, 21)]
    assert (recipe.batch_size, recipe.learning_rate, recipe.power, recipe.clip_norm) == (16, 1e-4, 0.9, 0.01)
    assert (recipe.backbone_multiplier, recipe.weight_decay, recipe.photometric) == (0.1, 0.05, True)


@pytest.mark.parametrize("name", ["segformer_b0_cityscapes", "segformer_b5_cityscapes_mmseg"])
def test_segformer_is_trained_on_the_published_crops_of_cityscapes(name):
    recipe = find_preset(name).recipe
    assert (recipe.crop, recipe.short_side, recipe.long_side) == ((1024, 1024), 1024, 2048)
    assert (recipe.batch_size, recipe.steps, recipe.learning_rate, recipe.scales) == (8, 160_000, 6e-5, ())
    assert (recipe.scale_min, recipe.scale_max, recipe.cat_max_ratio) == (0.5, 2.0, 0.75)


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({}, ""),
        ({"dropout_rate": 0.3, "short_side": 600}, ""),
        ({"num_classes": 7}, " with other classes"),
        ({"head_width": 20}, " with other sizes"),
        ({"depths": (1, 1, 1, 1), "num_classes": 7}, " with other sizes and classes"),
    ],
)
def test_a_model_is_not_called_what_it_is_not(changes: dict[str, Any], title: str):
    assert title_of(find_preset("segformer_b0_ade20k").override(**changes)) == f"segformer_b0_ade20k{title}"

"""The numbers of a run: what follows from a person's own, and what would change nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ms_seg.presets import find_preset, starting_weights
from ms_seg.presets.recipe import Recipe, shortened, without_effect


def numbers(given: dict) -> tuple[int, int, int]:
    recipe, follows = shortened(Recipe(), given)
    assert not set(follows) & set(given)
    assert all(getattr(recipe, name) == value for name, value in follows.items())
    return recipe.steps, recipe.warmup_steps, recipe.validate_every


def test_a_shorter_run_has_a_shorter_warm_up_and_ten_validations():
    assert numbers({"steps": 1000}) == (1000, 9, 100)
    assert numbers({"steps": 16_000}) == (16_000, 150, 1600)
    assert numbers({"steps": 60}) == (60, 1, 20)
    assert numbers({"steps": 1000, "warmup_steps": 77, "validate_every": 5}) == (1000, 77, 5)
    assert numbers({"steps": 200_000}) == (200_000, 1500, 16_000)
    assert numbers({}) == (160_000, 1500, 16_000)


def test_a_recipe_that_validates_often_is_not_made_to_do_so_more_often():
    recipe, follows = shortened(Recipe(steps=368_750, warmup_steps=0, validate_every=5000), {"steps": 100_000})
    assert recipe.validate_every == 5000 and not follows


@pytest.mark.parametrize(
    ("changes", "output", "idle", "read"),
    [
        ({}, "logits", ["points", "class_weight", "max_targets", "text_multiplier", "momentum"], ["beta1", "power"]),
        ({}, "queries", ["text_multiplier"], ["points", "class_weight"]),
        ({}, "words", ["mask_weight"], ["text_multiplier"]),
        ({"optimizer": "sgd"}, "logits", ["beta1", "beta2"], ["momentum"]),
        ({"schedule": "step"}, "logits", ["power", "decay_every"], ["milestones", "gamma"]),
        ({"warmup_steps": 0}, "logits", ["warmup_ratio"], ["learning_rate"]),
    ],
)
def test_what_changes_nothing_is_known_with_the_reason(changes, output, idle, read):
    found = without_effect(replace(Recipe(), **changes), output)
    assert all(found[name] for name in idle)
    assert not set(read) & set(found)


@pytest.mark.parametrize(
    ("model", "begins"),
    [
        ("segformer_b2_cityscapes_mmseg", ["nvidia/mit-b2"]),
        ("mask2former_swin_t_coco_instance", ["swin_tiny_patch4_window7_224.pth"]),
        ("lseg_vitb32_ade20k", ["timm/vit_base_patch32_384.augreg_in21k_ft_in1k", "ViT-B-32.pt"]),
        ("segformer_tiny_shapes", []),
    ],
)
def test_what_a_training_can_begin_with_is_known_by_its_parts(model, begins):
    assert [weights.passed_as for weights in starting_weights(find_preset(model))] == begins


def test_crops_of_another_size_are_squares_unless_their_width_is_given_too():
    wide = Recipe(crop_size=512, crop_width=1024)
    assert [shortened(wide, given)[0].crop for given in ({}, {"crop_size": 512}, {"crop_size": 256})] == [
        (512, 1024), (512, 1024), (256, 256)
    ]  # fmt: skip
    assert shortened(wide, {"crop_size": 256, "crop_width": 320})[0].crop == (256, 320)


def test_the_bounds_of_scales_mean_nothing_beside_a_list_of_them():
    assert "scale_min" in without_effect(Recipe(scales=(0.5, 1.0)), "logits")
    assert "scale_min" not in without_effect(Recipe(), "logits")
    assert {"ohem_min_kept", "dice_loss_weight"} <= without_effect(Recipe(), "queries").keys()

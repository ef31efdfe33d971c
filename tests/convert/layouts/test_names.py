"""Patterns of names."""

from __future__ import annotations

import pytest

from convert.layouts.names import any_of, count_cells, fill, match


def test_patterns_tell_numbers_from_words():
    assert match("layers.{i}.{name}", "layers.12.norm.weight") == {"i": "12", "name": "norm.weight"}
    assert match("layers.{i}.weight", "layers.x.weight") is None
    assert match("layers.{i}.weight", "layersX1.weight") is None
    assert fill("stages.{i}.norm", {"i": "3"}) == "stages.3.norm"


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("layer{i+1}.{j}.conv", ["layer1.7.conv", "layer2.7.conv", "layer3.7.conv"]),
        ("mask_embed.{2*i}.{j}", ["mask_embed.0.7", "mask_embed.2.7", "mask_embed.4.7"]),
        ("norms.{2*i+1}.{j}", ["norms.1.7", "norms.3.7", "norms.5.7"]),
    ],
)
def test_layouts_count_in_their_own_way(pattern: str, names: list[str]):
    for number, name in enumerate(names):
        assert match(pattern, name) == {"i": str(number), "j": "7"}
        assert fill(pattern, {"i": str(number), "j": "7"}) == name
        assert any_of(["other", pattern]).fullmatch(name)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [("layer{i+1}", "layer0"), ("mask.{2*i}", "mask.3"), ("layer{i+1}", "layer01"), ("x{i+1}", "x" + "9" * 5000)],
    ids=["below the first", "between two", "leading zero", "no end"],
)
def test_a_number_that_is_never_counted_does_not_match(pattern: str, name: str):
    assert match(pattern, name) is None
    assert "2*" in pattern or any_of(["other", pattern]).fullmatch(name) is None


def test_the_cells_of_a_list_are_counted_once():
    names = ["blocks.0.norm.gamma", "blocks.0.norm.beta", "blocks.1.norm.gamma", "other.0.gamma"]
    assert count_cells(names, "blocks.") == 2

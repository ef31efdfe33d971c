"""ViT-Adapter's published layout, and that of the BEiT it starts from, by the keys and shapes of their files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from convert.layouts.operations import RELATIVE_POSITIONS
from convert.layouts.row import NATIVE
from convert.plan import find_layout
from convert.recognition import recognise
from tests.convert.layouts.published import Declared, manifests, model_shapes, read_manifest

NAMES = ("vit_adapter_beit_l_cocostuff164k", "vit_adapter_beit_l_cocostuff164k_czczup")
WHOLE = manifests("vitadapter_")
BEIT = manifests("beit_large")["beit_large_patch16_224_pt22k_ft22k_official"]
INDEX = ".attn.relative_position_index"
STORED = Path(__file__).with_name("relative_positions.npz")


def ours(text: str) -> dict[str, Declared]:
    """The tensors of a manifest by our names."""
    shapes = recognise(read_manifest(text)).plan(None).shapes
    return {name: Declared(name, shape, "float32") for name, shape in shapes.items()}


@pytest.mark.parametrize("manifest", WHOLE)
@pytest.mark.parametrize("name", NAMES)
def test_every_key_and_every_parameter_is_accounted_for(manifest: str, name: str):
    tensors = read_manifest(WHOLE[manifest])
    source = recognise(tensors)
    assert (source.layout.name, source.layout.system, source.layout.covers) == ("vit-adapter", "mask2former", "")
    plan = source.plan(model_shapes(name))
    assert plan.complete, plan.explain()
    carried = {key for step in plan.steps for key in step.sources}
    assert carried | set(plan.dropped) == set(tensors) and not carried & set(plan.dropped)
    assert all(key.endswith((INDEX, ".num_batches_tracked")) for key in plan.dropped)


@pytest.mark.parametrize("manifest", WHOLE)
def test_a_converted_file_goes_back_to_every_key_but_the_indices(manifest: str):
    tensors, converted = read_manifest(WHOLE[manifest]), ours(WHOLE[manifest])
    assert recognise(converted).layout.name == NATIVE
    back = recognise(converted).plan_back(find_layout("vit-adapter", "mask2former"))
    assert back.complete, back.explain()
    wanted = {key: entry.shape for key, entry in tensors.items() if not key.endswith(INDEX)}
    assert dict(back.shapes) == wanted


def test_the_indices_of_relative_positions_are_never_read():
    class Unread(Declared):
        def numpy(self) -> np.ndarray:
            raise AssertionError(f"{self.name} was read")

    (text,) = {text for text in WHOLE.values()}
    tensors: Mapping[str, Declared] = {
        key: Unread(key, entry.shape, entry.dtype) if key.endswith(INDEX) else entry
        for key, entry in read_manifest(text).items()
        if "blocks.0." in key or "blocks.1." in key
    }
    plan = recognise(tensors).plan(None)
    for entry in plan.apply(tensors).values():
        entry.numpy()
    assert sum(key.endswith(INDEX) for key in plan.dropped) == 2


def test_imagenets_beit_fills_the_transformer_and_nothing_else():
    source = recognise(read_manifest(BEIT))
    assert (source.layout.name, source.layout.covers) == ("original-beit", "backbone.beit.")
    assert source.backbone == ("vit_adapter", {"channels": 1024, "depth": 24, "heads": 16})
    plan = source.plan(model_shapes(NAMES[1]))
    assert plan.complete, plan.explain()
    assert {key.split(".")[0] for key in plan.dropped if not key.endswith(INDEX)} == {"fc_norm", "head"}
    assert plan.shapes["backbone.beit.blocks.23.attn.relative_position_bias_table"] == (12324, 16)


def test_imagenets_tables_of_other_heads_do_not_fit():
    tensors = read_manifest(BEIT)
    key = "blocks.3.attn.relative_position_bias_table"
    tensors[key] = Declared(key, (732, 12), "float32")
    plan = recognise(tensors).plan(model_shapes(NAMES[1]))
    assert [name for name, _, _ in plan.clashes] == [f"backbone.beit.{key}"]


@pytest.mark.parametrize(("known", "wanted"), [(4, 6), (14, 56)])
def test_tables_are_carried_to_another_grid_as_beits_authors_do(known: int, wanted: int):
    """Stored: what their rule gives with SciPy 1.13's interp2d, which later releases lack."""
    with np.load(STORED) as stored:
        table, expected = stored[f"table_{known}"], stored[f"table_{wanted}"]
    resized = RELATIVE_POSITIONS.resize(table, expected.shape)
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, expected, atol=1e-5)
    np.testing.assert_array_equal(resized[-3:], table[-3:])


def test_a_table_of_no_grid_is_not_resized():
    with pytest.raises(ValueError, match=r"must have \(2 grid - 1\)\^2 \+ 3 rows: \[730, 16\] has not"):
        RELATIVE_POSITIONS.resize(np.zeros((730, 16), np.float32), (12324, 16))


def test_timms_beit_has_the_names_of_the_original_and_begins_a_vit_adapter_of_its_size():
    tensors = read_manifest(manifests("beit_base")["beit_base_patch16_224_timm"])
    source = recognise(tensors)
    assert source.layout.name == "original-beit"
    plan = source.plan(model_shapes("vit_adapter_beit_b_cocostuff10k_czczup"))
    assert plan.complete, plan.explain()
    assert set(plan.dropped) == {f"{part}.{leaf}" for part in ("fc_norm", "head") for leaf in ("weight", "bias")}

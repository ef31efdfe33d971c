"""LSeg's published layouts, and those of the ViT and ResNet that its training starts from, by keys and shapes."""

from __future__ import annotations

import numpy as np
import pytest

from convert.layouts.row import NATIVE
from convert.plan import Source, find_layout
from convert.recognition import recognise
from ms_seg.checkpoints.identification import identify
from tests.convert.layouts.published import Declared, manifests, model_shapes, read_manifest

MANIFESTS = manifests("lseg_", "timm_vit_", "resnet101_")
TEXT_DRIVEN = "lseg_modelscope_vitl16"
EXPECTED = {  # manifest -> the layout and the model that are inferred
    "lseg_lang-seg_clip_vitl16_384": ("lang-seg", "lseg_vitl16_ade20k"),
    "lseg_lang-seg_clip_vitl16_384_arch1": ("lang-seg", "lseg_vitl16_ade20k"),
    "lseg_lang-seg_clip_vitl16_384_arch2": ("lang-seg", "lseg_vitl16_ade20k"),
    "lseg_lang-seg_clip_vitb32_384": ("lang-seg", "lseg_vitb32_ade20k"),
    "lseg_lang-seg_clipRN50x16_vitl16_384": ("lang-seg", "lseg_rn50x16_vitl16_ade20k"),
    "lseg_lang-seg_zs_clip_vitl16_384": ("lang-seg", "lseg_vitl16_ade20k"),
    "lseg_lang-seg_zs_clip_resnet101": ("lang-seg", "lseg_zs_resnet101"),
    TEXT_DRIVEN: ("lang-seg", "lseg_vitl16_ade20k"),
    "timm_vit_large_patch16_384": ("timm-vit", "lseg_vitl16_ade20k"),
    "timm_vit_base_patch32_384": ("timm-vit", "lseg_vitb32_ade20k"),
    "resnet101_torchvision": ("torchvision-resnet", "lseg_zs_resnet101"),
}
TWINS = ("lseg_vitl16_ade20k", "lseg_zs_vitl16", "lseg_vitl16_text_driven")  # of one structure, with other pictures


def is_twin(name: str) -> bool:
    return EXPECTED[name] == ("lang-seg", TWINS[0])


def converted(tensors: dict[str, Declared]) -> tuple[Source, dict]:
    source = recognise(tensors)
    return source, source.plan(None).apply(tensors)


@pytest.mark.parametrize("name", MANIFESTS)
def test_every_key_and_every_parameter_is_accounted_for(name: str):
    tensors = read_manifest(MANIFESTS[name])
    source = recognise(tensors)
    preset = identify(source, {}, TWINS[0] if is_twin(name) else "auto")
    assert (source.layout.name, preset.name) == EXPECTED[name]
    plan = source.plan(model_shapes(preset.name, head_block="bottleneck" if "_arch" in name else "none"))
    assert plan.complete, plan.explain()
    carried = {key for step in plan.steps for key in step.sources}
    assert carried | set(plan.dropped) == set(tensors) and not carried & set(plan.dropped)


@pytest.mark.parametrize("name", filter(is_twin, EXPECTED))
def test_a_file_that_may_be_several_models_is_refused_with_their_names(name: str):
    with pytest.raises(ValueError, match=f"the file can be any of {', '.join(TWINS)}, .*: name the one that it is"):
        identify(recognise(read_manifest(MANIFESTS[name])), {})


@pytest.mark.parametrize("name", [name for name in MANIFESTS if name.startswith("lseg_")])
def test_only_what_the_model_never_uses_is_dropped(name: str):
    dropped = recognise(read_manifest(MANIFESTS[name])).plan(None).dropped
    unused = ("clip_pretrained.visual.", "clip_pretrained.logit_scale", "refinenet4.resConfUnit1.")
    unused += ("pretrained.model.norm.", "pretrained.model.head.", ".num_batches_tracked")
    assert [key for key in dropped if not any(part in key for part in unused)] == []


def test_a_files_own_note_tells_twins_apart():
    """Three published models have the same keys and shapes: only a converted file can say which it is."""
    tensors = read_manifest(MANIFESTS[TEXT_DRIVEN])
    for model in TWINS:
        assert identify(recognise(tensors), {"model": model}).name == model


def test_a_spatial_block_is_named_by_the_person_or_by_the_files_note():
    source = recognise(read_manifest(MANIFESTS["lseg_lang-seg_clip_vitl16_384_arch1"]))
    assert not source.plan(model_shapes("lseg_vitl16_ade20k")).complete
    note = {"arithmetic": '{"head_block": "depthwise", "block_depth": 3, "activation": "tanh"}'}
    arguments = identify(source, note, TWINS[0]).sizes
    assert (arguments["head_block"], arguments["block_depth"], arguments["activation"]) == ("depthwise", 3, "tanh")
    assert identify(source, note, TWINS[0], {"head_block": "bottleneck"}).arguments["head_block"] == "bottleneck"


@pytest.mark.parametrize("name", ["lseg_lang-seg_clip_vitb32_384", "lseg_lang-seg_zs_clip_resnet101"])
def test_a_converted_file_is_recognised_as_ours_and_fills_the_model(name: str):
    shapes = recognise(read_manifest(MANIFESTS[name])).plan(None).shapes
    tensors = {key: Declared(key, shape, "float32") for key, shape in shapes.items()}
    source = recognise(tensors)
    assert source.layout.name == NATIVE and source.layout.system == "lseg"
    assert source.plan(model_shapes(identify(source, {}).name)).complete


@pytest.mark.parametrize(
    ("name", "layout"),
    [("timm_vit_base_patch32_384", "native-vit"), ("resnet101_torchvision", "native-resnet")],
)
def test_a_converted_part_is_recognised_as_ours(name: str, layout: str):
    source = recognise(read_manifest(MANIFESTS[name]))
    tensors = {key: Declared(key, shape, "float32") for key, shape in source.plan(None).shapes.items()}
    again = recognise(tensors)
    assert (again.layout.name, again.layout.covers) == (layout, source.layout.covers)


@pytest.mark.parametrize("name", [name for name in MANIFESTS if name.startswith(("timm_vit_base", "resnet101"))])
def test_the_way_back_gives_the_same_keys_and_numbers(name: str):
    tensors = read_manifest(MANIFESTS[name])
    source, entries = converted(tensors)
    back = recognise(entries).plan_back(find_layout(source.layout.name, "")).apply(entries)
    dropped = {key for key in tensors if key.startswith(("norm.", "head.", "fc."))}
    assert set(back) == set(tensors) - dropped
    for key, entry in back.items():
        expected = np.zeros((), np.int64) if key.endswith("num_batches_tracked") else tensors[key].numpy()
        assert entry.dtype == tensors[key].dtype
        np.testing.assert_array_equal(entry.numpy(), expected, err_msg=key)


def test_lang_seg_gets_back_what_its_network_runs():
    tensors = read_manifest(MANIFESTS["lseg_lang-seg_clip_vitb32_384"])
    source, entries = converted(tensors)
    back = recognise(entries).plan_back(find_layout("lang-seg", "lseg")).apply(entries)
    restored = {key for key in source.plan(None).dropped if key.endswith("num_batches_tracked")}
    restored -= {key for key in restored if "refinenet4.resConfUnit1" in key}
    assert set(back) == set(tensors) - set(source.plan(None).dropped) | restored
    key = "net.pretrained.act_postprocess2.0.project.0.weight"
    np.testing.assert_array_equal(back[key].numpy(), tensors[key].numpy())


def test_the_readouts_first_half_is_of_the_token():
    tensors = read_manifest(MANIFESTS["lseg_lang-seg_clip_vitb32_384"])
    whole = tensors["net.pretrained.act_postprocess3.0.project.0.weight"].numpy()
    _, entries = converted(tensors)
    np.testing.assert_array_equal(entries["backbone.readout.2.token.weight"].numpy(), whole[:, :768])
    np.testing.assert_array_equal(entries["backbone.readout.2.image.weight"].numpy(), whole[:, 768:])

"""A plan accounts for every name on both sides, or says what is left over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from convert import CheckpointError
from convert.plan import find_layout
from convert.recognition import recognise


@dataclass(frozen=True)
class Held:
    """An entry that holds its array, and counts how often it was read."""

    array: np.ndarray
    reads: list[int]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> str:
        return str(self.array.dtype)

    def numpy(self) -> np.ndarray:
        self.reads.append(1)
        return self.array


def block(**changes: np.ndarray) -> dict[str, Held]:
    """Part of a transformers file: the decoder's fusion and classifier."""
    arrays = {
        "decode_head.linear_fuse.weight": np.ones((4, 16, 1, 1), np.float32),
        "decode_head.batch_norm.weight": np.ones(4, np.float32),
        "decode_head.batch_norm.bias": np.zeros(4, np.float32),
        "decode_head.batch_norm.running_mean": np.zeros(4, np.float32),
        "decode_head.batch_norm.running_var": np.ones(4, np.float32),
        "decode_head.batch_norm.num_batches_tracked": np.array(7, np.int64),
        "decode_head.classifier.weight": np.ones((3, 4, 1, 1), np.float32),
        "decode_head.classifier.bias": np.arange(3, dtype=np.float32),
    }
    return {name: Held(array, []) for name, array in {**arrays, **changes}.items()}


TARGET = {
    "decoder.fuse.conv.weight": (4, 16, 1, 1),
    "decoder.fuse.norm.gamma": (4,),
    "decoder.fuse.norm.beta": (4,),
    "decoder.fuse.norm.moving_mean": (4,),
    "decoder.fuse.norm.moving_variance": (4,),
    "decoder.classify.weight": (3, 4, 1, 1),
    "decoder.classify.bias": (3,),
}


def test_a_complete_plan_fills_the_target_and_says_what_it_dropped():
    plan = recognise(block()).plan(TARGET)
    assert plan.complete
    assert set(plan.dropped) == {"decode_head.batch_norm.num_batches_tracked"}
    assert set(plan.apply(block())) == set(TARGET)


def test_nothing_is_read_until_a_tensor_is_asked_for():
    tensors = block()
    entries = recognise(tensors).plan(TARGET).apply(tensors)
    assert not any(held.reads for held in tensors.values())
    np.testing.assert_array_equal(entries["decoder.classify.bias"].numpy(), [0, 1, 2])
    assert [name for name, held in tensors.items() if held.reads] == ["decode_head.classifier.bias"]


def test_a_key_that_no_row_knows_is_refused_by_name():
    tensors = block(**{"decode_head.batch_norm.scale": np.ones(4, np.float32)})
    plan = recognise(tensors).plan(TARGET)
    assert plan.unused == ("decode_head.batch_norm.scale",)
    with pytest.raises(CheckpointError, match="unused    decode_head.batch_norm.scale"):
        plan.apply(tensors)


def test_a_parameter_that_nothing_fills_is_refused_with_the_nearest_name():
    tensors = block()
    tensors["decode_head.classifier.biass"] = tensors.pop("decode_head.classifier.bias")
    explanation = recognise(tensors).plan(TARGET).explain()
    assert "1 of the source unused, 1 of the model unfilled" in explanation
    assert "unfilled  decoder.classify.bias" in explanation


def test_another_shape_is_refused_with_both_shapes():
    tensors = block(**{"decode_head.classifier.weight": np.ones((5, 4, 1, 1), np.float32)})
    plan = recognise(tensors).plan(TARGET)
    assert not plan.complete
    assert "decoder.classify.weight: [5, 4, 1, 1] in the source, [3, 4, 1, 1] in the model" in plan.explain()


def test_half_of_a_stacked_pair_is_left_over():
    key = "segformer.encoder.block.0.0.attention.self.key.weight"
    plan = recognise(block(**{key: np.ones((8, 8), np.float32)})).plan(None)
    assert plan.unused == (key,)


def test_half_precision_arrives_as_float32():
    tensors = block(**{"decode_head.classifier.bias": np.array([0.5, 1, 2], np.float16)})
    entry = recognise(tensors).plan(TARGET).apply(tensors)["decoder.classify.bias"]
    assert entry.dtype == "float32" and entry.numpy().dtype == np.float32
    np.testing.assert_array_equal(entry.numpy(), [0.5, 1, 2])


def test_a_tensor_of_the_wrong_rank_is_refused_in_a_sentence():
    tensors = block(**{"decode_head.linear_c.0.proj.weight": np.ones(8, np.float32)})
    with pytest.raises(CheckpointError, match="linear_c.0.proj.weight: linear to 1x1 convolution is not possible"):
        recognise(tensors).plan(TARGET)


def test_unknown_names_are_refused():
    with pytest.raises(CheckpointError, match="no known layout has names such as stem.0.weight"):
        recognise({"stem.0.weight": Held(np.ones(3), [])})


def test_a_layout_of_another_structure_cannot_be_written():
    converted = recognise(block()).plan(None).apply(block())
    linear = {"decoder.project.0.weight": Held(np.ones((4, 8, 1, 1), np.float32), [])}
    plan = recognise({**converted, **linear}).plan_back(find_layout("mmseg", "segformer"))
    assert plan.unused == ("decoder.project.0.weight",)
    with pytest.raises(CheckpointError, match="decoder.project.0.weight"):
        plan.apply(converted)


def test_an_unknown_layout_lists_those_that_exist():
    with pytest.raises(ValueError, match="segformer has no layout 'keras'; it has hf, hf5, mmseg, original"):
        find_layout("keras", "segformer")


@dataclass(frozen=True)
class Sized:
    """An entry of which only the shape is known."""

    shape: tuple[int, ...]
    dtype: str = "float32"

    def numpy(self) -> np.ndarray:
        raise AssertionError("nothing is read to make a plan")


MIT_STEM = {"backbone.stages.0.patch_embed.proj.weight": Sized((32, 3, 7, 7))}
SWIN_STEM = {"backbone.patch_embed.proj.weight": Sized((96, 3, 4, 4))}


@pytest.mark.parametrize(
    ("tensors", "name", "system"),
    [
        (MIT_STEM, "hf", "segformer"),
        (SWIN_STEM, "hf", "mask2former"),
        (SWIN_STEM, "mmdet", "mask2former"),
        (MIT_STEM, "mmseg-backbone", ""),
    ],
)
def test_a_backbone_is_written_in_the_layout_that_knows_it(tensors: dict[str, Sized], name: str, system: str):
    layout = recognise(tensors).find_target(name)
    assert (layout.name, layout.system) == (name, system)
    assert recognise(tensors).plan_back(layout).complete


def test_a_layout_that_no_backbone_has_is_refused():
    with pytest.raises(ValueError, match="a backbone has no layout 'keras'; it has hf-backbone, hf5-backbone, mmseg-"):
        recognise(MIT_STEM).find_target("keras")


def test_a_whole_model_is_written_in_a_layout_of_its_own_system():
    source = recognise({"decoder.classify.weight": Sized((3, 4, 1, 1))})
    assert (source.layout.system, source.find_target("hf").system) == ("segformer", "segformer")
    with pytest.raises(ValueError, match="segformer has no layout 'mmdet'"):
        source.find_target("mmdet")

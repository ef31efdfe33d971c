"""From a checkpoint to a model: what is taken over, what is left fresh, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

import ms_seg
from convert import CheckpointError, open_checkpoint
from convert.__main__ import main as convert
from convert.plan import find_layout
from convert.reading.entry import ArrayEntry
from convert.recognition import recognise
from convert.writing import write_checkpoint
from ms_seg.checkpoints.loading import classifier_of
from ms_seg.checkpoints.metadata import describe
from ms_seg.label_sets import LabelSet, numbered_labels, read_labels
from ms_seg.presets import ASSETS, PRESETS, find_preset

NAME = "segformer_tiny_shapes"
PUBLISHED = ASSETS / f"{NAME}.pth"  # transformers' layout, 9 classes
CLASSIFIER = {"decoder.classify.weight", "decoder.classify.bias"}


def arrays(model: nn.Cell) -> dict[str, np.ndarray]:
    return {parameter.name: parameter.asnumpy() for parameter in model.get_parameters()}


def changed(model: nn.Cell) -> set[str]:
    """Names of the parameters that are not those of the published file."""
    published = arrays(ms_seg.create_model(NAME, PUBLISHED))
    ours = arrays(model)
    assert ours.keys() == published.keys()
    return {name for name, array in ours.items() if not np.array_equal(array, published[name])}


def named(*names: str) -> LabelSet:
    return replace(numbered_labels(len(names)), names=names)


def saved(folder: Path, labels: str | LabelSet | None) -> Path:
    """The published model as a file of ours that records these classes."""
    model = ms_seg.create_model(NAME, PUBLISHED, label_set=labels)
    entries = {name: ArrayEntry(array) for name, array in arrays(model).items()}
    write_checkpoint(folder / "model.ckpt", entries, metadata=describe(model.preset))
    return folder / "model.ckpt"


def test_a_file_of_another_system_is_refused_in_one_line():
    with pytest.raises(CheckpointError) as error:
        ms_seg.create_model("mask2former_r50_coco_panoptic", PUBLISHED)
    sentence = "holds transformers' SegformerForSemanticSegmentation: mask2former_r50_coco_panoptic is a mask2former"
    assert str(error.value) == f"the file {sentence}"


def test_a_network_without_its_classifier_begins_a_training_and_is_no_model(tmp_path: Path, capsys):
    """As transformers' Mask2FormerModel saves it."""
    name = "mask2former_swin_t_coco_panoptic"
    sizes = {"channels": 8, "heads": (1, 1, 2, 2), "depths": (1, 1, 1, 1), "window": 3, "width": 32, "decoder_heads": 4}
    sizes |= {"queries": 3, "pixel_layers": 1, "query_layers": 1, "pixel_hidden": 24, "query_hidden": 24}
    whole = arrays(ms_seg.create_model(name, **sizes))
    tensors = {key: ArrayEntry(array) for key, array in whole.items()}
    entries = recognise(tensors).plan_back(find_layout("hf", "mask2former")).apply(tensors)
    bare = {key.removeprefix("model."): entry for key, entry in entries.items() if key.startswith("model.")}
    file = tmp_path / "bare.safetensors"
    write_checkpoint(file, bare)
    with pytest.raises(
        ValueError, match="holds transformers' Mask2FormerModel, which has no classifier, swin, channels"
    ):
        ms_seg.create_model("auto", file)
    with pytest.raises(CheckpointError, match=f"which has no classifier: {NAME} is a segformer"):
        ms_seg.create_model(NAME, file)
    overrides = [
        part
        for key, value in sizes.items()
        for part in ("--override", f"{key}={list(value) if type(value) is tuple else value}")
    ]
    assert convert([str(file), str(tmp_path / "model.ckpt"), "--model", name, *overrides]) == 2
    assert "a training can begin with it" in capsys.readouterr().err and not (tmp_path / "model.ckpt").exists()
    ours = arrays(ms_seg.create_model(name, file, num_classes=5, **sizes))
    others = {key for key, array in ours.items() if not np.array_equal(array, whole[key])}
    assert others == {f"query_decoder.class_embed.{leaf}" for leaf in ("weight", "bias")}


def test_a_file_that_lacks_its_backbone_is_not_taken_for_any_model(tmp_path: Path):
    with open_checkpoint(PUBLISHED) as tensors:
        head = {name: entry for name, entry in tensors.items() if name.startswith("decode_head.")}
        write_checkpoint(tmp_path / "head.safetensors", head)
    with pytest.raises(CheckpointError, match="without tensors of its backbone: is it one part of several"):
        ms_seg.create_model("auto", tmp_path / "head.safetensors")


class TestFineTuning:
    def test_with_other_classes_everything_but_the_classifier_is_taken_over(self, caplog: pytest.LogCaptureFixture):
        ms.set_seed(0)
        model = ms_seg.create_model(NAME, PUBLISHED, fine_tune=True, num_classes=3)
        assert changed(model) == CLASSIFIER
        weight, bias = (arrays(model)[f"decoder.classify.{leaf}"] for leaf in ("weight", "bias"))
        assert weight.shape == (3, 96, 1, 1) and bias.shape == (3,)
        assert weight.std() == pytest.approx(0.01, rel=0.2) and not bias.any()  # as the paper's code begins
        (line,) = [record.getMessage() for record in caplog.records]
        assert line == (
            f"{PUBLISHED} has 9 classes and the model is to have 3: the classifier (decoder.classify.bias, "
            "decoder.classify.weight) is freshly initialised; everything else is taken over"
        )

    def test_without_it_other_classes_are_refused(self):
        with pytest.raises(CheckpointError) as error:
            ms_seg.create_model(NAME, PUBLISHED, num_classes=3)
        assert "0 of the source unused, 0 of the model unfilled, 2 of another shape" in str(error.value)
        assert "decoder.classify.weight: [9, 96, 1, 1] in the source, [3, 96, 1, 1] in the model" in str(error.value)
        assert str(error.value).endswith(
            f"The file has 9 classes and {NAME} 3: without a name the model is the file's own"
        )

    def test_another_mismatch_is_refused_all_the_same(self, tmp_path: Path, caplog: pytest.LogCaptureFixture):
        with open_checkpoint(PUBLISHED) as tensors:
            entries = {name: ArrayEntry(entry.numpy()) for name, entry in tensors.items()}
        norm = "segformer.encoder.layer_norm.0.weight"
        entries[norm] = ArrayEntry(np.ones(25, np.float32))
        del entries["segformer.encoder.layer_norm.1.bias"]
        write_checkpoint(tmp_path / "broken.pth", entries)
        with pytest.raises(CheckpointError) as error:
            ms_seg.create_model(NAME, tmp_path / "broken.pth", fine_tune=True, num_classes=3)
        assert "backbone.stages.0.norm.gamma: [25] in the source, [24] in the model" in str(error.value)
        assert "unfilled  backbone.stages.1.norm.beta" in str(error.value)
        assert "classify" not in str(error.value)
        assert not caplog.records

    def test_a_classifier_of_another_width_is_not_one_of_other_classes(self, tmp_path: Path):
        with open_checkpoint(PUBLISHED) as tensors:
            entries = {name: ArrayEntry(entry.numpy()) for name, entry in tensors.items()}
        entries["decode_head.classifier.weight"] = ArrayEntry(np.ones((9, 95, 1, 1), np.float32))
        write_checkpoint(tmp_path / "narrow.pth", entries)
        with pytest.raises(CheckpointError, match=r"1 of another shape\n  shape     decoder.classify.weight"):
            ms_seg.create_model(NAME, tmp_path / "narrow.pth", fine_tune=True, num_classes=3)

    def test_for_the_same_classes_the_classifier_is_kept(self, tmp_path: Path, caplog: pytest.LogCaptureFixture):
        labels = named(*"abcdefghi")
        model = ms_seg.create_model(NAME, saved(tmp_path, labels), fine_tune=True, num_classes=9, label_set=labels)
        assert not changed(model) and not caplog.records

    @pytest.mark.parametrize(
        ("recorded", "theirs", "ours"),
        [(named(*"abcdefghi"), "a", "b"), ("shapes", read_labels("shapes").names[0], "b")],
    )
    def test_for_as_many_others_the_classifier_is_fresh(
        self, recorded: str | LabelSet, theirs: str, ours: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ):
        source = saved(tmp_path, recorded)
        model = ms_seg.create_model(NAME, source, fine_tune=True, num_classes=9, label_set=named(*"bacdefghi"))
        assert changed(model) == CLASSIFIER
        assert f"has the class {theirs} where the model is to have {ours}" in caplog.text

    def test_a_file_that_records_no_classes_may_be_of_these_which_is_said(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ):
        labels = named(*"abcdefghi")
        for source in (PUBLISHED, saved(tmp_path, None)):
            assert not changed(ms_seg.create_model(NAME, source, fine_tune=True, num_classes=9, label_set=labels))
        assert len(caplog.messages) == 2
        assert all("has 9 classes, as the model is to have, and does not name them" in line for line in caplog.messages)

    def test_a_renamed_class_costs_nothing_where_nothing_is_trained(self, tmp_path: Path):
        model = ms_seg.create_model("auto", saved(tmp_path, named(*"abcdefghi")), label_set=named(*"bacdefghi"))
        assert not changed(model) and model.preset.label_set.names[:2] == ("b", "a")

    def test_a_backbone_alone_leaves_the_rest_fresh(self, tmp_path: Path, caplog: pytest.LogCaptureFixture):
        with open_checkpoint(PUBLISHED) as tensors:
            backbone = {n: ArrayEntry(e.numpy()) for n, e in tensors.items() if n.startswith("segformer.")}
        write_checkpoint(tmp_path / "mit.pth", backbone)
        model = ms_seg.create_model(NAME, tmp_path / "mit.pth", fine_tune=True, num_classes=3)
        assert {name for name in changed(model) if name.startswith("backbone.")} == set()
        assert [record.getMessage() for record in caplog.records] == [
            f"{tmp_path / 'mit.pth'} fills the backbone; the rest is freshly initialised"
        ]

    @pytest.mark.parametrize("name", ["lseg_tiny_shapes", "mask2former_tiny_shapes"])
    def test_the_backbone_of_a_segformer_can_begin_another_system(self, name: str, tmp_path: Path):
        segformer = arrays(ms_seg.create_model(NAME, PUBLISHED))
        backbone = {key: array for key, array in segformer.items() if key.startswith("backbone.")}
        write_checkpoint(tmp_path / "mit.ckpt", {key: ArrayEntry(array) for key, array in backbone.items()})
        begun = arrays(ms_seg.create_model(name, tmp_path / "mit.ckpt"))
        for key, array in backbone.items():
            np.testing.assert_array_equal(begun[key], array, err_msg=key)


WITH_CLASSES = {row.system: row.name for row in PRESETS.values() if row.num_classes}


@pytest.mark.parametrize("name", WITH_CLASSES.values())
def test_every_system_has_a_classifier_that_depends_on_the_number_of_classes(name: str):
    shapes, classifier = classifier_of(find_preset(name), 7)
    assert classifier and classifier < shapes.keys()
    for parameter in classifier:
        assert sum(size in (7, 8) for size in shapes[parameter]) == 1, "the classes, or they and none"


class TestSpatialBlock:
    """A file of LSeg may have one, and only a note in it says of which kind."""

    SMALL: ClassVar = {"channels": 32, "depth": 4, "heads": 2, "grid": 3, "map_channels": (8, 8, 8, 8), "features": 8}
    SMALL |= {"embed_dim": 16, "text_width": 16, "text_layers": 1, "text_heads": 2, "vocabulary": 300}

    def saved(self, path: Path, noted: bool) -> Path:
        block = {"head_block": "depthwise", "block_depth": 2, "activation": "tanh"}
        model = ms_seg.create_model("lseg_vitl16_ade20k", **self.SMALL, **block)
        entries = {name: ArrayEntry(array) for name, array in arrays(model).items()}
        write_checkpoint(path, entries, metadata=describe(model.preset) if noted else {})
        return path

    def test_its_kind_is_read_from_the_note(self, tmp_path: Path):
        model = ms_seg.create_model("lseg_vitl16_ade20k", self.saved(tmp_path / "own.ckpt", noted=True), **self.SMALL)
        assert model.preset.arguments["head_block"] == "depthwise"
        assert model.preset.arguments["block_depth"] == 2

    def test_without_a_note_the_sentence_says_what_to_pass(self, tmp_path: Path):
        path = self.saved(tmp_path / "other.ckpt", noted=False)
        with pytest.raises(CheckpointError, match="pass head_block=bottleneck or depthwise"):
            ms_seg.create_model("lseg_vitl16_ade20k", path, **self.SMALL)
        model = ms_seg.create_model("lseg_vitl16_ade20k", path, head_block="bottleneck", **self.SMALL)
        assert model.preset.arguments["head_block"] == "bottleneck"


class TestNotes:
    """What a file of ours records is how it is used, with the model inferred or named."""

    @pytest.fixture(scope="class")
    def trained(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        file = tmp_path_factory.mktemp("run") / "model.ckpt"
        model = ms_seg.create_model(NAME, num_classes=3, label_set=named("a", "b", "c"), short_side=48, long_side=99)
        entries = {name: ArrayEntry(array) for name, array in arrays(model).items()}
        write_checkpoint(file, entries, metadata=describe(model.preset))
        return file

    @pytest.mark.parametrize(("name", "overrides"), [("auto", {}), (NAME, {"num_classes": 3})])
    def test_preprocessing_and_classes_come_with_the_file(self, trained: Path, name: str, overrides: dict):
        preset = ms_seg.create_model(name, trained, **overrides).preset
        assert preset.name == NAME and preset.arguments["num_classes"] == 3
        assert (preset.preprocessing.short_side, preset.preprocessing.long_side) == (48, 99)
        assert preset.label_set.names == ("a", "b", "c")

    def test_another_model_than_the_files_is_refused(self, trained: Path):
        with pytest.raises(CheckpointError, match="2 of another shape"):
            ms_seg.create_model(NAME, trained)

    def test_an_argument_counts_more(self, trained: Path):
        preset = ms_seg.create_model("auto", trained, short_side=64, label_set=None).preset
        assert (preset.preprocessing.short_side, preset.preprocessing.long_side) == (64, 99)
        assert preset.label_set is None

    def test_mindspore_itself_reads_the_file(self, trained: Path):
        loaded = ms.load_checkpoint(str(trained))
        model = ms_seg.create_model("auto", trained)
        not_loaded, _ = ms.load_param_into_net(model, {k: v for k, v in loaded.items() if isinstance(v, ms.Parameter)})
        assert not not_loaded and loaded["decoder.classify.bias"].shape == (3,)

    def test_notes_of_a_stranger_are_left_alone(self, tmp_path: Path):
        with open_checkpoint(PUBLISHED) as tensors:
            entries = {name: ArrayEntry(entry.numpy()) for name, entry in tensors.items()}
        write_checkpoint(tmp_path / "x.safetensors", entries, metadata={"labels": "cat, dog", "preprocessing": "none"})
        assert ms_seg.create_model(NAME, tmp_path / "x.safetensors").preset == find_preset(NAME)

    def rewritten(self, trained: Path, change: Callable[[dict[str, str]], dict[str, str]], folder: Path) -> Path:
        with open_checkpoint(trained) as tensors:
            entries = {name: ArrayEntry(entry.numpy()) for name, entry in tensors.items()}
            write_checkpoint(folder / "x.ckpt", entries, metadata=change(dict(tensors.metadata)))
        return folder / "x.ckpt"

    @pytest.mark.parametrize("key", ["arithmetic", "preprocessing", "labels"])
    def test_damaged_notes_are_refused(self, trained: Path, key: str, tmp_path: Path):
        file = self.rewritten(trained, lambda notes: {**notes, key: notes[key][:-1]}, tmp_path)
        with pytest.raises(CheckpointError, match=f"the checkpoint's note on its {key} cannot be used: it is no JSON"):
            ms_seg.create_model("auto", file)

    def test_a_file_without_notes_is_used_as_published(self, trained: Path, tmp_path: Path):
        preset = ms_seg.create_model("auto", self.rewritten(trained, lambda notes: {}, tmp_path)).preset
        assert preset.preprocessing == find_preset(preset.name).preprocessing
        assert preset.label_set is None and preset.arguments["num_classes"] == 3

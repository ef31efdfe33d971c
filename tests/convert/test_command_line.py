"""python -m convert, as a person uses it: to MindSpore and back, and what it says when it cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import drawn
import numpy as np
import pytest

from convert import open_checkpoint
from convert.__main__ import main
from convert.reading.entry import ArrayEntry
from convert.writing import write_checkpoint
from tests.convert.layouts.published import manifests, read_manifest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = {"weight": (1, 1, 3, 3), "bias": (1,)}  # of lang-seg's spatial regularisation
HF, MMSEG, MIT = "segformer_b0_hf_ade150", "segformer_b0_easycv_cocostuff172", "mit_b0_nvlabs_imagenet"


def checkpoint_of(manifest: str, path: Path) -> Path:
    """A PyTorch file with these keys and drawn numbers."""
    declared = read_manifest(manifests(manifest)[manifest])
    tensors = drawn.weights({key: entry.shape for key, entry in declared.items()}, seed=1)
    tensors.update({key: np.zeros((), np.int64) for key, entry in declared.items() if entry.dtype == "int64"})
    write_checkpoint(path, {key: ArrayEntry(array) for key, array in tensors.items()})
    return path


def arrays(path: Path) -> dict[str, np.ndarray]:
    with open_checkpoint(path) as tensors:
        return {name: entry.numpy().copy() for name, entry in tensors.items()}


@pytest.fixture
def hf(tmp_path: Path) -> Path:
    return checkpoint_of(HF, tmp_path / "hf.pth")


@pytest.mark.parametrize(("manifest", "layout"), [(HF, "hf"), (MMSEG, "mmseg")])
@pytest.mark.parametrize(("ours", "theirs"), [("a.ckpt", "b.pth"), ("a.safetensors", "b.safetensors")])
def test_the_round_trip_is_bit_identical(manifest: str, layout: str, ours: str, theirs: str, tmp_path: Path):
    source = checkpoint_of(manifest, tmp_path / "source.pth")
    assert main([str(source), str(tmp_path / ours)]) == 0
    assert main([str(tmp_path / ours), str(tmp_path / theirs), "--to", layout]) == 0
    before, after = arrays(source), arrays(tmp_path / theirs)
    assert set(before) == set(after)
    for name, array in before.items():
        assert after[name].dtype == array.dtype
        np.testing.assert_array_equal(after[name], array, err_msg=name)


def test_what_was_inferred_and_dropped_is_said(hf: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main([str(hf), str(tmp_path / "out.ckpt")]) == 0
    said = capsys.readouterr().out
    assert "transformers' SegformerForSemanticSegmentation" in said
    assert "segformer_b0_ade20k: 191 tensors filled from 207, 1 dropped" in said
    assert "num_batches_tracked" in said and "count of batches" in said


def test_a_field_that_the_file_does_not_tell_is_told_and_written_down(tmp_path: Path, capsys: pytest.CaptureFixture):
    source, target = checkpoint_of("lseg_lang-seg_clip_vitb32_384", tmp_path / "lseg.pth"), tmp_path / "lseg.ckpt"
    with open_checkpoint(source) as tensors:
        block = {f"net.scratch.head_block.depthwise.depthwise.{name}": shape for name, shape in BLOCK.items()}
        more = {name: ArrayEntry(np.zeros(shape, np.float32)) for name, shape in block.items()}
        write_checkpoint(tmp_path / "block.pth", {**tensors, **more})
    assert main([str(tmp_path / "block.pth"), str(target)]) == 2
    assert "The file has a spatial block and does not tell which" in capsys.readouterr().err
    fields = ["head_block=bottleneck", "block_depth=2"]
    told = [part for field in fields for part in ("--override", field)]
    assert main([str(tmp_path / "block.pth"), str(target), *told]) == 0
    with open_checkpoint(target) as tensors:
        noted = json.loads(tensors.metadata["arithmetic"])
    assert (noted["head_block"], noted["block_depth"]) == ("bottleneck", 2)


def test_a_dry_run_writes_nothing_but_the_report(hf: Path, tmp_path: Path):
    assert main([str(hf), str(tmp_path / "out.ckpt"), "--dry-run", "--report", str(tmp_path / "plan.json")]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hf.pth", "plan.json"]
    report = json.loads((tmp_path / "plan.json").read_text())
    assert report["layout"] == "hf" and report["model"] == "segformer_b0_ade20k"
    stacked = next(row for row in report["tensors"] if row["to"] == ["backbone.stages.0.blocks.0.attn.kv.weight"])
    assert stacked["operation"] == "stack" and len(stacked["from"]) == 2 and stacked["shapes"] == [[64, 32]]
    assert not report["unused"] and not report["unfilled"]


def test_a_file_that_does_not_fit_is_refused_and_nothing_is_written(
    hf: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    assert main([str(hf), str(tmp_path / "out.ckpt"), "--model", "segformer_b0_cocostuff164k"]) == 2
    said = capsys.readouterr().err
    assert "20 of the model unfilled" in said
    assert "decoder.classify.weight: [150, 256, 1, 1] in the source, [172, 256, 1, 1] in the model" in said
    assert [path.name for path in tmp_path.iterdir()] == ["hf.pth"]


def test_a_backbone_becomes_a_backbone(tmp_path: Path, capsys: pytest.CaptureFixture):
    source = checkpoint_of(MIT, tmp_path / "mit.pth")
    assert main([str(source), str(tmp_path / "out.ckpt")]) == 0
    said = capsys.readouterr().out
    assert "backbone of segformer_b0" in said and "ImageNet classifier" in said
    assert all(name.startswith("backbone.") for name in arrays(tmp_path / "out.ckpt"))
    with open_checkpoint(tmp_path / "out.ckpt") as tensors:
        assert tensors.metadata.keys() == {"model", "arithmetic"}  # it knows no classes and no pictures


@pytest.mark.parametrize(("layout", "prefix"), [("original-backbone", ""), ("original", "backbone.")])
def test_a_backbone_goes_back_alone_or_with_the_names_of_a_whole_model(layout: str, prefix: str, tmp_path: Path):
    source = checkpoint_of(MIT, tmp_path / "mit.pth")
    assert main([str(source), str(tmp_path / "mit.ckpt")]) == 0
    assert main([str(tmp_path / "mit.ckpt"), str(tmp_path / "back.pth"), "--to", layout]) == 0
    before, after = arrays(source), arrays(tmp_path / "back.pth")
    assert set(after) == {prefix + name for name in before if not name.startswith("head.")}
    for name, array in after.items():
        np.testing.assert_array_equal(array, before[name.removeprefix(prefix)], err_msg=name)


def test_a_converted_file_knows_its_arithmetic(tmp_path: Path):
    import ms_seg

    source = checkpoint_of("segformer_b0_nvlabs_ade150", tmp_path / "original.pth")
    assert main([str(source), str(tmp_path / "out.ckpt")]) == 0
    arguments = ms_seg.create_model("auto", tmp_path / "out.ckpt").preset.sizes
    assert (arguments["norm_eps"], arguments["conv_norm_eps"]) == (1e-6, 1e-5)


def test_a_converted_file_knows_its_classes_and_preprocessing(tmp_path: Path):
    source = checkpoint_of(MMSEG, tmp_path / "easycv.pth")
    assert main([str(source), str(tmp_path / "out.ckpt")]) == 0
    with open_checkpoint(tmp_path / "out.ckpt") as tensors:
        metadata = tensors.metadata
    assert json.loads(metadata["labels"]) == "cocostuff164k"
    assert json.loads(metadata["preprocessing"])["resize"] == "keep_ratio"


def test_metadata_that_cannot_be_used_ends_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main([str(checkpoint_of(MMSEG, tmp_path / "easycv.pth")), str(tmp_path / "good.ckpt")]) == 0
    tensors = {name: ArrayEntry(array) for name, array in arrays(tmp_path / "good.ckpt").items()}
    write_checkpoint(tmp_path / "bad.ckpt", tensors, metadata={"labels": '[["\x1b[2J", "red"]]'})
    capsys.readouterr()
    assert main([str(tmp_path / "bad.ckpt"), str(tmp_path / "out.ckpt")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("convert: the checkpoint's note on its labels cannot be used:") and said.count("\n") == 1
    assert not (tmp_path / "out.ckpt").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["missing.pth", "out.ckpt"], "missing.pth"),
        (["hf.pth", "out.onnx"], "TARGET must end in .ckpt or .safetensors: out.onnx does not"),
        (
            ["hf.pth", "out.ckpt", "--model", "segformer_b9_ade20k"],
            "there is no model 'segformer_b9_ade20k'; the nearest",
        ),
        (["hf.pth", "nowhere/out.ckpt"], "TARGET must be in a folder that exists: there is no nowhere"),
        (["hf.safetensors", "hf.safetensors"], "TARGET must be another file than SOURCE: hf.safetensors is the same"),
        (["hf.pth", "out.pth", "--to", "keras"], "segformer has no layout 'keras'; it has hf, hf5, mmseg"),
        (["text.pth", "out.ckpt"], "text.pth"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_bad_input_ends_in_one_sentence(
    arguments: list[str], sentence: str, hf: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(hf.parent)
    Path("text.pth").write_text("not a checkpoint")
    Path("hf.safetensors").symlink_to("hf.pth")
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1
    assert not list(hf.parent.glob("out.*"))


def test_the_program_leaves_the_exit_code_to_the_shell(tmp_path: Path):
    command = [sys.executable, "-m", "convert", str(tmp_path / "missing.pth"), str(tmp_path / "out.ckpt")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 2 and "Traceback" not in ended.stderr

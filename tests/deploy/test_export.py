"""A network as a file: what the graph gives, what lies beside it, and what is not kept."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore.train import serialization

import ms_seg
from ms_seg.__main__ import main
from ms_seg.data.drawn.scenes import draw_scene
from ms_seg.deploy import export as exporting
from ms_seg.deploy.description import beside, file_digest, read_description
from ms_seg.deploy.export import Choices, check_choices, export_mindir
from ms_seg.deploy.pictures import example, fitted
from ms_seg.presets import Window, find_preset
from ms_seg.systems import Model

PICTURE = draw_scene(3, (96, 128)).picture
PICTURES = {"a drawn picture": PICTURE}
WORDS = ("circle", "grass", "sand")

# A script on a device's machine: the file, and arrays in and out.
SCRIPT = """
import sys
import numpy as np
import mindspore as ms
graph = ms.nn.GraphCell(ms.load(sys.argv[1]))
outputs = graph(ms.Tensor(np.load(sys.argv[2])))
outputs = outputs if isinstance(outputs, tuple) else (outputs,)
np.savez(sys.argv[3], *[output.asnumpy() for output in outputs])
assert not {"ms_seg", "convert"} & set(sys.modules)
"""


def shallow(name: str, **sizes: int) -> Model:
    """Of random weights, with a block that reduces its keys and one that does not."""
    return ms_seg.create_model(name, depths=(1, 0, 0, 1), **sizes)


@pytest.fixture(scope="module")
def segformer() -> Model:
    return shallow("segformer_tiny_shapes")


@pytest.fixture(scope="module")
def lseg() -> Model:
    return shallow("lseg_tiny_shapes", text_layers=1)


@pytest.fixture(scope="module")
def mask2former() -> Model:
    return ms_seg.create_model("mask2former_tiny_shapes", find_preset("mask2former_tiny_shapes").embedded)


@pytest.fixture(scope="module")
def stretched(segformer, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("stretched") / "net.mindir"
    (compared,) = export_mindir(segformer, path, Choices((64, 96), batch=2, fit="stretch"), PICTURES, {})
    assert compared.error < 1e-5
    return path


def same_pictures(model: Model, size: tuple[int, int], fit: str) -> ms_seg.Segmenter:
    """The network in Python, to which pictures come as they come to a graph."""
    model.preset, before = fitted(model.preset, size, fit), model.preset
    try:
        return ms_seg.Segmenter(model, "pynative", sizes=[size] if fit == "pad" else [])
    finally:
        model.preset = before


def test_a_script_without_the_package_gets_what_the_network_gives(segformer, stretched, tmp_path):
    images = example(PICTURE, fitted(segformer.preset, (64, 96), "stretch"), (64, 96), 2, ())
    (tmp_path / "script.py").write_text(SCRIPT)
    np.save(tmp_path / "images.npy", images)
    command = [sys.executable, "script.py", str(stretched), "images.npy", "out.npz"]
    subprocess.run(command, cwd=tmp_path, check=True, env={"PATH": os.environ["PATH"], "GLOG_v": "3"})
    with np.load(tmp_path / "out.npz") as arrays:
        ours = arrays["arr_0"]
    theirs = segformer(ms.Tensor(images)).asnumpy()
    assert np.linalg.norm(ours - theirs) <= 1e-5 * np.linalg.norm(theirs)


def test_what_lies_beside_a_graph_says_what_it_takes_and_gives(stretched):
    said = json.loads(beside(stretched).read_text())
    assert said["inputs"] == [{"name": "images", "shape": [2, 3, 64, 96], "dtype": "float32", "axes": "N C H W"}]
    assert said["outputs"] == [{"name": "logits", "shape": [2, 9, 16, 24], "dtype": "float32", "axes": "N C H W"}]
    assert said["preprocessing"]["channel_order"] == "RGB" and said["preprocessing"]["mean"][0] == 123.675
    assert said["labels"][0] == ["circle", "#e6194b", True, 0] and len(said["labels"]) == 9
    assert (said["model"], said["task"], said["output"], said["inside"]) == (
        "segformer_tiny_shapes", "semantic", "logits", [],
    )  # fmt: skip


def test_a_graph_answers_pictures_as_the_network_does(segformer, stretched):
    answers = ms_seg.Segmenter.from_mindir(stretched)([PICTURE, PICTURE[:, ::-1].copy(), PICTURE[:60]])
    theirs = same_pictures(segformer, (64, 96), "stretch")
    for answer, picture in zip(answers, (PICTURE, PICTURE[:, ::-1].copy(), PICTURE[:60]), strict=True):
        other = theirs(picture)
        assert answer.label_map.shape == picture.shape[:2] and answer.label_set.names == other.label_set.names
        assert (answer.label_map != other.label_map).mean() < 1e-3
        np.testing.assert_allclose(answer.class_scores, other.class_scores, atol=1e-4)


@pytest.mark.parametrize(("fit", "size"), [("pad", (128, 160)), ("windows", (64, 64))])
def test_pictures_of_any_size_come_to_a_graph_of_one(segformer, tmp_path, fit, size):
    export_mindir(segformer, tmp_path / "net.mindir", Choices(size, fit=fit), PICTURES, {})
    ours, theirs = ms_seg.Segmenter.from_mindir(tmp_path / "net.mindir"), same_pictures(segformer, size, fit)
    for picture in (PICTURE, PICTURE[:70, :50]):
        assert (ours(picture).label_map != theirs(picture).label_map).mean() < 1e-3
    if fit == "pad":
        with pytest.raises(ValueError, match="its input of 200x128 must fit into 128x160"):
            ours(draw_scene(1, (200, 128)).picture)


def test_what_is_inside_a_graph_is_what_numpy_does_outside(segformer, tmp_path):
    inside = ("normalize", "resize", "argmax")
    export_mindir(segformer, tmp_path / "net.mindir", Choices((96, 128), fit="stretch", inside=inside), PICTURES, {})
    graph = ms.nn.GraphCell(ms.load(str(tmp_path / "net.mindir")))
    ours = graph(ms.Tensor(PICTURE[None])).asnumpy()[0]  # of the input's size already
    theirs = same_pictures(segformer, (96, 128), "stretch")(PICTURE).label_map
    assert ours.dtype == np.int32 and (ours != theirs).mean() < 1e-3
    with pytest.raises(ValueError, match="export it without argmax"):
        ms_seg.Segmenter.from_mindir(tmp_path / "net.mindir")


def test_words_are_in_the_graph(lseg, tmp_path):
    export_mindir(lseg, tmp_path / "net.mindir", Choices((64, 96), fit="stretch"), PICTURES, {}, WORDS)
    answer = ms_seg.Segmenter.from_mindir(tmp_path / "net.mindir")(PICTURE)
    theirs = same_pictures(lseg, (64, 96), "stretch")(PICTURE, WORDS)
    assert answer.label_set.names == WORDS and (answer.label_map != theirs.label_map).mean() < 1e-3
    with pytest.raises(ValueError, match="takes words: pass the labels"):
        export_mindir(lseg, tmp_path / "other.mindir", Choices((64, 96), fit="stretch"), PICTURES, {})


def test_words_come_as_vectors_beside_the_images(lseg, tmp_path):
    path, choices = tmp_path / "net.mindir", Choices((64, 96), fit="stretch", words=3)
    export_mindir(lseg, path, choices, PICTURES, {})
    images, words = json.loads(beside(path).read_text())["inputs"]
    assert (images["shape"], words) == (
        [1, 3, 64, 96], {"name": "words", "shape": [3, 64], "dtype": "float32", "axes": "K D"},
    )  # fmt: skip
    features = ms_seg.Segmenter(lseg, "pynative").network.reader.features(WORDS).asnumpy()
    seen = example(PICTURE, fitted(lseg.preset, (64, 96), "stretch"), (64, 96), 1, ())
    logits = ms.nn.GraphCell(ms.load(str(path)))(ms.Tensor(seen), ms.Tensor(features)).asnumpy()
    theirs = same_pictures(lseg, (64, 96), "stretch").predict(PICTURE, WORDS).logits().values
    assert np.linalg.norm(logits[0] - theirs) <= 1e-5 * np.linalg.norm(theirs)
    with pytest.raises(ValueError, match="takes the vectors of words beside images"):
        ms_seg.Segmenter.from_mindir(path)
    with pytest.raises(ValueError, match="its words are given"):
        export_mindir(lseg, path, choices, PICTURES, {}, WORDS)
    with pytest.raises(ValueError, match="words must be 1 or more: -3 is not"):
        export_mindir(lseg, path, Choices((64, 96), fit="stretch", words=-3), PICTURES, {})


def test_a_size_that_the_network_cannot_look_at_is_said_to_be_one(segformer, tmp_path):
    with pytest.raises(RuntimeError, match=r"^segformer_tiny_shapes could not be run on an input of 5x5: .*$"):
        export_mindir(segformer, tmp_path / "net.mindir", Choices((5, 5), fit="stretch"), PICTURES, {})
    assert not os.listdir(tmp_path)


def test_queries_give_every_answer_of_the_network(mask2former, tmp_path):
    export_mindir(mask2former, tmp_path / "net.mindir", Choices((96, 128), fit="stretch"), PICTURES, {})
    theirs = same_pictures(mask2former, (96, 128), "stretch")(PICTURE)
    answer = ms_seg.Segmenter.from_mindir(tmp_path / "net.mindir")(PICTURE)
    assert answer.labels == theirs.labels and len(answer.labels) > 1
    np.testing.assert_allclose(answer.scores, theirs.scores, atol=1e-4)


def test_scores_of_classes_are_made_of_queries_in_the_graph(tmp_path):
    mask2former = shallow("mask2former_tiny_shapes", query_layers=1, pixel_layers=1)
    choices = Choices((96, 128), fit="stretch", inside=("normalize", "semantic"))
    export_mindir(mask2former, tmp_path / "net.mindir", choices, PICTURES, {})
    answer = ms_seg.Segmenter.from_mindir(tmp_path / "net.mindir")(PICTURE)
    images = example(PICTURE, fitted(mask2former.preset, (96, 128), "stretch"), (96, 128), 1, ())
    class_logits, mask_logits = (each.asnumpy()[0].astype(np.float64) for each in mask2former(ms.Tensor(images)))
    shares = np.exp(class_logits) / np.exp(class_logits).sum(1, keepdims=True)
    scores = np.einsum("qc,qhw->chw", shares[:, :-1], 1 / (1 + np.exp(-mask_logits)))
    assert (answer.label_map[2::4, 2::4] != scores.argmax(0)).mean() < 0.02  # bilinear in between
    assert read_description(tmp_path / "net.mindir").preset.tasks == ("semantic",)


def test_float16_is_compared_with_the_network_in_float16(segformer, tmp_path):
    choices = Choices((64, 64), fit="stretch", precision="float16")
    (compared,) = export_mindir(segformer, tmp_path / "net.mindir", choices, PICTURES, {})
    assert compared.error < 1e-5 < compared.float32_error < 0.05


def test_weights_of_over_a_gigabyte_lie_in_a_folder_beside(segformer, tmp_path, monkeypatch):
    monkeypatch.setattr(serialization, "TOTAL_SAVE", 1)  # kilobytes
    for _ in range(2):  # what is there is replaced
        export_mindir(segformer, tmp_path / "net.mindir", Choices((64, 64), fit="stretch"), PICTURES, {})
    assert sorted(os.listdir(tmp_path)) == ["net.mindir", "net.mindir.json", "net_variables"]
    ours = ms_seg.Segmenter.from_mindir(tmp_path / "net.mindir")(PICTURE).label_map
    assert (ours != same_pictures(segformer, (64, 64), "stretch")(PICTURE).label_map).mean() < 1e-3


def test_a_graph_that_does_not_agree_is_not_kept(segformer, tmp_path, monkeypatch):
    load = exporting.load_graph

    def wrong(path):
        graph = load(path)
        return lambda images: graph(images) * 1.001

    monkeypatch.setattr(exporting, "load_graph", wrong)
    with pytest.raises(ValueError, match="is not kept: on a drawn picture the graph is off by 1.0e-03"):
        export_mindir(segformer, tmp_path / "net.mindir", Choices((64, 64), fit="stretch"), PICTURES, {})
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_what_is_stopped_leaves_what_was_there(segformer, tmp_path, monkeypatch, error):
    def export(*_, file_name, **__):
        Path(f"{file_name}.mindir").write_bytes(b"half")
        raise error

    monkeypatch.setattr(ms, "export", export)
    (tmp_path / "net.mindir").write_bytes(b"of yesterday")
    with pytest.raises(type(error)):
        export_mindir(segformer, tmp_path / "net.mindir", Choices((64, 64), fit="stretch"), PICTURES, {})
    assert os.listdir(tmp_path) == ["net.mindir"] and (tmp_path / "net.mindir").read_bytes() == b"of yesterday"


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        (Choices((64, 96)), "say how they come to it, --fit stretch"),
        (Choices((64, 96), fit="windows"), "windows are square"),
        (Choices((64, 96), fit="pad", inside=("normalize",)), "no colour becomes zero"),
        (Choices((64, 96), fit="stretch", inside=("semantic",)), "gives logits of classes already"),
        (Choices((64, 64), fit="windows", inside=("argmax",)), "their scores are averaged"),
        (Choices((64, 96), fit="stretch", inside=("blur",)), "there is no part 'blur'"),
        (Choices((64, 96), fit="stretch", batch=0), "batch must be 1 or more"),
        (Choices((64, 96), fit="stretch", precision="int8"), "precision must be one of float32, float16"),
    ],
)
def test_choices_that_do_not_go_together_are_refused(segformer, choices, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_choices(segformer.preset, choices)


def test_a_model_whose_rule_gives_one_size_needs_no_fit():
    preset = find_preset("segformer_b0_ade20k")
    assert check_choices(preset, Choices((512, 512), inside=("normalize",))) == "exact"
    with pytest.raises(ValueError, match="in one way alone"):
        check_choices(preset, Choices((512, 512), fit="pad"))


def test_a_model_of_exact_windows_takes_no_other_size():
    preset = find_preset("vit_adapter_beit_l_cocostuff164k")
    assert check_choices(preset, Choices((896, 896), inside=("semantic",))) == "windows"
    assert fitted(preset, (896, 896), "windows").window == Window(896, 512, exact=True)
    with pytest.raises(ValueError, match="takes windows of 896x896 alone"):
        check_choices(preset, Choices((512, 512), inside=("semantic",)))


def test_a_description_of_another_graph_is_refused(stretched, tmp_path):
    (tmp_path / "net.mindir").write_bytes(stretched.read_bytes() + b" ")
    with pytest.raises(ValueError, match="which says what net.mindir takes and gives, can't be read"):
        ms_seg.Segmenter.from_mindir(tmp_path / "net.mindir")
    beside(tmp_path / "net.mindir").write_bytes(beside(stretched).read_bytes())
    with pytest.raises(ValueError, match="describes another graph"):
        ms_seg.Segmenter.from_mindir(tmp_path / "net.mindir")
    with pytest.raises(ValueError, match="there is no file"):
        ms_seg.Segmenter.from_mindir(tmp_path / "no.mindir")


@pytest.mark.parametrize(
    "change",
    [
        {"format": "mine"}, {"inputs": []}, {"inputs": [{"name": "x", "shape": [-1], "dtype": "f", "axes": ""}]},
        {"preprocessing": {"fit": "stretch", "channel_order": "BGR"}}, {"labels": [["a", "red"]]}, {"model": "no"},
        {"inside": ["blur"]}, {"outputs": None}, {"preprocessing": []},
    ],
)  # fmt: skip
def test_a_description_that_means_nothing_is_refused_in_a_sentence(stretched, tmp_path, change):
    graph = tmp_path / "net.mindir"
    graph.write_bytes(stretched.read_bytes())
    beside(graph).write_text(json.dumps(json.loads(beside(stretched).read_text()) | change))
    with pytest.raises(ValueError, match=r"net.mindir.json"):
        read_description(graph)


def test_a_file_that_is_no_graph_is_refused(stretched, tmp_path):
    graph = tmp_path / "net.mindir"
    graph.write_bytes(b"nothing")
    said = json.loads(beside(stretched).read_text())
    beside(graph).write_text(json.dumps(said | {"sha256": file_digest(graph)}))
    with pytest.raises(ValueError, match="is no MindIR file that MindSpore can read"):
        ms_seg.Segmenter.from_mindir(graph)


def test_the_command_exports_compares_and_says_so(tmp_path, capsys):
    target = tmp_path / "tiny.mindir"
    assert main(["export", "--model", "segformer_tiny_shapes", "--size", "64x64", "--fit", "stretch", str(target)]) == 0
    said = capsys.readouterr().out
    assert "a drawn picture: error of the graph to the network" in said and "a photograph" in said
    said = json.loads(beside(target).read_text())
    assert said["checkpoint"]["file"] == "segformer_tiny_shapes.pth"
    assert said["made_with"] == {"ms_seg": ms_seg.__version__, "mindspore": ms.__version__}
    assert sorted(os.listdir(tmp_path)) == ["tiny.mindir", "tiny.mindir.json"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--size", "64x64", "no/folder.mindir"), "OUTPUT must be in a folder that exists"),
        (("--size", "64x64", "net.onnx"), "OUTPUT must end in .mindir"),
        (("--size", "64x64", "--picture", "no.jpg", "net.mindir"), "there is no picture no.jpg"),
    ],
)
def test_the_command_refuses_in_a_sentence(tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "--model", "segformer_tiny_shapes", *arguments]) == 2
    assert sentence in capsys.readouterr().err and not os.listdir(tmp_path)

"""The zero-shot test's script: the original's command lines, its printed figures, and a sentence for what is wrong."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from mindspore import Tensor, nn, ops
from PIL import Image

import ms_seg
from ms_seg.evaluation import few_shot
from ms_seg.presets import Preprocessing, Preset, find_preset
from ms_seg.systems import Model
from ms_seg.text import Tokenizer
from tests.data.few_shot_folders import FSS_NAMES, write_fss, write_list, write_pascal

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "test_lseg_zs.py"
SIDE, MIDDLE = 40, 130.0  # of the network's input; grey that parts bright from dark
SQUASH = Preprocessing("squash", SIDE, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
PRESET = replace(find_preset("lseg_tiny_shapes"), preprocessing=SQUASH)
LINE = ["--widehead", "--no-scaleinv", "--arch_option", "0", "--ignore_index", "255", "--nshot", "0",
        "--module", "clipseg_DPT_test_v2"]  # fmt: skip


class Words(nn.Cell):
    """Tokens (K, 77) -> (K, 2): "others" is the brightness MIDDLE, words with a "w" first are bright, others dark."""

    def __init__(self, vocab: Path):
        super().__init__()
        tokenizer = Tokenizer(vocab)
        self.others, self.bright = (tokenizer.encode(word)[0] for word in ("others", "wheel"))
        self.token_embedding = ops.zeros((len(tokenizer), 1))

    def construct(self, tokens: Tensor) -> Tensor:
        letter = tokens[:, 1]
        others, bright = (letter == self.others).astype("float32"), (letter == self.bright).astype("float32")
        return ops.stack((1 - others, others * MIDDLE + (1 - others) * (1 - bright) * -1000.0), axis=1)


class Brightness(nn.Cell):
    """Images (N, 3, H, W) -> (N, 2, H / 2, W / 2): the brightness, and 1."""

    def construct(self, images: Tensor) -> Tensor:
        grey = ops.avg_pool2d(images.mean(axis=1, keep_dims=True), 2, 2)
        return ops.concat((grey, ops.ones_like(grey)), axis=1)


class Products(nn.Cell):
    """Features (N, D, h, w) and words (K, D) -> (N, K, 2h, 2w)."""

    def construct(self, pixels: Tensor, words: Tensor) -> Tensor:
        n, d, h, w = pixels.shape
        logits = ops.matmul(words, pixels.reshape(n, d, h * w)).reshape(n, words.shape[0], h, w)
        return ops.repeat_elements(ops.repeat_elements(logits, 2, 2), 2, 3)


class StandIn(Model):
    """In the parts of `LSeg`."""

    def __init__(self, preset: Preset, vocab: Path):
        super().__init__()
        self.preset = preset
        self.backbone, self.decoder, self.text, self.word_pixel = nn.Identity(), Brightness(), Words(vocab), Products()

    def pixels(self, images: Tensor) -> Tensor:
        return self.decoder(self.backbone(images))


@pytest.fixture
def script(tmp_path, monkeypatch) -> ModuleType:
    """The script as a module, with a stand-in for every lseg model; `asked` lists what `create_model` was asked for."""
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location("test_lseg_zs_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "weights.ckpt").write_bytes(b"weights")
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    module.asked, module.preset = [], PRESET

    def create(name, checkpoint):
        module.asked.append((name, checkpoint))
        return StandIn(replace(module.preset, name=name), tmp_path / "merges.txt")

    def find(name):
        return replace(module.preset, name=name) if name.startswith("lseg") else find_preset(name)

    monkeypatch.setattr(ms_seg, "create_model", create)
    monkeypatch.setattr(module, "find_preset", find)
    return module


def run(script: ModuleType, dataset: str = "fss", *more: str, backbone: str = "clip_resnet101") -> int:
    line = ["--backbone", backbone, "--dataset", dataset, "--datapath", ".", "--weights", "weights.ckpt", *LINE]
    return script.main([*line, "--vocab", "merges.txt", "--mode", "pynative", *more])


def iou_of_bright_pixels(root: Path) -> tuple[float, float]:
    """mIoU and FB-IoU when "wheel" finds what is bright and the two other classes nothing, counted by hand."""
    counts = {name: np.zeros((2, 2)) for name in FSS_NAMES}  # (others or thing, intersection or union)
    for file in sorted(root.glob("FSS-1000/*/*.jpg")):
        square = Image.open(file).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        grey = np.asarray(square).mean(axis=2).reshape(SIDE // 2, 2, SIDE // 2, 2).mean(axis=(1, 3))
        found = (grey > MIDDLE).repeat(2, axis=0).repeat(2, axis=1) & (file.parent.name == "wheel")
        mask = np.asarray(Image.open(file.with_suffix(".png")).convert("L")) >= 128
        nearest = np.arange(SIDE) * len(mask) // SIDE
        truth = mask[np.ix_(nearest, nearest)]
        for value in (0, 1):
            counts[file.parent.name][value] += (
                ((found == value) & (truth == value)).sum(),
                ((found == value) | (truth == value)).sum(),
            )
    both = sum(counts.values())
    miou = np.mean([count[1, 0] / count[1, 1] for count in counts.values()])
    return 100 * miou, 100 * (both[:, 0] / both[:, 1]).mean()


@pytest.mark.parametrize("mode", ["graph", "pynative"])
def test_the_figures_are_those_of_the_words_and_printed_as_the_original_prints_them(script, tmp_path, capsys, mode):
    write_fss(tmp_path, pictures=5)
    assert run(script, "fss", "--mode", mode) == 0
    miou, fb_iou = iou_of_bright_pixels(tmp_path)
    printed = capsys.readouterr()
    assert 20 < miou < 33.3
    assert f"Fold 0, 0-shot ==> mIoU: {miou:5.2f} \t FB-IoU: {fb_iou:5.2f}\n" in printed.out
    assert f"*** Test [@Epoch 00] Avg L: 0.00000  mIoU: {miou:5.2f}   FB-IoU: {fb_iou:5.2f}   ***\n" in printed.out
    assert "==================== Finished Testing ====================\n" in printed.out
    assert "use norm: [0.0, 0.0, 0.0], [0.004, 0.004, 0.004]\n" in printed.out
    assert "Total (val) images are : 15; 15 episodes" in printed.out
    assert f"mIoU: {miou:5.2f}  |  FB-IoU: {fb_iou:5.2f}" in printed.err


def test_every_run_adds_its_two_lines_to_the_log(script, tmp_path):
    write_fss(tmp_path, pictures=2)
    assert run(script) == run(script) == 0
    lines = (tmp_path / "logs/fewshot/log_fewshot-test_nshot0_fss.txt").read_text().splitlines()
    assert lines[:2] == lines[2:]
    assert lines[0] == "weights.ckpt"
    assert lines[1].startswith("Fold 0, 0-shot ==> mIoU: ")
    assert len(list((tmp_path / "logs/fewshot").iterdir())) == 1


@pytest.mark.parametrize(
    ("backbone", "model"), [("clip_resnet101", "lseg_zs_resnet101"), ("clip_vitl16_384", "lseg_zs_vitl16")]
)
def test_the_backbone_chooses_the_model(script, tmp_path, backbone, model):
    write_fss(tmp_path, pictures=1)
    assert run(script, backbone=backbone) == 0
    assert script.asked == [(model, "weights.ckpt")]


def test_another_model_answers_at_the_pictures_own_size(script, tmp_path, capsys):
    write_fss(tmp_path, pictures=5)
    shrink = replace(SQUASH, resize="shrink", short_side=512, long_side=512, pad_multiple=2, logits_via_input=True)
    script.preset = replace(PRESET, preprocessing=shrink)
    assert run(script, "fss", "--model", "lseg_vitl16_text_driven", backbone="resnet50") == 0
    assert script.asked == [("lseg_vitl16_text_driven", "weights.ckpt")]
    assert "mIoU: 2" in capsys.readouterr().out


def test_all_arguments_of_the_original_are_taken(script, tmp_path):
    write_pascal(tmp_path, fold=2)
    script.open_few_shot = lambda *arguments: replace(
        (fold := ms_seg.data.few_shot.open_few_shot(*arguments)), queries=fold.queries[:3]
    )
    more = "--model encnet --workers 16 --nworker 0 --bsz 1 --base-size 520 --crop-size 480 --train-split train --aux"
    more += " --se-loss --se-weight 0.2 --batch-size 16 --test-batch-size 16 --no-cuda --seed 1 --eval --acc-bn"
    more += " --test-val --no-val --widehead_hr --jobname default --no-strict --use_pretrained True --nshot 1 --fold 2"
    assert run(script, "pascal", *more.split(), "--benchmark", "pascal", "--activation", "relu") == 0


def test_a_stopped_test_goes_on(script, tmp_path, monkeypatch, capsys):
    write_fss(tmp_path, pictures=3)
    monkeypatch.setattr(few_shot, "_PAUSE", 0.0)
    assert run(script) == 0
    whole = (tmp_path / "logs/fewshot/log_fewshot-test_nshot0_fss.txt").read_text()
    update, left = few_shot.FewShotIoU.update, [5, 4]

    def stopping(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        update(*arguments)

    monkeypatch.setattr(few_shot.FewShotIoU, "update", stopping)
    assert run(script) == 130
    assert "the same command continues" in capsys.readouterr().err
    left[0] = left[1]
    assert run(script) == 0
    assert (tmp_path / "logs/fewshot/log_fewshot-test_nshot0_fss.txt").read_text() == 2 * whole


# ----------------------------------------------------------------------------------------------------- wrong and broken


def lose_mask(root: Path) -> None:
    (root / "FSS-1000/wheel/3.png").unlink()


def spoil_picture(root: Path) -> None:
    (root / "FSS-1000/burj_al/2.jpg").write_bytes(b"GIF")


def lose_splits(root: Path) -> None:
    (root / "splits").rename(root / "lists")


def foreign_class(root: Path) -> None:
    write_list(root / "splits/fss/test.txt", ["nothing_here"])


@pytest.mark.parametrize(
    ("change", "more", "message"),
    [
        (lose_mask, [], "there is no file FSS-1000/wheel/3.png, which splits/fss/test.txt asks for"),
        (spoil_picture, [], "FSS-1000/burj_al/2.jpg is not a picture of a known format"),
        (lose_splits, [], "pass fewshot_data/data/splits of github.com/isl-org/lang-seg as --splits"),
        (foreign_class, [], "there is no folder FSS-1000/nothing_here"),
        (None, ["--fold", "4"], "there is no fold 4: choose 0 to 3"),
        (None, ["--nshot", "-1"], "-1 support pictures cannot be drawn"),
        (None, ["--dataset", "ade20k"], "there is no benchmark 'ade20k': choose from pascal, coco, fss"),
        (None, ["--dataset", "pascal"], "there is no split list splits/pascal/val/fold0.txt"),
        (None, ["--datapath", "nowhere"], "there is no folder nowhere"),
        (None, ["--splits", "nowhere"], "there is no folder nowhere"),
        (
            None,
            ["--backbone", "resnet50"],
            "no zero-shot model has the backbone 'resnet50': choose from clip_vitl16_384",
        ),
        (None, ["--model", "segformer_b9"], "there is no model 'segformer_b9'; the nearest are"),
        (None, ["--vocab", "nowhere.txt"], "nowhere.txt, which is no file and no folder"),
    ],
)
def test_whatever_is_wrong_ends_in_one_sentence(script, tmp_path, capsys, change, more, message):
    write_fss(tmp_path, pictures=3)
    if change:
        change(tmp_path)
    assert run(script, "fss", *more) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("segmenting")]
    assert len(lines) == 1
    assert lines[0].startswith("test_lseg_zs: ")
    assert message in lines[0]


def test_no_weights_are_said_at_once(script, tmp_path, capsys):
    assert script.main(["--backbone", "clip_resnet101", "--dataset", "fss"]) == 2
    assert capsys.readouterr().err == "test_lseg_zs: there are no weights to test: pass their file as --weights\n"


def test_a_log_that_cannot_be_written_is_said_before_the_work(script, tmp_path, capsys):
    write_fss(tmp_path, pictures=1)
    (tmp_path / "logs").write_text("")
    assert run(script) == 2
    assert "logs/fewshot: Not a directory" in capsys.readouterr().err
    assert not script.asked


def test_a_model_without_words_is_refused(script, tmp_path, capsys):
    write_fss(tmp_path, pictures=1)
    script.preset = find_preset("segformer_b0_ade20k")
    assert run(script) == 2
    assert "has classes of its own: a vocabulary is for a model that takes words" in capsys.readouterr().err


def test_the_script_runs_by_itself(tmp_path):
    result = subprocess.run([sys.executable, SCRIPT, "--fold", "zero"], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 2
    assert "argument --fold: invalid int value: 'zero'" in result.stderr

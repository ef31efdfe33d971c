"""Published models verified from a hub on this machine: drawn weights, and the numbers that transformers gives."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    Mask2FormerImageProcessor,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
    SwinConfig,
)

from ms_seg.hub import find_address
from ms_seg.presets import ASSETS
from tests.hub.servers import Hub, ask_huggingface, ask_modelscope, serving

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "verify_published.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verify_published_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where a dataclass looks for itself
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    coarse = np.random.RandomState(3).randint(0, 256, (6, 8, 3)).astype(np.uint8)
    path = tmp_path_factory.mktemp("pictures") / "street.png"
    Image.fromarray(coarse).resize((93, 71), Image.Resampling.BICUBIC).save(path)
    return path


def segformer() -> SegformerForSemanticSegmentation:
    sizes = {"hidden_sizes": [8, 16, 24, 32], "depths": [1] * 4, "num_attention_heads": [1, 2, 3, 4]}
    return SegformerForSemanticSegmentation(SegformerConfig(**sizes, decoder_hidden_size=20, num_labels=5))


def mask2former() -> Mask2FormerForUniversalSegmentation:
    backbone = SwinConfig(
        embed_dim=16, depths=[1] * 4, num_heads=[1, 2, 2, 4], window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    width = {key: 32 for key in ("feature_size", "mask_feature_size", "hidden_dim")}
    hidden = {"encoder_feedforward_dim": 48, "dim_feedforward": 80, "num_attention_heads": 4}
    layers = {"encoder_layers": 1, "decoder_layers": 2, "num_queries": 6, "num_labels": 5}
    return Mask2FormerForUniversalSegmentation(Mask2FormerConfig(backbone_config=backbone, **width, **hidden, **layers))


@pytest.fixture(scope="module")
def models(tmp_path_factory, picture) -> tuple[dict[str, dict[str, bytes]], list[dict]]:
    """The hub's files, and what is expected of them: the first numbers that transformers gives."""
    files, expected = {}, []
    torch.manual_seed(0)
    for name, model, processor in (
        ("someone/segformer", segformer(), SegformerImageProcessor(size={"height": 64, "width": 64})),
        ("someone/mask2former", mask2former(), Mask2FormerImageProcessor(size={"height": 64, "width": 64})),
    ):
        folder = tmp_path_factory.mktemp("written")
        model.eval().save_pretrained(folder)
        processor.save_pretrained(folder)
        files[name] = {path.name: path.read_bytes() for path in folder.iterdir()}
        with torch.no_grad():
            given = model(**processor(Image.open(picture), return_tensors="pt"))
        if "logits" in given:
            ones = model(pixel_values=torch.ones(1, 3, 64, 64)).logits
            raised = torch.nn.functional.interpolate(ones, (64, 64), mode="bilinear", align_corners=True)
            expected.append(entry(name, "ones", {"upsampled[0,0,32,:6]": raised[0, 0, 32, :6].tolist()}))
            numbers = {"logits[0,:3,:3,:3]": given["logits"][0, :3, :3, :3].tolist()}
        else:
            numbers = {
                "class_queries_logits[0,:3,:3]": given["class_queries_logits"][0, :3, :3].tolist(),
                "masks_queries_logits[0,0,:3,:3]": given["masks_queries_logits"][0, 0, :3, :3].tolist(),
            }
        expected.append(entry(name, "picture", numbers))
    return files, expected


def entry(name: str, given: str, numbers: dict) -> dict:
    return {
        "model": f"hf:{name}", "input": given, "side": 64, "tolerance": 1e-4, "expected": numbers, "source": "its test",
    }  # fmt: skip


@pytest.fixture
def verify(script, models, picture, tmp_path, monkeypatch, capsys):
    """verify(expected, *names) -> exit code, the table's rows as lists of cells, and stderr."""
    files, _ = models
    files["damo/shapes"] = {"pytorch_model.pt": (ASSETS / "segformer_tiny_shapes.pth").read_bytes()}
    files["someone/cut"] = {"model.safetensors": files["someone/segformer"]["model.safetensors"][:5000]}

    def run(expected: list[dict], *names: str):
        (tmp_path / "expected.json").write_text(json.dumps(expected))
        with serving(Hub(files)) as hub:
            ask_huggingface(monkeypatch, hub.url, tmp_path / "hf")
            ask_modelscope(monkeypatch, hub.url, tmp_path / "ms")
            options = ["--expected", str(tmp_path / "expected.json"), "--picture", str(picture)]
            code = script.main([*names, *options, "--output", str(tmp_path / "table.md")])
        printed = capsys.readouterr()
        table = (tmp_path / "table.md").read_text()
        assert table.strip() in printed.out
        return code, [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]], printed.err

    return run


def test_drawn_models_give_the_numbers_that_transformers_gives(verify, models):
    _, expected = models
    for part in expected:
        code, ((name, _, numbers, reference, verdict),), _ = verify([part])
        assert (code, name, verdict) == (0, part["model"], "as published")
        assert float(numbers.split()[2]) < 0.1 and numbers.endswith("times what its test allows (0.0001)")
        assert float(reference.removeprefix("relative error ")) < 1e-5


@pytest.mark.parametrize("place", ["logits[0,:3,:3,:3]", "class_queries_logits[0,:3,:3]"])
def test_other_numbers_are_a_failure(verify, models, place):
    _, expected = models
    (part,) = (part for part in expected if place in part["expected"])
    changed = np.array(part["expected"][place])
    changed.flat[-1] += 1e-3
    code, (cells,), _ = verify([{**part, "expected": {**part["expected"], place: changed.tolist()}}])
    assert code == 1 and cells[-1] == "other numbers than published"


def test_one_that_cannot_be_had_or_converted_does_not_stop_the_others(verify):
    names = ("hf:someone/nothing", "hf:someone/cut", "ms:damo/shapes", "segformer_b0_ade20k", "hf:someone/segformer")
    code, rows, error = verify([], *names)
    assert code == 1
    verdicts = [row[-1] for row in rows]
    assert "there is no someone/nothing" in verdicts[0] and "cut off" in verdicts[1]
    assert verdicts[2] == "converted, with nothing to compare"
    assert verdicts[3:] == ["segformer_b0_ade20k is no name on a hub", "as published"]
    assert rows[2][1:4] == ["segformer_tiny_shapes", "none are published", "-"]
    assert len(error.strip().splitlines()) >= len(names)


def test_what_the_script_expects_is_of_models_that_it_can_ask_for(script):
    for part in json.loads(script.EXPECTED.read_text()):
        assert find_address(part["model"]).hub == "huggingface"
        assert part["input"] in ("picture", "ones") and part["tolerance"] > 0
        for place, values in part["expected"].items():
            name, index = script._SLICE.fullmatch(place).groups()
            ranges = [part for part in index.split(",") if ":" in part]
            assert np.array(values).shape == tuple(int(part.rpartition(":")[2]) for part in ranges)
            assert name in ("logits", "upsampled", "class_queries_logits", "masks_queries_logits")
    assert find_address(script.PICTURE).checksum.algorithm == "sha256"

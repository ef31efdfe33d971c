"""A model that transformers wrote, from a hub on this machine: the answer of one command is transformers' own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import references
import torch
from PIL import Image
from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

from ms_seg.__main__ import main
from tests.hub.servers import Hub, ask_huggingface, ask_modelscope, serving

NAMES = {0: "road", 1: "verge", 2: "a lake", 3: "sky"}


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    coarse = np.random.RandomState(3).randint(0, 256, (6, 8, 3)).astype(np.uint8)
    path = tmp_path_factory.mktemp("pictures") / "street.png"
    Image.fromarray(coarse).resize((93, 71), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.mark.parametrize("prefix", ["hf", "ms"])
@pytest.mark.parametrize("saving", [{}, {"max_shard_size": "40KB"}], ids=["whole", "in parts"])
def test_one_command_answers_as_transformers_does(picture, prefix, saving, tmp_path, monkeypatch, capsys):
    config = SegformerConfig(
        hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], num_attention_heads=[1, 2, 3, 4], decoder_hidden_size=20,
        id2label=NAMES, label2id={name: index for index, name in NAMES.items()},
    )  # fmt: skip
    model = references.draw_weights(SegformerForSemanticSegmentation(config), 1).eval()
    processor = SegformerImageProcessor(size={"height": 64, "width": 96})
    model.save_pretrained(tmp_path / "written", **saving)
    processor.save_pretrained(tmp_path / "written")
    files = {path.name: path.read_bytes() for path in (tmp_path / "written").iterdir()}
    assert ("model.safetensors" in files) != bool(saving)
    with serving(Hub({"someone/streets": files})) as hub:
        {"hf": ask_huggingface, "ms": ask_modelscope}[prefix](monkeypatch, hub.url, tmp_path / "cache")
        output = ["--output", str(tmp_path / "out"), "--mode", "pynative"]
        assert main(["segment", str(picture), "--model", f"{prefix}:someone/streets", *output]) == 0
    with torch.no_grad():
        outputs = model(**processor(Image.open(picture), return_tensors="pt"))
    (expected,) = processor.post_process_semantic_segmentation(outputs, [(71, 93)])
    labels = np.array(Image.open(tmp_path / "out" / "street.labels.png"))
    assert len(np.unique(labels)) > 1
    assert np.mean(labels != expected.numpy()) <= 1e-3
    assert any(f"{name} " in capsys.readouterr().err for name in NAMES.values())

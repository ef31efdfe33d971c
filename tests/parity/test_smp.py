"""segmentation_models.pytorch's Segformer: its logits, and the answer of a folder that it writes."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import cv2
import mindspore as ms
import numpy as np
import pytest
import references
import torch
import wheels
from errors import relative_error

import ms_seg
from convert.__main__ import main as convert
from ms_seg.cells.resize import Resize

SMP, TIMM = ("segmentation_models_pytorch", "0.6.0"), ("timm", "1.0.31")
ABSENT = ("torchvision", "torchvision.models", "torchvision.models.feature_extraction", "torchvision.ops")
ABSENT += ("torchvision.ops.misc", "torchvision.transforms")
CLASSES, WIDTH = 5, 256
PICTURES = {
    "transform": {
        "__class_fullname__": "Compose",
        "transforms": [
            {"__class_fullname__": "Resize", "height": 64, "width": 96, "interpolation": 1},
            {
                "__class_fullname__": "Normalize", "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375],
                "max_pixel_value": 1.0, "normalization": "standard",
            },
        ],
    }
}  # fmt: skip


class Segformer(torch.nn.Module):
    """Its parts, put together as smp.Segformer does."""

    def __init__(self, classes: int):
        super().__init__()
        package, folder = SMP[0], wheels.unpacked(*SMP) / SMP[0]
        wheels.leave_out(*ABSENT)
        wheels.package("timm", wheels.unpacked(*TIMM) / "timm")
        for room in ("", "encoders", "base", "decoders", "decoders/segformer"):
            wheels.package(".".join([package, *room.split("/")]).rstrip("."), folder / room)
        encoders, decoder, heads = (
            importlib.import_module(f"{package}.{name}")
            for name in ("encoders.mix_transformer", "decoders.segformer.decoder", "base.heads")
        )
        known = encoders.mix_transformer_encoders["mit_b0"]
        self.encoder = known["encoder"](**known["params"])
        self.decoder = decoder.SegformerDecoder(self.encoder.out_channels, segmentation_channels=WIDTH)
        self.segmentation_head = heads.SegmentationHead(WIDTH, classes, kernel_size=1, upsampling=4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.segmentation_head(self.decoder(self.encoder(images)))


def written(folder: Path, classes: int) -> Segformer:
    """A network with drawn weights, as smp.Segformer.save_pretrained and albumentations write it."""
    reference = references.draw_weights(Segformer(classes), 1).eval()
    torch.save(reference.state_dict(), folder / "pytorch_model.bin")
    config = {"_model_class": "Segformer", "encoder_name": "mit_b0", "encoder_depth": 5, "encoder_weights": None}
    config |= {"in_channels": 3, "classes": classes, "decoder_segmentation_channels": WIDTH, "activation": None}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "albumentations_config_eval.json").write_text(json.dumps(PICTURES))
    return reference


@pytest.mark.parametrize("classes", [CLASSES, 1])
def test_a_folder_answers_as_there(classes: int, tmp_path: Path):
    reference = written(tmp_path, classes)
    coarse = np.random.RandomState(3).randint(0, 256, (6, 8, 3)).astype(np.uint8)
    picture = cv2.resize(coarse, (93, 71), interpolation=cv2.INTER_CUBIC)
    seen = cv2.resize(picture, (96, 64), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    seen = (seen - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]
    images = np.ascontiguousarray(seen.transpose(2, 0, 1)[None].astype(np.float32))
    with torch.no_grad():
        logits = reference(torch.from_numpy(images))
        theirs = torch.nn.functional.interpolate(logits, picture.shape[:2], mode="bilinear")[0].numpy()
    model = ms_seg.create_model("auto", tmp_path)
    ours = Resize(align_corners=True)(model(ms.Tensor(images)), images.shape[2:])
    assert relative_error(ours.asnumpy(), logits.numpy()) <= 1e-5
    expected = theirs.argmax(0) if classes > 1 else (theirs[0] > 0).astype(int)
    assert len(np.unique(expected)) > 1
    assert convert([str(tmp_path), str(tmp_path / "model.ckpt")]) == 0
    for checkpoint in (tmp_path, tmp_path / "model.ckpt"):
        answer = ms_seg.Segmenter(ms_seg.create_model("auto", checkpoint), "pynative")(picture)
        assert np.mean(answer.label_map != expected) <= 1e-3


def test_the_way_back_is_bit_identical(tmp_path: Path):
    reference = written(tmp_path, CLASSES)
    assert convert([str(tmp_path), str(tmp_path / "model.ckpt")]) == 0
    assert convert([str(tmp_path / "model.ckpt"), str(tmp_path / "back.pth"), "--to", "smp"]) == 0
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    reference.load_state_dict(back)
    for name, tensor in reference.state_dict().items():
        assert torch.equal(back[name], tensor), name


def test_a_bare_file_is_found_by_its_names(tmp_path: Path):
    reference = written(tmp_path, 150)
    torch.save({"state_dict": {f"model.{key}": value for key, value in reference.state_dict().items()}},
               tmp_path / "last.ckpt")  # fmt: skip
    preset = ms_seg.create_model("auto", tmp_path / "last.ckpt").preset
    assert preset.name == "segformer_b0_ade20k_smp" and preset.preprocessing.align_corners

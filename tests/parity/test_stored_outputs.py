"""The references' stored outputs for drawn weights: the proof that needs no PyTorch.

`scripts/make_stored_outputs.py` made them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import drawn
import mindspore as ms
import numpy as np
import pytest
from errors import relative_error

import ms_seg
from convert.reading.entry import ArrayEntry
from convert.writing import write_checkpoint
from ms_seg.inference.execution import Runner

STORED = sorted((Path(__file__).parent / "stored").glob("*.npz"))


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
@pytest.mark.parametrize("mode", ["graph", "pynative"])
def test_logits_equal_the_stored_ones(path: Path, mode: str, tmp_path: Path):
    stored = np.load(path)
    recipe = json.loads(str(stored["recipe"]))
    shapes = {key: tuple(shape) for key, shape in recipe["tensors"].items()}
    tensors = {key: ArrayEntry(array) for key, array in drawn.weights(shapes, recipe["seed"]).items()}
    write_checkpoint(tmp_path / "model.pth", tensors)

    overrides = {key: tuple(value) if isinstance(value, list) else value for key, value in recipe["overrides"].items()}
    model = ms_seg.create_model(recipe["name"], tmp_path / "model.pth", **overrides)
    logits = Runner(model, mode)(ms.Tensor(drawn.images(recipe["shape"], recipe["seed"])))[0].asnumpy()
    assert relative_error(logits, stored["logits"]) <= 1e-5


def test_there_is_a_stored_output_of_both_heads():
    assert {path.stem for path in STORED} == {"segformer_b0_ade20k", "segformer_b0_cocostuff164k"}


def test_the_package_runs_without_pytorch():
    code = "import sys; sys.modules['torch'] = None; import ms_seg, convert, ms_seg.inference; ms_seg.list_models()"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])

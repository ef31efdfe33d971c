"""One optimiser step: in training mode whatever came before, and random only through the run's seed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ms_seg
from ms_seg.distributed import World
from ms_seg.presets import find_preset
from ms_seg.training.losses.cross_entropy import SemanticLoss
from ms_seg.training.optimizer import freeze
from ms_seg.training.step import TrainStep

NAME = "segformer_b0_ade20k_mmseg"
SMALL = {"embed_dims": (8, 16, 40, 64), "depths": (1, 1, 1, 1), "head_width": 8, "num_classes": 5}
RECIPE = replace(find_preset(NAME).recipe, steps=10, warmup_steps=0, batch_size=2)


def batch() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    images = generator.standard_normal((2, 3, 32, 32)).astype(np.float32)
    return images, generator.integers(0, 5, (2, 32, 32)).astype(np.int32)


def model(**overrides):
    import mindspore as ms

    ms.set_seed(0)
    return ms_seg.create_model(NAME, **{**SMALL, **overrides})


def moving_mean(network) -> np.ndarray:
    parameters = {parameter.name: parameter for parameter in network.get_parameters()}
    return parameters["decoder.fuse.norm.moving_mean"].asnumpy().copy()


def test_a_model_left_in_inference_mode_is_trained_in_training_mode():
    network = model()
    step = TrainStep(SemanticLoss(network), RECIPE, World(0, 1, []))
    network.set_train(False)  # as whoever segments with it does
    before = moving_mean(network)
    step(0, batch())
    assert not np.allclose(moving_mean(network), before)


@pytest.mark.parametrize(
    "rates", [{"drop_path_rate": 0.5, "dropout_rate": 0.0}, {"drop_path_rate": 0.0, "dropout_rate": 0.5}]
)
def test_what_is_dropped_follows_from_seed_and_step(rates: dict[str, float]):
    """Of two networks with the same weights, which no step moves here."""
    still = replace(RECIPE, learning_rate=0.0)
    blocks = {"depths": (0, 0, 0, 2)}
    one, other = (
        TrainStep(SemanticLoss(model(**rates, **blocks)), replace(still, seed=seed), World(0, 1, [])) for seed in (1, 2)
    )
    first = one(0, batch())
    assert one(1, batch()) != first
    assert one(0, batch()) == first
    assert other(0, batch()) != first
    other.recipe = one.recipe
    assert other(0, batch()) == first


def test_a_batch_that_cannot_be_shared_out_is_refused():
    with pytest.raises(ValueError, match="batch_size must be a multiple of 3 processes with 1 parts each: 2 is not"):
        TrainStep(SemanticLoss(model()), RECIPE, World(0, 3, []))


@pytest.mark.parametrize(("pattern", "still"), [("backbone", "backbone."), (r"norm\.", ".norm.")])
def test_what_is_frozen_stays_as_it_is_statistics_too(pattern: str, still: str):
    network = model(dropout_rate=0.0, drop_path_rate=0.0)
    before = {parameter.name: parameter.asnumpy().copy() for parameter in network.get_parameters()}
    TrainStep(SemanticLoss(network), replace(RECIPE, frozen=pattern), World(0, 1, []))(0, batch())
    after = {parameter.name: parameter.asnumpy() for parameter in network.get_parameters()}
    changed = {name for name, values in before.items() if not np.array_equal(after[name], values)}
    assert changed and not any(still in name for name in changed)
    assert ("decoder.fuse.norm.moving_mean" in changed) == (pattern == "backbone")
    assert network.decoder.training and network.backbone.training == (pattern != "backbone")  # it drops nothing then


@pytest.mark.parametrize(
    ("pattern", "why"), [("back_bone", "matches none of the model's"), ("", None), (".", "leaves none")]
)
def test_a_pattern_that_freezes_nothing_or_everything_is_refused(pattern: str, why: str | None):
    recipe = replace(RECIPE, frozen=pattern)
    if why is None:
        assert freeze(model(), recipe) == []
        return
    with pytest.raises(ValueError, match=f"frozen '{pattern}' {why}"):
        freeze(model(), recipe)


ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = 8 * 2048 * 2048 * 4  # bytes

THREE_STEPS = """
from dataclasses import replace
import numpy as np
from mindspore import nn
from ms_seg.cells.mlp import Dense
from ms_seg.distributed import World
from ms_seg.presets import find_preset
from ms_seg.training.step import TrainStep

class Loss(nn.Cell):
    def __init__(self):
        super().__init__()
        self.layers = nn.CellList([Dense(2048, 2048) for _ in range(8)])
    def construct(self, x):
        for layer in self.layers:
            x = layer(x)
        return x.sum()

def resident():
    (line,) = (line for line in open("/proc/self/status") if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024

recipe = replace(find_preset("segformer_b0_ade20k_mmseg").recipe, steps=3, batch_size=2, warmup_steps=0, clip_norm=1.0)
loss = Loss()
before = resident()
step = TrainStep(loss, recipe, World(0, 1, []))
for number in range(3):
    step(number, (np.ones((2, 2048), np.float32),))
print(resident() - before)
"""


def test_no_step_holds_the_gradients_of_the_one_before(tmp_path: Path):
    script = tmp_path / "three_steps.py"  # MindSpore compiles what it can read in a file
    script.write_text(THREE_STEPS)
    command, environment = [sys.executable, str(script)], {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300)
    more = int(run.stdout.split()[-1]) / WEIGHTS
    assert 2.5 < more < 4.0  # 3 for the moments and the gradients; 4.5 with one set of gradients more

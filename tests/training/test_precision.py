"""Training in low precision, with the loss scale of float16, and with blocks that are computed twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops
from PIL import Image

from ms_seg import create_model
from ms_seg.backbones import mit
from ms_seg.cells.conv import Conv2d
from ms_seg.cells.norm import BatchNorm2d
from ms_seg.distributed import World
from ms_seg.presets.recipe import Recipe
from ms_seg.training.checkpoints import PROGRESS, Checkpoints, Progress
from ms_seg.training.losses.cross_entropy import SemanticLoss
from ms_seg.training.schedule import LossScale
from ms_seg.training.step import Batch, TrainStep
from ms_seg.training.trainer import Scores, Trainer
from tests.toy_model import PRESET

ALONE = World(0, 1, [])
RECIPE = Recipe(steps=6, batch_size=2, warmup_steps=0, learning_rate=1e-2, ema=0.9, clip_norm=1.0, keep_every=1)
HUGE = 1e7  # float16 ends at 65504


class Block(nn.Cell):
    def __init__(self, channels: int):
        super().__init__()
        self.conv = Conv2d(channels, channels, 3, padding=1)

    def construct(self, x: Tensor) -> Tensor:
        return x + ops.tanh(self.conv(x))


class Small(nn.Cell):
    """Images (N, 3, H, W) -> logits of five classes, of the same size."""

    def __init__(self):
        super().__init__()
        ms.set_seed(0)
        self.preset = PRESET
        self.embed = Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.CellList([Block(8), Block(8)])
        self.norm = BatchNorm2d(8)
        self.classify = Conv2d(8, 5, 1)

    def construct(self, images: Tensor) -> Tensor:
        x = self.embed(images)
        for block in self.blocks:
            x = block(x)
        return self.classify(self.norm(x))


def batch(number: int, size: float = 1.0, side: int = 16) -> Batch:
    generator = np.random.default_rng(number)
    images = size * generator.standard_normal((2, 3, side, side))
    return images.astype(np.float32), generator.integers(0, 5, (2, side, side)).astype(np.int32)


def train_step(**changes) -> TrainStep:
    return TrainStep(SemanticLoss(Small()), replace(RECIPE, **changes), ALONE)


def state(step: TrainStep) -> dict[str, np.ndarray]:
    """Parameters and running statistics, moments and averages."""
    everything = [*step.loss.get_parameters(), *step.optimizer.state, *step.averages]
    assert {parameter.dtype for parameter in everything} == {ms.float32}
    return {parameter.name: parameter.asnumpy().copy() for parameter in everything}


def changed(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    return {name for name in before if before[name].tobytes() != after[name].tobytes()}


@pytest.fixture(scope="module")
def exact() -> list[float]:
    step = train_step()
    return [step(number, batch(number)) for number in range(3)]


@pytest.mark.parametrize(("precision", "unit"), [("bfloat16", 2.0**-8), ("float16", 2.0**-11)])
def test_losses_are_near_those_of_float32_and_all_that_is_kept_is_float32(exact, precision: str, unit: float):
    step = train_step(precision=precision)
    losses = [step(number, batch(number)) for number in range(3)]
    assert losses[0] != exact[0]
    assert losses == pytest.approx(exact, rel=unit)  # a mean over pixels: roundings of some units each cancel out
    state(step)


def test_an_overflow_halves_the_scale_and_leaves_everything_as_it_was():
    step = train_step(precision="float16")
    step(0, batch(0))
    before = state(step)
    for number, scale, images in ((1, 2.0**100, batch(1)), (2, 2.0**16, batch(2, HUGE))):
        step.scale = LossScale(scale, 7)
        loss = step(number, images)
        assert np.isfinite(loss) == (number == 1)  # a scale that is too large hurts the gradients, an image the loss
        assert step.scale == LossScale(scale / 2, 0)
        assert not changed(before, state(step))
    assert np.isfinite(step(3, batch(3)))
    assert step.scale == LossScale(2.0**15, 1)
    assert changed(before, state(step)) == set(before)


def test_parts_and_clipping_see_gradients_without_the_scale():
    """The first moment is a tenth of the clipped gradient, whose norm is below clip_norm, but not times the scale."""

    def moment(**changes) -> np.ndarray:
        step = train_step(accumulate=2, clip_norm=20.0, **changes)
        step(0, batch(0))
        return np.concatenate([moment.asnumpy().ravel() for moment in step.optimizer.first_moments])

    exact, low = moment(), moment(precision="float16")
    assert 0.1 < 10 * np.linalg.norm(exact) < 10
    assert np.linalg.norm(low - exact) < 64 * 2.0**-11 * np.linalg.norm(exact)


def test_the_scale_is_doubled_after_2000_good_steps_in_a_row():
    scale = LossScale()
    assert scale.value == 65536
    for _ in range(1999):
        scale = scale.after(True)
    assert scale == LossScale(65536, 1999)
    assert scale.after(True) == LossScale(131072, 0)
    assert scale.after(False) == LossScale(32768, 0)


def train(run: Path, feed: Callable[[int, int], Iterator[Batch]], scale: LossScale | None = None) -> Trainer:
    """Go on with a run of float16, at this scale if one is given."""
    run.mkdir(exist_ok=True)
    model = Small()
    trainer = Trainer(model, SemanticLoss(model), replace(RECIPE, precision="float16"), run, ALONE)
    trainer.resume()
    trainer.step.scale = scale or trainer.step.scale
    trainer.train(feed, lambda: Scores({"mIoU": 0.5}, "mIoU", Image.new("RGB", (4, 4))))
    return trainer


def lines(run: Path) -> list[str]:
    """The log's, but for the time that steps took."""
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    timed = ("images_per_second", "waiting_for_data")
    return [repr({key: value for key, value in line.items() if key not in timed}) for line in log]


def test_a_resumed_run_goes_on_with_its_loss_scale(tmp_path: Path):
    def feed(start: int, stop: int, end: int = 6) -> Iterator[Batch]:
        for number in range(start, stop):
            if number == end:
                raise KeyboardInterrupt
            yield batch(number, HUGE if number in (1, 4) else 1.0)

    begun = LossScale(2.0**9, 3)
    whole = train(tmp_path / "whole", feed, begun)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "stopped", lambda start, stop: feed(start, stop, 4), begun)
    resumed = train(tmp_path / "stopped", feed)
    assert lines(tmp_path / "stopped") == lines(tmp_path / "whole")
    assert whole.step.scale == resumed.step.scale == LossScale(2.0**7, 1)
    assert [json.loads(line).get("loss_scale") for line in (tmp_path / "whole/log.jsonl").open()][:3] == [512, 512, 256]
    assert not changed(state(whole.step), state(resumed.step))


def test_a_run_that_overflows_at_every_scale_is_stopped(tmp_path: Path):
    def feed(start: int, stop: int) -> Iterator[Batch]:
        return (batch(number, HUGE) for number in range(start, stop))

    with pytest.raises(RuntimeError, match="step 2 overflows float16.*try precision bfloat16 or float32"):
        train(tmp_path, feed, LossScale(2.0))
    assert len(lines(tmp_path)) == 1


def test_progress_without_a_loss_scale_is_read(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    for progress in (Progress(3), Progress(4, 0.5, 2, LossScale(2.0**7, 11))):
        folder = checkpoints.save(progress, {}, {})
        assert checkpoints.load(folder, {}) == progress
    (folder / PROGRESS).write_text('{"step": 3, "best_score": null, "best_step": null}\n')
    assert checkpoints.load(folder, {}) == Progress(3)


def test_blocks_that_are_computed_twice_change_no_number():
    def transformer_that_drops_paths(recompute: bool) -> TrainStep:
        ms.set_seed(0)
        model = create_model("segformer_tiny_shapes", drop_path_rate=0.3, depths=(0, 0, 0, 2))
        return TrainStep(SemanticLoss(model), replace(RECIPE, recompute=recompute), ALONE)

    kept, recomputed = transformer_that_drops_paths(False), transformer_that_drops_paths(True)
    for number in range(3):
        pictures = batch(number, side=64)
        assert kept(number, pictures) == recomputed(number, pictures)
    assert not changed(state(kept), state(recomputed))
    blocks = [cell for _, cell in recomputed.loss.cells_and_names() if isinstance(cell, mit.Block)]
    assert blocks
    assert all("output_no_recompute" in block.get_flags() for block in blocks)  # what Cell.recompute leaves behind


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="^precision must be one of float32, float16, bfloat16: 'float8' is not$"):
        replace(RECIPE, precision="float8")

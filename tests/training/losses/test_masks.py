"""The loss of queries: its random points, its matching, and its steps. (Its numbers: tests/parity.)"""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn, ops

from ms_seg.cells.assignment import NativeAssignment
from ms_seg.distributed import World
from ms_seg.presets.recipe import Recipe
from ms_seg.training.losses.masks import GraphMaskLoss, MaskLoss, PointSampler, RecomputedMaskLoss
from ms_seg.training.losses.matching import match
from ms_seg.training.step import Batch, TrainStep

SIDE, QUERIES, CLASSES = 16, 6, 3
RECIPE = Recipe(
    steps=60, batch_size=2, points=40, max_targets=5, warmup_steps=0, learning_rate=0.5, weight_decay=0.0, seed=1
)


class Queries(nn.Cell):
    """Classes and masks that are no one's but the parameters': two predictions, whatever the picture."""

    def __init__(self):
        super().__init__()
        generator = np.random.default_rng(0)
        self.query_decoder = SimpleNamespace(query_feat=np.zeros((QUERIES, 1)), layers=[None])
        self.classes = Parameter(Tensor(generator.standard_normal((2, QUERIES, CLASSES + 1)).astype(np.float32)))
        self.masks = Parameter(Tensor(generator.standard_normal((2, QUERIES, 8, 8)).astype(np.float32)))

    def construct(self, images: Tensor, return_all_layers: bool) -> list[tuple[Tensor, Tensor]]:
        ones = ops.ones((images.shape[0], 1, 1), ms.float32) + 0 * images.mean()
        return [(self.classes[i] * ones, self.masks[i] * ops.expand_dims(ones, -1)) for i in range(2)]


def batch(counts: tuple[int, ...] = (2, 3), brightness: float = 0.0) -> Batch:
    """The same segments in every picture: quarters of it, and others."""
    labels, masks = np.full((len(counts), 5), -1, np.int32), np.zeros((len(counts), 5, SIDE, SIDE), np.uint8)
    quarters = [np.s_[:8, :8], np.s_[:8, 8:], np.s_[8:, :8], np.s_[4:12], np.s_[:]]
    for i, count in enumerate(counts):
        for j in range(count):
            labels[i, j], masks[i, j][quarters[j]] = j % CLASSES, 1
    return np.full((len(counts), 3, SIDE, SIDE), brightness, np.float32), labels, masks


def step_of(model: nn.Cell, recipe: Recipe = RECIPE, loss: type[nn.Cell] = MaskLoss) -> TrainStep:
    return TrainStep(loss(model, recipe), recipe, World(0, 1, []))


def test_points_follow_from_seed_position_and_prediction_alone():
    draws = PointSampler(RECIPE)
    first = draws.for_matching([8, 9], 3)
    assert first.shape == (2, 40, 2)
    assert 0 <= first.min() < 0.1 < 0.9 < first.max() < 1
    np.testing.assert_array_equal(draws.for_matching([9], 3)[0], first[1])
    others = (
        draws.for_matching([10], 3),
        draws.for_matching([9], 2),
        PointSampler(replace(RECIPE, seed=2)).for_matching([9], 3),
    )
    assert all((other != first[1]).any() for other in others)


def test_points_of_a_mask_do_not_depend_on_what_it_is_batched_with():
    draws = PointSampler(RECIPE)
    candidates, others = (array.reshape(2, 4, -1, 2) for array in draws.for_loss([8, 9], [4, 2], 4, 0))
    assert (candidates.shape[2], others.shape[2]) == (120, 10)
    for together, alone in zip((candidates, others), draws.for_loss([9], [2], 2, 0), strict=True):
        np.testing.assert_array_equal(alone, together[1, :2])
        assert not together[1, 2:].any()


@pytest.mark.parametrize(("queries", "targets"), [(4, 3), (3, 4), (4, 4), (3, 0)])
def test_pairs_are_the_cheapest_together(queries: int, targets: int):
    costs = np.random.default_rng(queries * targets).standard_normal((1, queries, 5)).astype(np.float32)
    costs[:, :, targets:] = -99  # no targets
    rows, columns = match(costs, np.array([targets]))
    labels = np.where(np.arange(5) < targets, 1, -1)[None].astype(np.int32)
    for ours, theirs in zip(NativeAssignment()(Tensor(costs), Tensor(labels)), (rows, columns), strict=True):
        np.testing.assert_array_equal(ours.asnumpy(), theirs)
    count = min(queries, targets)
    assert rows.shape == columns.shape == (1, 5)
    assert (rows[0, count:] == -1).all() and (columns[0, count:] == -1).all()
    assert list(rows[0, :count]) == sorted(set(rows[0, :count]))
    table = costs[0, :, :targets] if queries >= targets else costs[0, :, :targets].T
    sums = [table[list(order), range(count)].sum() for order in permutations(range(len(table)), count)]
    assert costs[0, rows[0, :count], columns[0, :count]].sum() == pytest.approx(min(sums))


def test_queries_become_the_segments_and_the_others_none():
    model = Queries()
    step = step_of(model)
    losses = [step(number, batch((3, 3))) for number in range(RECIPE.steps)]
    assert losses[-1] < 0.2 * losses[0]
    classes, masks = model.classes.asnumpy()[1].argmax(-1), model.masks.asnumpy()[1] > 0
    assert sorted(classes) == [0, 1, 2, 3, 3, 3]
    truth = batch((3, 3))[2][0, :, ::2, ::2].astype(bool)
    for label in range(3):
        np.testing.assert_array_equal(masks[list(classes).index(label)], truth[label])


def test_a_step_is_the_same_in_a_run_that_is_taken_up_again():
    first, second = Queries(), Queries()
    before = step_of(first)
    before(0, batch())
    for taken, parameter in zip(second.get_parameters(), first.get_parameters(), strict=True):
        taken.set_data(Tensor(parameter.asnumpy().copy()))
    after = step_of(second)
    assert before(1, batch()) == after(1, batch())
    assert after(2, batch()) != before(3, batch())


@pytest.mark.parametrize("changes", [{"accumulate": 2}, {"precision": "float16"}], ids=str)
def test_a_step_is_the_same_wherever_its_queries_are_matched(changes: dict):
    """Between graphs, before the graph, within it."""
    losses = MaskLoss, RecomputedMaskLoss, GraphMaskLoss
    models = [Queries() for _ in losses]
    steps = [step_of(model, replace(RECIPE, **changes), loss) for model, loss in zip(models, losses, strict=True)]
    for number in range(3):
        first, *others = (step(number, batch()) for step in steps)
        assert others == [pytest.approx(first, rel=1e-6)] * 2
    for first, *others in zip(*(model.get_parameters() for model in models), strict=True):
        for other in others:
            np.testing.assert_allclose(first.asnumpy(), other.asnumpy(), atol=1e-6)


class Twice:
    """Of two processes, to whom the other tells the same."""

    size = 2

    def sum(self, array: np.ndarray) -> np.ndarray:
        return 2 * array


@pytest.mark.parametrize(("counts", "mean"), [((1, 3), 4), ((0, 0), 1), ((5, 5), 10)], ids=str)
@pytest.mark.parametrize("parts", [1, 2])
def test_losses_of_masks_are_divided_by_the_mean_number_of_a_part(counts: tuple[int, ...], mean: float, parts: int):
    """Of all parts of a step, of all processes: a mask counts the same in whatever part it comes."""
    loss = MaskLoss(Queries(), replace(RECIPE, accumulate=parts))
    for world in (World(0, 1, []), Twice()):
        _, labels, masks, positions, divisor = loss.prepare_batch(batch(counts), range(4, 6), world)
        assert divisor.array == max(mean / parts, 1)
        assert list(positions) == [4, 5]
        assert labels.shape[1] == masks.shape[1] == {1: 1, 3: 4, 0: 1, 5: 5}[max(counts)]


@pytest.mark.parametrize("loss", [MaskLoss, GraphMaskLoss])
def test_a_network_that_overflows_has_a_loss_that_is_no_number_and_skips_its_step(loss: type[nn.Cell]):
    model = Queries()
    step = step_of(model, replace(RECIPE, precision="float16"), loss)
    kept = model.masks.asnumpy().copy()
    assert np.isnan(step(0, batch(brightness=np.inf)))
    np.testing.assert_array_equal(model.masks.asnumpy(), kept)


@pytest.mark.parametrize("importance", [0.0, 1.0])
def test_none_or_all_of_the_points_may_be_chosen(importance: float):
    recipe = replace(RECIPE, importance=importance, oversample=1.0)
    step = step_of(Queries(), recipe, GraphMaskLoss)
    first = step(0, batch())
    assert np.isfinite(first) and step(1, batch()) < first

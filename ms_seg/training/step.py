"""One optimiser step, compiled: forward, backward, clipping, update, average; in float32 or in mixed precision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, amp, nn, ops

from ms_seg.cells import native
from ms_seg.cells.device import recompute_blocks, run_graphs_in_caller
from ms_seg.cells.drop import give_noise
from ms_seg.cells.interrupts import interruptible
from ms_seg.cells.norm import running_statistics, synchronise
from ms_seg.cells.precision import compute_dtype
from ms_seg.cells.sums import SumOfSquares
from ms_seg.distributed import World
from ms_seg.presets.recipe import Recipe
from ms_seg.training.optimizer import SGD, Adam, freeze, layers_of, make_optimizer
from ms_seg.training.schedule import LossScale, learning_rate

_NOISE = 2  # what randomness is for: beside the order of the pictures and their augmentation


@dataclass(frozen=True)
class Replicated:
    """An array of a batch that every micro-batch gets whole, such as the words of the labels."""

    array: np.ndarray


Batch = tuple[np.ndarray | Replicated, ...]  # what the loss takes, in its order; the first axis of arrays is samples


class TrainStep:
    """Trains the parameters of a loss, one optimiser step for each call.

    What a step does depends only on its number, its batch and the parameters: it is the same in a run that was killed
    and resumed, and, up to rounding, for any number of processes. (A loss that is no mean over the samples, such as
    LSeg's over labelled pixels, is computed for each process: two processes are like two micro-batches of one.)

    A loss is compiled as one graph with its gradients, and with the update where nothing comes between. It may have a
    method `prepare_batch(batch, positions, world)`, which turns this process's share of a step into what the loss
    takes, and a method `prepare_part`, which does so with the tensors of each micro-batch. One that is no graph, but
    compiles its own parts, has `is_graph = False`.

    With precision float16 a step also depends on `scale`, which belongs to a checkpoint. A step whose gradients are not
    finite leaves parameters, optimiser state, averages and running statistics as they were, and counts: the learning
    rate and Adam's bias corrections go on.
    """

    def __init__(self, loss: nn.Cell, recipe: Recipe, world: World):
        """loss: a cell over a model, of batches of `batch_size / world.size / accumulate` samples."""
        run_graphs_in_caller()
        self.loss, self.recipe, self.world = loss, recipe, world
        self.local_batch_size = recipe.batch_size // world.size
        if self.local_batch_size * world.size != recipe.batch_size or self.local_batch_size % recipe.accumulate:
            parts = f"{world.size} processes with {recipe.accumulate} parts each"
            raise ValueError(f"batch_size must be a multiple of {parts}: {recipe.batch_size} is not")
        if recipe.recompute:
            recompute_blocks(loss)
        self.frozen = freeze(loss, recipe)
        self.trained = ParameterTuple(loss.trainable_params())
        self.optimizer = make_optimizer(self.trained, recipe, layers_of(loss, recipe))
        self.averages = self.trained.clone("ema", "same") if recipe.ema else ()
        self.noise = give_noise(loss, self.local_batch_size // recipe.accumulate)
        synchronise(loss, world.size)
        self.precision = getattr(ms, recipe.precision)
        # Without `mean` the gradients are summed up.
        reduce = nn.DistributedGradReducer(self.trained, True, world.size) if world.size > 1 else None
        self.scale = LossScale() if self.precision == ms.float16 else None
        self._statistics = []
        if self.scale is None:
            self._gradients = _Gradients(loss, self.trained)
        else:
            self._statistics = [(statistic, statistic.clone()) for statistic in running_statistics(loss)]
            self._gradients = _ScaledGradients(loss, self.trained)
            self._unscale, reduce = ms.jit(_Unscale(reduce).construct), None
        self._prepare_batch = getattr(loss, "prepare_batch", None)
        self._prepare_part = getattr(loss, "prepare_part", None)
        is_graph = getattr(loss, "is_graph", True)
        update = _Update(self.optimizer, recipe, self.averages, reduce)
        self._whole = None
        if is_graph and self.scale is None and recipe.accumulate == 1:
            self._whole = ms.jit(_Whole(self._gradients, update).construct)
        if is_graph:
            self._gradients = ms.jit(self._gradients.construct)
        self._update = ms.jit(update.construct)

    @interruptible()
    @native.clear_errors()
    def __call__(self, step: int, batch: Batch) -> float:
        """Take a step, counted from 0, on this process's share of its batch; returns the loss of the whole batch."""
        position = step * self.recipe.batch_size + self.world.rank * self.local_batch_size
        if self._prepare_batch is not None:
            batch = self._prepare_batch(batch, range(position, position + self.local_batch_size), self.world)
        self.loss.set_train(True)  # a graph stays for good in the mode in which it is first called
        for cell in self.frozen:
            cell.set_train(False)
        scale = () if self.scale is None else (Tensor(self.scale.value, ms.float32),)
        for statistic, kept in self._statistics:
            ops.assign(kept, statistic)
        losses: list[float] = []
        total: Sequence[Tensor] = ()
        for part in self._micro_batches(batch):
            self._draw_noise(range(position, position + len(part[0])))
            position += len(part[0])
            tensors = tuple(Tensor(array) for array in part)
            with compute_dtype(self.precision):
                if self._prepare_part is not None:
                    tensors = self._prepare_part(*tensors)
                if self._whole is None:
                    loss, gradients = self._gradients(*scale, *tensors)
                else:
                    loss, gradients = self._whole(*self._scalars(step), *tensors), ()
            losses.append(float(loss))
            total = gradients if not total else [one + other for one, other in zip(total, gradients, strict=True)]
        if self.scale is not None:
            finite, total = self._unscale(*scale, *total)
            if finite:
                self._update_by(total, step)
            else:
                for statistic, kept in self._statistics:
                    ops.assign(statistic, kept)
            self.scale = self.scale.after(bool(finite))
        elif self._whole is None:
            self._update_by(total, step)
        return float(self.world.sum(np.array(np.mean(losses, dtype=np.float64)))) / self.world.size

    def _micro_batches(self, batch: Batch) -> Iterator[tuple[np.ndarray, ...]]:
        """The batches whose gradients are accumulated."""
        parts = self.recipe.accumulate
        split = [[a.array] * parts if isinstance(a, Replicated) else np.split(a, parts) for a in batch]
        return zip(*split, strict=True)

    def _update_by(self, gradients: Sequence[Tensor], step: int) -> None:
        # Each gradient is an argument: a tuple of them would be compiled in anew every time, as constants.
        self._update(*self._scalars(step), *gradients)

    def _scalars(self, step: int) -> tuple[Tensor, ...]:
        """What the update is told beside the gradients."""
        values = (learning_rate(self.recipe, step), *self.optimizer.bias_corrections(step))
        return tuple(Tensor(value, ms.float32) for value in values)

    def _draw_noise(self, positions: range) -> None:
        """Give every sample uniform numbers that depend only on the seed and its position in the run."""
        widths = [parameter.shape[1] for parameter in self.noise]
        seeds = (np.random.SeedSequence(self.recipe.seed, spawn_key=(_NOISE, position)) for position in positions)
        uniform = np.stack([np.random.default_rng(seed).random(sum(widths), np.float32) for seed in seeds])
        for parameter, values in zip(self.noise, np.split(uniform, np.cumsum(widths), axis=1)[:-1], strict=True):
            # A compiled graph would not see `set_data`, which gives a parameter other memory.
            ops.assign(parameter, Tensor(np.ascontiguousarray(values)))


class _Gradients(nn.Cell):
    def __init__(self, loss: nn.Cell, trained: ParameterTuple):
        super().__init__(auto_prefix=False)
        self.loss = loss
        self.value_and_grad = ms.value_and_grad(loss, None, trained)

    def construct(self, *batch: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        return self.value_and_grad(*batch)


class _Whole(nn.Cell):
    """A step of one micro-batch. Two graphs would each hold the last gradients while the next are computed: with AdamW
    weights, moments and gradients take six times the memory of the weights instead of four."""

    def __init__(self, gradients: _Gradients, update: _Update):
        super().__init__(auto_prefix=False)
        self.gradients, self.update = gradients, update
        self.scalars = 1 + len(update.optimizer.bias_corrections(0))

    def construct(self, *arguments: Tensor) -> Tensor:
        """arguments: what the update is told beside the gradients; then the batch."""
        loss, gradients = self.gradients(*arguments[self.scalars :])
        self.update(*arguments[: self.scalars], *gradients)
        return loss


class _ScaledGradients(nn.Cell):
    """The loss of a batch, and the gradients of `scale` times that loss."""

    def __init__(self, loss: nn.Cell, trained: ParameterTuple):
        super().__init__(auto_prefix=False)
        self.value_and_grad = ms.value_and_grad(_Scaled(loss), None, trained, has_aux=True)

    def construct(self, scale: Tensor, *batch: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        (_, loss), gradients = self.value_and_grad(scale, *batch)
        return loss, gradients


class _Scaled(nn.Cell):
    def __init__(self, loss: nn.Cell):
        super().__init__(auto_prefix=False)
        self.loss = loss

    def construct(self, scale: Tensor, *batch: Tensor) -> tuple[Tensor, Tensor]:
        loss = self.loss(*batch)
        return loss * scale, loss


# Of one gradient, for HyperMap: a comprehension over those of a ViT-L takes half a minute to compile, this half a
# second.
_times = ops.MultitypeFuncGraph("times")
_average = ops.MultitypeFuncGraph("average")


@_times.register("Number", "Tensor")
@_times.register("Tensor", "Tensor")
def _times_one(factor: float | Tensor, gradient: Tensor) -> Tensor:
    return gradient * factor


@_average.register("Number", "Tensor", "Tensor")
def _average_one(decay: float, average: Parameter, trained: Parameter) -> bool:
    ops.assign(average, average * decay + trained * (1 - decay))
    return True


class _Unscale(nn.Cell):
    """Gradients of a scaled loss -> whether all are finite, in every process, and those of the loss itself."""

    def __init__(self, reduce: nn.Cell | None):
        super().__init__(auto_prefix=False)
        self.reduce = reduce
        self.for_each = ops.HyperMap()

    def construct(self, scale: Tensor, *gradients: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        if self.reduce is not None:
            gradients = self.reduce(gradients)
        return amp.all_finite(gradients), self.for_each(ops.partial(_times, 1 / scale), gradients)


class _Update(nn.Cell):
    """Updates the parameters by gradients that were added up over the micro-batches."""

    def __init__(self, optimizer: Adam | SGD, recipe: Recipe, averages: Sequence[Parameter], reduce: nn.Cell | None):
        super().__init__(auto_prefix=False)
        self.optimizer, self.averages, self.count = optimizer, averages, len(optimizer.trained)
        self.accumulate, self.clip_norm, self.ema = recipe.accumulate, recipe.clip_norm, recipe.ema
        self.reduce, self.for_each, self.sum_of_squares = reduce, ops.HyperMap(), SumOfSquares()

    def construct(self, rate: Tensor, *rest: Tensor) -> Tensor:
        """rest: the optimiser's bias corrections of the step, scalars; then the gradients."""
        corrections, gradients = rest[: -self.count], rest[-self.count :]
        if self.reduce is not None:
            gradients = self.reduce(gradients)
        factor = 1.0 / self.accumulate
        if self.clip_norm > 0:  # as torch.nn.utils.clip_grad_norm_
            norm = ops.sqrt(ops.addn(self.for_each(self.sum_of_squares, gradients))) * factor
            factor = factor * ops.minimum(self.clip_norm / (norm + 1e-6), 1.0)
        if self.clip_norm > 0 or self.accumulate > 1:
            gradients = self.for_each(ops.partial(_times, factor), gradients)
        self.optimizer(gradients, rate, *corrections)
        if self.ema:
            self.for_each(ops.partial(_average, self.ema), self.averages, self.optimizer.trained)
        return rate  # a graph that returns nothing asks the Python interpreter for None

"""Batches for the trainer, made ahead of it by worker processes of mindspore.dataset."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Protocol

import cv2
import mindspore.dataset as ms_dataset
import numpy as np

Batch = tuple[np.ndarray, ...]  # such as images and labels


class Samples(Protocol):
    """Position in the run -> arrays, such as an image (3, s, s) float32 and its labels (s, s) int32.

    Each has its shape and dtype in all samples, and is the same whenever it is asked for. columns: what they are.
    """

    columns: tuple[str, ...]

    def __len__(self) -> int: ...

    def __getitem__(self, position: int) -> tuple[np.ndarray, ...]: ...


def batches(
    samples: Samples,
    start_step: int,
    stop_step: int,
    batch_size: int,
    rank: int = 0,
    ranks: int = 1,
    workers: int = 2,
) -> Generator[Batch, None, None]:
    """One rank's part of the batches of the steps from start_step up to, not including, stop_step.

    Step s holds the positions from s * batch_size on; rank r takes the r-th of `ranks` equal slices of them. What comes
    does not depend on the number of workers, nor on where a run is continued.

    Args:
        batch_size: pictures of one step over all ranks.
        workers: processes that make batches ahead; with 0 a thread of this process does.

    Returns: the arrays of each step, stacked: (n, ...), n = batch_size / ranks. Closing the iterator, or an exception
        around it such as Ctrl-C, ends the workers, in five seconds at most (MindSpore waits that long for one whose
        queue is full). A worker that is killed ends the whole process, with a line on stderr.

    Raises: ValueError if batch_size is no multiple of ranks or samples end before stop_step; from the iterator, at the
        step that it concerns, a sample's own ValueError or OSError, which names the file.
    """
    if batch_size % ranks:
        raise ValueError(f"batch_size is {batch_size}: it must be a multiple of the {ranks} processes")
    if stop_step * batch_size > len(samples):
        raise ValueError(f"there are {len(samples)} samples: {stop_step} steps need {stop_step * batch_size}")
    share = batch_size // ranks
    return _run(_Rows(samples, start_step, stop_step, batch_size, rank * share, share), share, workers)


class _Rows:
    """One rank's samples of some steps, as mindspore.dataset reads them: their arrays, and what went wrong.

    An exception would reach the main process as a page of both call stacks. So a sample that cannot be read is a row
    too: a sentence, and empty arrays.
    """

    def __init__(self, samples: Samples, start_step: int, stop_step: int, batch_size: int, offset: int, share: int):
        self._samples, self._first = samples, start_step * batch_size + offset
        self._batch_size, self._share = batch_size, share
        self._count = max(stop_step - start_step, 0) * share
        self.columns = (*samples.columns, "problem")

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        cv2.setNumThreads(1)  # OpenCV's own threads do not survive a fork, and the other workers need the cores
        step, place = divmod(index, self._share)
        try:
            arrays = self._samples[self._first + step * self._batch_size + place]
        except (ValueError, OSError) as error:
            return *(np.zeros(0) for _ in self.columns[:-1]), np.array(str(error) or repr(error))
        return *arrays, np.array("")


def _run(source: _Rows, share: int, workers: int) -> Generator[Batch, None, None]:
    """Batches of `share` rows. They are stacked here: MindSpore's own queues would hold 16 batches each, a gigabyte."""
    if not len(source):
        return  # MindSpore refuses an empty source
    pipeline = ms_dataset.GeneratorDataset(
        source,
        list(source.columns),
        shuffle=False,
        num_parallel_workers=min(max(workers, 1), os.cpu_count()),  # MindSpore refuses more
        python_multiprocessing=workers > 0,
    )
    rows = pipeline.create_tuple_iterator(num_epochs=1, output_numpy=True)
    try:
        batch = []
        for *arrays, problem in rows:
            if problem.item():
                raise ValueError(problem.item())
            batch.append(arrays)
            if len(batch) == share:
                yield tuple(np.stack(column) for column in zip(*batch, strict=True))
                batch = []
    finally:
        rows.stop()
        del rows, pipeline  # their end is the workers' end, and an exception's traceback would keep them

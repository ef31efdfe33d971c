"""Batches for the trainer, made ahead of it by worker processes of mindspore.dataset."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Protocol

import cv2
import mindspore.dataset as ms_dataset
import numpy as np

# Rows that each queue of MindSpore's pipeline holds. A row is a whole batch: 64 MB for 16 pictures of 512x512.
_PREFETCHED = 2


class Samples(Protocol):
    """Position in the run -> image (3, s, s) float32 and labels (s, s) int32, the same whenever it is asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, position: int) -> tuple[np.ndarray, np.ndarray]: ...


def batches(
    samples: Samples,
    start_step: int,
    stop_step: int,
    batch_size: int,
    rank: int = 0,
    ranks: int = 1,
    workers: int = 2,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One rank's part of the batches of the steps from start_step up to, not including, stop_step.

    Step s holds the positions from s * batch_size on; rank r takes the r-th of `ranks` equal slices of them. What comes
    does not depend on the number of workers, nor on where a run is continued.

    Args:
        batch_size: pictures of one step over all ranks.
        workers: processes that make batches ahead; with 0 a thread of this process does.

    Returns: images (n, 3, s, s) float32 and labels (n, s, s) int32 of each step, n = batch_size / ranks. Closing the
        iterator, or an exception around it such as Ctrl-C, ends the workers.

    Raises: ValueError if batch_size is no multiple of ranks or samples end before stop_step; from the iterator, at the
        step that it concerns, a sample's own ValueError or OSError, which names the file.
    """
    if batch_size % ranks:
        raise ValueError(f"batch_size is {batch_size}: it must be a multiple of the {ranks} processes")
    if stop_step * batch_size > len(samples):
        raise ValueError(f"there are {len(samples)} samples: {stop_step} steps need {stop_step * batch_size}")
    if start_step >= stop_step:
        return iter(())
    share = batch_size // ranks
    return _run(_Batches(samples, start_step, stop_step, batch_size, rank * share, share), workers)


class _Batches:
    """The batches of some steps, by index, as mindspore.dataset reads them: images, labels, and what went wrong.

    An exception would reach the main process as a page of both call stacks, and ahead of the batches before it. So a
    failed batch is a row too: a sentence, and no pictures.
    """

    def __init__(self, samples: Samples, start_step: int, stop_step: int, batch_size: int, offset: int, share: int):
        self._samples, self._start, self._stop = samples, start_step, stop_step
        self._batch_size, self._offset, self._share = batch_size, offset, share

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        cv2.setNumThreads(1)  # OpenCV's own threads do not survive a fork, and the other workers need the cores
        first = (self._start + index) * self._batch_size + self._offset
        try:
            pairs = [self._samples[position] for position in range(first, first + self._share)]
        except (ValueError, OSError) as error:
            return np.zeros(0, np.float32), np.zeros(0, np.int32), np.array(str(error) or repr(error))
        images, labels = zip(*pairs, strict=True)
        return np.stack(images), np.stack(labels), np.array("")


def _run(source: _Batches, workers: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    prefetched = ms_dataset.config.get_prefetch_size()
    ms_dataset.config.set_prefetch_size(_PREFETCHED)
    try:
        pipeline = ms_dataset.GeneratorDataset(
            source,
            ["images", "labels", "problem"],
            shuffle=False,
            num_parallel_workers=min(max(workers, 1), os.cpu_count()),  # MindSpore refuses more
            python_multiprocessing=workers > 0,
        )
        rows = pipeline.create_tuple_iterator(num_epochs=1, output_numpy=True)
    finally:
        ms_dataset.config.set_prefetch_size(prefetched)
    try:
        for images, labels, problem in rows:
            if problem.item():
                raise ValueError(problem.item())
            yield images, labels
    finally:
        rows.stop()
        del rows, pipeline  # their end is the workers' end, and an exception's traceback would keep them

"""Batches for the trainer, made ahead of it by worker processes of mindspore.dataset."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Protocol

import cv2
import mindspore.dataset as ms_dataset
import numpy as np

from ms_seg.data.picture import UnreadablePicture

Arrays = tuple[np.ndarray, ...]  # such as images and labels


class Samples(Protocol):
    """Position in the run -> arrays, such as an image (3, s, s) float32 and its labels (s, s) int32.

    Each array has the same shape and dtype in all samples, and is the same whenever it is asked for. columns: what the
    arrays are.
    """

    @property
    def columns(self) -> tuple[str, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, position: int) -> Arrays: ...


class Loader:
    """One rank's part of the batches of a run.

    Step s takes the positions from s * batch_size on; rank r loads the r-th of `ranks` equal slices of them. The
    batches depend neither on the number of workers nor on where a run is resumed.

    Args:
        batch_size: pictures of one step over all ranks.
        workers: processes that load ahead; with 0 a thread of this process does.

    Raises ValueError unless batch_size is a multiple of ranks.
    """

    def __init__(self, samples: Samples, batch_size: int, rank: int = 0, ranks: int = 1, workers: int = 0):
        if batch_size % ranks:
            raise ValueError(f"batch_size must be a multiple of the {ranks} processes: {batch_size} is not")
        self.samples, self.batch_size, self.rank, self.workers = samples, batch_size, rank, workers
        self.local_batch_size = batch_size // ranks

    def batches(self, start_step: int, stop_step: int) -> Generator[Arrays, None, None]:
        """The arrays of each step from start_step up to, not including, stop_step, stacked: (local_batch_size, ...).

        Closing the iterator, or an exception around it such as Ctrl-C, ends the workers, in five seconds at most
        (MindSpore waits that long for one whose queue is full). A worker that is killed ends the whole process, with a
        line on stderr.

        Raises: ValueError if the samples end before stop_step; from the iterator, at the step that it concerns, a
            sample's own ValueError or OSError, which names the file.
        """
        if stop_step * self.batch_size > len(self.samples):
            needed = f"{stop_step} steps need {stop_step * self.batch_size}"
            raise ValueError(f"there are {len(self.samples)} samples: {needed}")
        return _stacked(_Rows(self, start_step, stop_step), self.local_batch_size, self.workers)


_UNREADABLE = "unreadable"  # a row's kind of error: an UnreadablePicture


class _Rows:
    """One rank's samples of some steps as mindspore.dataset reads them: their arrays, and an error.

    An exception would reach the main process as a page of both call stacks. So a sample that cannot be read is a row
    too: empty arrays, a sentence, and which kind of error it is.
    """

    def __init__(self, loader: Loader, start_step: int, stop_step: int):
        self._samples, self._batch_size, self._local = loader.samples, loader.batch_size, loader.local_batch_size
        self._first = start_step * loader.batch_size + loader.rank * loader.local_batch_size
        self._count = max(stop_step - start_step, 0) * loader.local_batch_size
        self.columns = (*loader.samples.columns, "error")

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Arrays:
        cv2.setNumThreads(1)  # OpenCV's own threads do not survive a fork, and the other workers need the cores
        step, offset = divmod(index, self._local)
        try:
            arrays = self._samples[self._first + step * self._batch_size + offset]
        except (ValueError, OSError) as error:
            kind = _UNREADABLE if isinstance(error, UnreadablePicture) else "other"
            return *(np.zeros(0) for _ in self.columns[:-1]), np.array([kind, str(error) or repr(error)])
        return *arrays, np.array(["", ""])


def _stacked(rows: _Rows, size: int, workers: int) -> Generator[Arrays, None, None]:
    """Batches of `size` rows. They are stacked here: MindSpore's own queues would hold 16 batches each, a gigabyte."""
    if not len(rows):
        return  # MindSpore refuses an empty source
    pipeline = ms_dataset.GeneratorDataset(
        rows,
        list(rows.columns),
        shuffle=False,
        num_parallel_workers=min(max(workers, 1), os.cpu_count() or 1),  # MindSpore refuses more
        python_multiprocessing=workers > 0,
    )
    iterator = pipeline.create_tuple_iterator(num_epochs=1, output_numpy=True)
    try:
        batch = []
        for *arrays, error in iterator:
            kind, sentence = error.tolist()
            if kind:
                raise (UnreadablePicture if kind == _UNREADABLE else ValueError)(sentence)
            batch.append(arrays)
            if len(batch) == size:
                yield tuple(np.stack(column) for column in zip(*batch, strict=True))
                batch = []
    finally:
        iterator.stop()
        del iterator, pipeline  # releasing them ends the workers; an exception's traceback would keep them alive

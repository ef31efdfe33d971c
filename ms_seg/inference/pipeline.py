"""Many items in three stages that overlap: reading ahead and finishing behind, beside what one thread alone may do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Read = TypeVar("Read")
Made = TypeVar("Made")
Result = TypeVar("Result")

Failure = ValueError | RuntimeError  # what is wrong with one item alone, and leaves the others alone

MAX_PIXELS = 64_000_000  # of pictures in all stages together, beyond the first


@dataclass(frozen=True)
class Stages(Generic[Item, Read, Made, Result]):
    """What is done with an item: `read` in a thread of its own, `run` in the caller's, with up to `batch_size` items at
    once that are of one `kind`, and `finish` in `finishers` other threads. pixels: how large what is read is.
    """

    read: Callable[[Item], Read]
    run: Callable[[Sequence[Read]], Sequence[Made]]
    finish: Callable[[Item, Made], Result]
    kind: Callable[[Read], Hashable]
    pixels: Callable[[Read], int]
    batch_size: int = 1
    finishers: int = 1

    def __call__(self, items: Iterable[Item]) -> Generator[tuple[Item, Result | Failure]]:
        """Each item, in order, with its result or what was wrong with it: a ValueError or RuntimeError of any stage.

        Other errors of a stage are raised, in the order of the items. However the iteration ends, by an error, Ctrl-C
        or the generator's `close`, what is being read and finished then is ended, and nothing else is begun.

        As many items are in the stages as the batch needs, and few more; items are taken as they are needed.
        """
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(self.finishers) as finisher:
            flow = _Flow(self, iter(items), reader, finisher)
            try:
                yield from flow.results()
            finally:
                reader.shutdown(wait=False, cancel_futures=True)
                finisher.shutdown(wait=False, cancel_futures=True)


class _Flow(Generic[Item, Read, Made, Result]):
    """The items that are in the stages."""

    def __init__(
        self,
        stages: Stages[Item, Read, Made, Result],
        items: Iterator[Item],
        reader: ThreadPoolExecutor,
        finisher: ThreadPoolExecutor,
    ):
        self._stages, self._items, self._reader, self._finisher = stages, items, reader, finisher
        self._reading: deque[tuple[Item, Future[Read]]] = deque()
        self._finishing: deque[tuple[Item, int, Future[Result]]] = deque()
        self._pixels = self._latest = 0  # of what has been read and is not finished, and of what was read last

    def results(self) -> Iterator[tuple[Item, Result | Failure]]:
        while True:
            self._read_ahead()
            if self._reading:
                self._run_next()
                behind = self._stages.batch_size + self._stages.finishers - 1
            elif self._finishing:  # nothing more to read, or no room for it
                behind = len(self._finishing) - 1
            else:
                return
            while self._finishing and (len(self._finishing) > behind or self._finishing[0][2].done()):
                yield self._next_result()

    def _read_ahead(self) -> None:
        """Have the next items read, as far as they are needed and there is room."""
        while len(self._reading) <= self._stages.batch_size:
            expected = self._pixels + (len(self._reading) + 1) * self._latest
            if expected > MAX_PIXELS and (self._reading or self._finishing):
                return
            try:
                item = next(self._items)
            except StopIteration:
                return
            self._reading.append((item, self._reader.submit(self._stages.read, item)))

    def _run_next(self) -> None:
        """Run the next items, as many as can be run together, and have them finished."""
        batch: list[tuple[Item, Read]] = []
        while self._reading and len(batch) < self._stages.batch_size:
            item, future = self._reading[0]
            try:
                read = future.result()
            except (ValueError, RuntimeError) as error:
                if not batch:
                    self._reading.popleft()
                    self._finishing.append((item, 0, _failed(error)))
                break
            if batch and self._stages.kind(read) != self._stages.kind(batch[0][1]):
                break
            self._reading.popleft()
            self._latest = self._stages.pixels(read)
            self._pixels += self._latest
            batch.append((item, read))
            self._read_ahead()
        if batch:
            made = self._run([read for _, read in batch])
            for (item, read), one in zip(batch, made, strict=True):
                if isinstance(one, (ValueError, RuntimeError)):
                    finishing: Future[Result] = _failed(one)
                else:
                    finishing = self._finisher.submit(self._stages.finish, item, one)
                self._finishing.append((item, self._stages.pixels(read), finishing))

    def _run(self, batch: Sequence[Read]) -> Sequence[Made | Failure]:
        """What is made of a batch. Where that fails, each item is run by itself."""
        try:
            return self._stages.run(batch)
        except (ValueError, RuntimeError) as error:
            return [error] if len(batch) == 1 else [one for read in batch for one in self._run([read])]

    def _next_result(self) -> tuple[Item, Result | Failure]:
        item, pixels, future = self._finishing.popleft()
        try:
            return item, future.result()
        except (ValueError, RuntimeError) as error:
            return item, error
        finally:
            self._pixels -= pixels


def _failed(error: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future

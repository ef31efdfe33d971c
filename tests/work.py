"""How much work a piece of code does, counted instead of timed: the same on a slow machine and on a busy one."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


class TooMuchWork(AssertionError):
    """More calls or more memory than a test allows."""


@dataclass
class Work:
    """calls: of functions, Python's and C's. peak: bytes that Python and NumPy held at once, at most."""

    calls: int = 0
    peak: int = 0


@contextmanager
def bounded_work(calls: int, memory: int) -> Iterator[Work]:
    """Count what the block does in this thread; TooMuchWork at the first call beyond `calls`, at the end for `memory`.

    An AssertionError of the block's own passes on, as does every other error.
    """
    work = Work()

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        work.calls += event in ("call", "c_call")
        if work.calls > calls:
            raise TooMuchWork(f"more than {calls} calls")

    tracemalloc.start()
    sys.setprofile(count)
    try:
        yield work
    finally:
        sys.setprofile(None)
        work.peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    if work.peak > memory:
        raise TooMuchWork(f"{work.peak} bytes at once, which is more than {memory}")

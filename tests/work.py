"""How much work a piece of code does, counted instead of timed: the same on a slow machine and on a busy one."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


class TooMuchWork(AssertionError):
    """More lines or more memory than a test allows."""


@dataclass
class Work:
    """lines: of Python that ran, each turn of a loop anew. peak: the most bytes that Python and NumPy held at once."""

    lines: int = 0
    peak: int = 0


@contextmanager
def bounded_work(lines: int, memory: int) -> Iterator[Work]:
    """Count what the functions do that the block calls; TooMuchWork as soon as it is more lines, or at the end more
    bytes. Loops inside a function written in C are not seen.
    """
    work = Work()

    def count(_frame: FrameType, event: str, _argument: object) -> Callable:
        work.lines += event == "line"
        if work.lines > lines:
            raise TooMuchWork(f"more than {lines} lines")
        return count

    before = sys.gettrace()
    tracemalloc.start()
    sys.settrace(count)
    try:
        yield work
    finally:
        sys.settrace(before)
        work.peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    if work.peak > memory:
        raise TooMuchWork(f"{work.peak} bytes at once, which is more than {memory}")

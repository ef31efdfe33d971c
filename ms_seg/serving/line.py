"""Requests in a line: one is answered at a time, in the order in which they came."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ms_seg.serving.limits import Limits, Refused


class Line:
    """Who waits for an answer, and how many bytes they brought. To be used in one event loop.

    answer: gives the answer to a question, in a thread of its own.
    """

    def __init__(self, answer: Callable[[Any], bytes], limits: Limits):
        self._answer, self._limits = answer, limits
        self._thread = ThreadPoolExecutor(1, "answering")
        self._waiting = self._bytes = 0
        self._pace = 1.0  # seconds that one of the latest answers took

    def enter(self) -> Place:
        """A place in the line, to be left by `Place.leave`. Raises Refused (503) where there is none."""
        if self._waiting >= self._limits.waiting:
            raise self._busy(f"{self._waiting} requests are waiting already")
        self._waiting += 1
        return Place(self)

    def close(self) -> None:
        """Let nobody wait for an answer that nobody begins any more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _busy(self, why: str) -> Refused:
        seconds = max(1, math.ceil(self._pace * self._waiting))
        return Refused(503, f"{why}: try again in {seconds} s", retry_after=seconds)

    def _timed(self, question: Any) -> bytes:
        begun = time.monotonic()
        try:
            return self._answer(question)
        finally:
            self._pace = (self._pace + time.monotonic() - begun) / 2


class Place:
    """One request's place in a line."""

    def __init__(self, line: Line):
        self._line, self._bytes = line, 0

    def bring(self, count: int) -> None:
        """So many more bytes of the request are in memory. Raises Refused (503) where there is no room for them."""
        line = self._line
        if line._bytes + count > line._limits.waiting_bytes:
            raise line._busy("the requests that are waiting fill the memory that they may")
        self._bytes += count
        line._bytes += count

    async def answer(self, question: Any, gone: Callable[[], Awaitable[None]]) -> bytes | None:
        """The answer to a question, or None where whoever asked is gone: `gone` returns then.

        Raises what the answer raises.
        """
        try:
            future = self._line._thread.submit(self._line._timed, question)
        except RuntimeError:  # the line is closed
            raise Refused(503, "the server is being stopped") from None
        answered = asyncio.wrap_future(future)
        leaving = asyncio.ensure_future(gone())
        try:
            await asyncio.wait((answered, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not answered.done() and future.cancel():
                return None
            return await answered
        except asyncio.CancelledError:
            future.cancel()
            raise Refused(503, "the server is being stopped") from None
        finally:
            leaving.cancel()

    def leave(self) -> None:
        self._line._waiting -= 1
        self._line._bytes -= self._bytes

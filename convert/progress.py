"""Progress on stderr: a bar on a terminal, elsewhere a plain line now and then."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_BAR_WIDTH = 24  # characters
_TERMINAL_PAUSE, _FILE_PAUSE = 0.1, 10.0  # seconds between two drawings


@contextmanager
def progress_bar(
    total: int, label: str, stream: TextIO | None = None, done: int = 0, log: str | None = None
) -> Iterator[ProgressBar]:
    """Show how much of `total` (pictures, tensors, bytes) is done, on stderr unless another stream is given.

    `done`: how much was done before; the time left is not estimated from it, nor from the first part, which may
    include compiling: until there is a second, the time that has passed is shown. `log`: a logger, such as "ms_seg",
    whose messages are shown above the bar.

    with progress_bar(len(pictures), "segmenting") as advance:
        for picture in pictures:
            ...
            advance()
    """
    bar = ProgressBar(total, label, stream or sys.stderr, done)
    try:
        if log is None:
            yield bar
        else:
            with _showing(log, bar):
                yield bar
    finally:
        bar.close()


class ProgressBar:
    """Call it when something is done, or `part` of it is; `note` writes a line above the bar."""

    def __init__(self, total: int, label: str, stream: TextIO, done: int = 0):
        self.total, self.label = total, label
        self.done: float = done
        self._whole = done  # without the part of the next one
        self._text = self._line = ""
        self._stream = stream
        self._terminal = stream.isatty()
        self._begun = self._drawn = time.monotonic()
        self._pace_from: tuple[float, float] | None = None  # time and amount when the first part ended
        if self._terminal:
            self._draw(self._begun)

    def __call__(self, amount: int = 1, text: str = "") -> None:
        """So much more is done; `text` is shown after the bar."""
        self._whole += amount
        self._advance(self._whole, text)

    def part(self, fraction: float, text: str = "") -> None:
        """So much, 0..1, of what is done next is done."""
        self._advance(self._whole + fraction, text)

    def _advance(self, done: float, text: str) -> None:
        now = time.monotonic()
        self._pace_from = self._pace_from or (now, done)
        self.done = done
        self._text = f"  {text}" if text else ""
        if now - self._drawn >= (_TERMINAL_PAUSE if self._terminal else _FILE_PAUSE):
            self._draw(now)

    def note(self, text: str) -> None:
        """Write a line that the bar does not overwrite."""
        self._stream.write(f"\r\x1b[K{text}\n" if self._terminal else f"{text}\n")
        if self._terminal:
            self._draw(time.monotonic())
        self._stream.flush()

    def close(self) -> None:
        """Draw the bar a last time."""
        self._draw(time.monotonic())
        if self._terminal:
            self._stream.write("\n")
            self._stream.flush()

    def _draw(self, now: float) -> None:
        self._drawn = now
        if not self.total:
            return  # all of nothing is no news
        fraction = min(self.done / self.total, 1.0)
        filled = round(fraction * _BAR_WIDTH)
        since, done = self._pace_from or (now, self.done)
        if done < self.done < self.total:
            seconds = f"{_clock((now - since) / (self.done - done) * (self.total - self.done))} left"
        else:
            seconds = _clock(now - self._begun)
        if self._terminal:
            bar = "#" * filled + "-" * (_BAR_WIDTH - filled)
            self._stream.write(f"\r\x1b[K{self.label} [{bar}] {fraction:4.0%} {seconds}{self._text}")
        elif (line := f"{self.label}: {fraction:.0%}, {seconds}{self._text}\n") != self._line:
            self._stream.write(line)
            self._line = line
        self._stream.flush()


@contextmanager
def _showing(log: str, bar: ProgressBar) -> Iterator[None]:
    logger, handler = logging.getLogger(log), _LogLines(bar)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


class _LogLines(logging.Handler):
    """Writes log records above the bar."""

    def __init__(self, bar: ProgressBar):
        super().__init__()
        self._bar = bar

    def emit(self, record: logging.LogRecord) -> None:
        self._bar.note(record.getMessage())


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if minutes >= 60 else f"{minutes}:{seconds:02}"

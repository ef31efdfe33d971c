"""Every command ends with an exit code, and with one sentence if it failed or was stopped."""

from __future__ import annotations

import atexit
import gc
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPPED = 130  # a shell's exit code after Ctrl-C

_GARBAGE_THRESHOLD = 20_000  # objects, Python's is 700


def exit_code(program: str, run: Callable[[], int | None], stopped: str = "stopped") -> int:
    """Run a command: what `run` returns (0 for None); 2 for bad input, with one sentence on stderr; 130 for Ctrl-C.

    SIGTERM, which schedulers send, stops it as Ctrl-C does.

    program: the name before that sentence. stopped: the sentence after Ctrl-C, unless the KeyboardInterrupt brings one.
    """
    _collect_less()
    os.environ.setdefault("GLOG_v", "3")  # MindSpore logs errors alone; it reads this when it is imported
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name may be in no encoding, and a terminal in any
            stream.reconfigure(errors="backslashreplace")
    try:
        with _stopped_by_sigterm():
            return run() or 0
    except (ValueError, OSError, RuntimeError) as error:
        print(f"{program}: {_sentence(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(str(stop) or stopped, file=sys.stderr)
        return STOPPED


def _collect_less() -> None:
    """Let Python look for cycles of garbage more seldom, and at the end not at all.

    The 200,000 objects that MindSpore makes while it is imported stay to the end. Without looking through them again
    and again `segment` with one picture and SegFormer-B0 takes 4.6 s instead of 5.4 (two cores, AMD Zen 3).
    """
    gc.set_threshold(_GARBAGE_THRESHOLD)
    atexit.unregister(gc.freeze)  # a command may be run twice in a process
    atexit.register(gc.freeze)


def _sentence(error: Exception) -> str:
    """What an error says; of the system's, without its number."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt in the block: MindSpore makes it of Ctrl-C while it is at work."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt

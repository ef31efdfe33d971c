"""Ctrl-C while MindSpore works: kept back until a network's call has ended, and then given to whoever handles it.

MindSpore puts a handler of its own on SIGINT, in C and without telling Python, when it runs its first operator and
whenever it runs a graph. It answers Ctrl-C by SIGTERM to its own process, which ends there: no KeyboardInterrupt, no
`finally`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import FrameType

_get_handler, _set_handler = ctypes.pythonapi.PyOS_getsig, ctypes.pythonapi.PyOS_setsig
_get_handler.restype = _set_handler.restype = ctypes.c_void_p
_get_handler.argtypes, _set_handler.argtypes = [ctypes.c_int], [ctypes.c_int, ctypes.c_void_p]

_STOPS = (signal.SIGINT, signal.SIGTERM)  # SIGTERM is what MindSpore makes of the other while it runs
_PAUSE = 0.005  # seconds after which MindSpore's handler is taken away again while a thread runs a network


@dataclass
class Held:
    """What came while it was held back: the last signal, None for none."""

    signal: int | None = None


@contextmanager
def hold(
    first: Callable[[], None] | None = None, every: bool = False, say: Callable[[], None] | None = None
) -> Iterator[Held]:
    """Keep Ctrl-C, and SIGTERM, back during the block: what has come then is said by the yielded `Held`.

    A second one raises KeyboardInterrupt where it comes, unless `every` one is kept back. first: is called at the first
    one, in the main thread and as soon as that runs Python. say: is called at once, in another thread, even while
    MindSpore compiles. Outside the main thread, where Python lets nobody handle signals, nothing is kept back.
    """
    held = Held()
    if threading.current_thread() is not threading.main_thread():
        yield held
        return

    def note(number: int, frame: FrameType | None) -> None:
        again, held.signal = held.signal is not None, number
        if again and not every:
            raise KeyboardInterrupt
        if first and not again:
            first()

    before = {number: signal.getsignal(number) for number in _STOPS}
    if None in before.values():  # a program around Python handles them
        yield held
        return
    with _told_at_once(say) if say else nullcontext():
        for number in _STOPS:
            signal.signal(number, note)
        try:
            yield held
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _told_at_once(say: Callable[[], None]) -> Iterator[None]:
    """Call `say` in a thread at the first of _STOPS: Python writes the number of a signal to a pipe where it comes."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def wait() -> None:
        while number := os.read(reading, 1)[0]:
            if number in _STOPS:
                say()
                break

    thread = threading.Thread(target=wait, daemon=True)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        thread.start()
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.write(writing, b"\0")
        thread.join()
        os.close(reading)
        os.close(writing)


@contextmanager
def interruptible(every: bool = False, say: Callable[[], None] | None = None) -> Iterator[None]:
    """Run MindSpore in the block, or as a decorator in the function, and let Ctrl-C be what it was before.

    What came meanwhile is delivered at the end: it raises KeyboardInterrupt, or does what else the program has it do. A
    second Ctrl-C raises KeyboardInterrupt as soon as MindSpore lets Python run, unless `every` one is kept back.
    say: see `hold`.

    In another thread than the main one nothing is kept back: there Ctrl-C stays what it was before, also while the
    network runs.
    """
    handler = _get_handler(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread():
        with _kept(handler):
            yield
        return
    with_default = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with hold(every=every, say=say) as held:
        try:
            yield
        except BaseException as error:
            if held.signal is None or isinstance(error, KeyboardInterrupt):
                raise
            raise KeyboardInterrupt from error  # which MindSpore made another error of
        finally:
            _set_handler(signal.SIGINT, handler)
    if held.signal is not None:
        # Nobody waits for SIGTERM: it was MindSpore that made it of Ctrl-C.
        signal.raise_signal(signal.SIGINT if with_default else held.signal)


@contextmanager
def _kept(handler: int | None) -> Iterator[None]:
    """Give Ctrl-C back to a handler again and again: MindSpore takes it in the course of a network's call."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_PAUSE):
            _set_handler(signal.SIGINT, handler)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        _set_handler(signal.SIGINT, handler)


def load_mindspore() -> None:
    """Import MindSpore, before anything else that imports it: half imported, it would end the process by an abort."""
    with interruptible(every=True):
        import mindspore  # noqa: F401

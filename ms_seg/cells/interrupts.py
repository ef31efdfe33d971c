"""Ctrl-C while MindSpore works: kept back until a network's call has ended, and then given to whoever handles it.

MindSpore puts a handler of its own on SIGINT, in C and without telling Python, when it runs its first operator and
whenever it runs a graph. It answers Ctrl-C by SIGTERM to its own process, which ends there: no KeyboardInterrupt, no
`finally`.
"""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_get_handler, _set_handler = ctypes.pythonapi.PyOS_getsig, ctypes.pythonapi.PyOS_setsig
_get_handler.restype = _set_handler.restype = ctypes.c_void_p
_get_handler.argtypes, _set_handler.argtypes = [ctypes.c_int], [ctypes.c_int, ctypes.c_void_p]

_STOPS = (signal.SIGINT, signal.SIGTERM)  # SIGTERM is what MindSpore makes of the other while it runs


@dataclass
class Held:
    """What came while it was held back: the last signal, None for none."""

    signal: int | None = None


@contextmanager
def hold(first: Callable[[], None] | None = None, every: bool = False) -> Iterator[Held]:
    """Keep Ctrl-C, and SIGTERM, back during the block: what has come then is said by the yielded `Held`.

    A second one raises KeyboardInterrupt where it comes, unless `every` one is kept back. first: is called at the first
    one. Outside the main thread, where Python lets nobody handle signals, nothing is kept back.
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
    for number in _STOPS:
        signal.signal(number, note)
    try:
        yield held
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interruptible(every: bool = False) -> Iterator[None]:
    """Run MindSpore in the block, or as a decorator in the function, and let Ctrl-C be what it was before.

    What came meanwhile is delivered at the end: it raises KeyboardInterrupt, or does what else the program has it do. A
    second Ctrl-C raises KeyboardInterrupt as soon as MindSpore lets Python run, unless `every` one is kept back.

    In another thread than the main one Ctrl-C is what it was before as soon as the block has ended. While a network
    runs there, it sends the process SIGTERM.
    """
    handler = _get_handler(signal.SIGINT)
    with_default = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with hold(every=every) as held:
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


def load_mindspore() -> None:
    """Import MindSpore, before anything else that imports it: half imported, it would end the process by an abort."""
    with interruptible(every=True):
        import mindspore  # noqa: F401

"""Ctrl-C while MindSpore works, pressed as a terminal does it: by a signal to the process."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from mindspore import Tensor

from ms_seg.cells import interrupts
from ms_seg.cells.interrupts import hold, interruptible
from ms_seg.inference.execution import Runner, to_numpy
from tests.toy_model import StrongestChannel


def press(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture
def images() -> np.ndarray:
    return np.ones((1, 3, 8, 8), np.float32)


@pytest.fixture
def _sigterm_ends_the_process() -> Iterator[None]:
    """As it does in a notebook; what these tests run in may have another idea."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("mode", ["graph", "pynative"])
def test_after_a_network_has_run_ctrl_c_is_a_keyboard_interrupt(images, mode):
    run = Runner(StrongestChannel(), mode)
    for _ in range(2):  # MindSpore takes the signal at every call
        to_numpy(run(images)[0])
        with pytest.raises(KeyboardInterrupt):
            press()


def test_after_a_model_was_called_ctrl_c_is_a_keyboard_interrupt(images):
    model = StrongestChannel()
    model(Tensor(images))
    with pytest.raises(KeyboardInterrupt):
        press()


def test_after_a_network_has_run_in_a_thread_ctrl_c_is_a_keyboard_interrupt(images):
    run = Runner(StrongestChannel())
    thread = threading.Thread(target=lambda: to_numpy(run(images)[0]))
    thread.start()
    thread.join()
    with pytest.raises(KeyboardInterrupt):
        press()


@pytest.mark.usefixtures("_sigterm_ends_the_process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])  # the second is what MindSpore makes of it
def test_ctrl_c_meanwhile_is_one_afterwards(number):
    done = []
    with pytest.raises(KeyboardInterrupt), interruptible():
        press(number)
        done.append("the rest of the work")
    assert done


def test_who_handles_ctrl_c_or_sigterm_is_told_afterwards(monkeypatch):
    told = []
    before = [signal.signal(number, lambda number, frame: told.append(number)) for number in (2, 15)]
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            with interruptible():
                press(number)
                assert number not in told
            assert told[-1] == number
    finally:
        for number, handler in zip((2, 15), before, strict=True):
            signal.signal(number, handler)


def test_a_second_ctrl_c_does_not_wait():
    with pytest.raises(KeyboardInterrupt), interruptible():
        press()
        press()
        pytest.fail("it waited")


def test_what_mindspore_makes_of_a_keyboard_interrupt_is_one_again():
    with pytest.raises(KeyboardInterrupt), interruptible():
        press()
        raise RuntimeError("KeyboardInterrupt, at: mindspore/parse/parser.py")


def test_an_error_without_ctrl_c_stays_what_it_is():
    with pytest.raises(ZeroDivisionError), interruptible():
        raise ZeroDivisionError


def test_what_is_held_back_is_said_and_answered_once():
    answers = []
    with hold(lambda: answers.append("stopping")) as held:
        assert held.signal is None
        press()
        assert (held.signal, answers) == (signal.SIGINT, ["stopping"])
        with pytest.raises(KeyboardInterrupt):
            press()
    assert answers == ["stopping"]
    with hold(every=True):
        press()
        press()


def test_ctrl_c_is_said_at_once_while_no_python_runs():
    numbers, said = np.random.default_rng(0).random(8_000_000), []
    with hold(say=lambda: said.append(time.monotonic())) as held:
        threading.Timer(0.05, press).start()
        np.sort(numbers)  # NumPy lets Python handle no signal meanwhile
        ended = time.monotonic()
    assert held.signal == signal.SIGINT and said and said[0] < ended - 0.05
    with hold(say=lambda: said.append(0)):
        pass
    assert len(said) == 1


def test_while_a_thread_runs_a_network_ctrl_c_is_a_keyboard_interrupt_in_the_main_thread():
    entered, leave = threading.Event(), threading.Event()

    def work() -> None:
        with interruptible():
            interrupts._set_handler(signal.SIGINT, int(signal.SIG_IGN))  # as MindSpore does with a handler of its own
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    assert entered.wait(10)
    time.sleep(0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            press()
            time.sleep(0.5)
    finally:
        leave.set()
        thread.join()

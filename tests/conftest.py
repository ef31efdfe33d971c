"""What every test process begins with."""

import signal
import sys

import pytest

# A shell starts what it runs in the background with SIGINT ignored, and so would be the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files of trainings take longest: begun last, one would run for minutes after all others had ended."""
    items.sort(key=lambda item: "training" not in item.path.parts)


def pytest_collection_finish() -> None:
    """Operators outside a graph run in the thread that calls them, in this process alone.

    MindSpore 2.8 hands them to threads that wait for each other by spinning. Where each core has a process, that takes
    longer than the operators: 29 tests of tests/systems/test_backbones.py took 38 s of CPU time, and 12 s without.
    """
    if mindspore := sys.modules.get("mindspore"):
        mindspore.set_context(pynative_synchronize=True)

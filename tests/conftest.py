"""What every test process begins with."""

import signal

import pytest

# A shell starts what it runs in the background with SIGINT ignored, and so would be the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files of trainings take longest: begun last, one would run for minutes after all others had ended."""
    items.sort(key=lambda item: "training" not in item.path.parts)

"""What the benchmark can time, for its tests: its processes import them by this module's name."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np

Inputs = tuple[np.ndarray, ...]


def quick(name: str, inputs: Inputs, threads: int) -> Callable[[], object]:
    assert (name, inputs[0].shape, threads) == ("segformer_tiny_shapes", (1, 3, 64, 96), 1)
    return lambda: time.sleep(0.02)


def slow(name: str, inputs: Inputs, threads: int) -> Callable[[], object]:
    return lambda: time.sleep(0.2)


def unable(name: str, inputs: Inputs, threads: int) -> Callable[[], object]:
    raise NotImplementedError("no such operator\nand much more")


def killed(name: str, inputs: Inputs, threads: int) -> Callable[[], object]:
    os._exit(9)

"""Cut off and flipped at random, a file of any container ends in a CheckpointError, with little work and memory."""

import random
from pathlib import Path

import numpy as np
import pytest

from convert import CheckpointError, open_checkpoint
from tests.convert.reading.test_legacy import tar_file
from tests.convert.reading.test_numpy_files import python_2_pickle
from tests.convert.reading.test_open_checkpoint import WEIGHT, every_container
from tests.work import bounded_work

CONTAINERS = every_container() | {"tar": tar_file(), "python 2": python_2_pickle(WEIGHT)}
FLIPS = 150
EDGES = tuple((number % 2**64).to_bytes(8, "little") for number in (0, -1, 2**63 - 1, -(2**63), 2**28))
LINES, MEMORY = 10_000, 1 << 19  # a whole file takes 3477 lines and 90 kB at most, and a damaged one no more


def read(path: Path, data: bytes) -> dict[str, np.ndarray]:
    path.write_bytes(data)
    with open_checkpoint(path) as tensors:
        return {name: entry.numpy() for name, entry in tensors.items()}


@pytest.mark.parametrize("container", list(CONTAINERS))
def test_a_file_cut_off_anywhere(container, tmp_path):
    data = CONTAINERS[container]
    needed = len(data.rstrip(b"\0")) if container == "tar" else len(data)  # a tar ends in blocks of zeros
    for length in {*range(0, needed, max(1, needed // 200)), needed - 1}:
        with pytest.raises(CheckpointError):
            read(tmp_path / "cut", data[:length])
    whole = read(tmp_path / "whole", data)
    assert whole
    for length in {*range(needed, len(data), 200), len(data)}:
        for name, array in read(tmp_path / "cut", data[:length]).items():
            np.testing.assert_array_equal(array, whole[name])


@pytest.mark.parametrize("container", list(CONTAINERS))
def test_a_file_with_bytes_changed(container, tmp_path):
    chance = random.Random(container)
    refused = [is_refused(tmp_path / "changed", changed(CONTAINERS[container], chance)) for _ in range(FLIPS)]
    assert sum(refused) > FLIPS // 10


@pytest.mark.parametrize("container", list(CONTAINERS))
def test_a_file_with_a_huge_number_anywhere(container, tmp_path):
    data = CONTAINERS[container]
    for at in range(0, len(data), max(1, len(data) // 100)):
        for edge in EDGES:
            is_refused(tmp_path / "huge", data[:at] + edge + data[at + 8 :])


def is_refused(path: Path, data: bytes) -> bool:
    """Whether reading ends in a CheckpointError, which is a sentence. Any other error passes on, TooMuchWork too."""
    with bounded_work(LINES, MEMORY):
        try:
            read(path, data)
        except CheckpointError as error:
            assert str(path) in str(error) and "\n" not in str(error) and str(error).endswith(".")
            return True
    return False


def changed(content: bytes, chance: random.Random) -> bytes:
    """Bytes replaced, removed, put in, or made the edges of 64-bit numbers, in one to eight places."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(len(data))
        kind = chance.random()
        if kind < 0.6:
            data[at] = chance.randrange(256)
        elif kind < 0.7:
            del data[at : at + chance.randrange(1, 9)]
        elif kind < 0.8:
            data[at:at] = chance.randbytes(chance.randrange(1, 9))
        else:
            data[at : at + 8] = chance.choice(EDGES)[: len(data) - at]
    return bytes(data)

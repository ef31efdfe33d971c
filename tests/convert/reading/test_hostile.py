"""Cut off and flipped at random, a file of any container ends in a CheckpointError, soon and without much memory."""

import random
import time

import pytest

from convert import CheckpointError, open_checkpoint
from tests.convert.reading.test_legacy import tar_file
from tests.convert.reading.test_numpy_files import python_2_pickle
from tests.convert.reading.test_open_checkpoint import WEIGHT, every_container

CONTAINERS = every_container() | {"tar": tar_file(), "python 2": python_2_pickle(WEIGHT)}
FLIPS = 150
EDGES = (b"\xff" * 8, b"\0" * 8, b"\xff" * 7 + b"\x7f", b"\0" * 7 + b"\x80")


def read_all(path, data: bytes) -> None:
    """Read every tensor; whatever is no CheckpointError passes on and fails the test."""
    path.write_bytes(data)
    try:
        with open_checkpoint(path) as tensors:
            for entry in tensors.values():
                entry.numpy()
    except CheckpointError as error:
        assert str(path) in str(error) and "\n" not in str(error) and str(error).endswith(".")


@pytest.mark.parametrize("container", list(CONTAINERS))
def test_a_file_cut_off_anywhere(container, tmp_path):
    data = CONTAINERS[container]
    for length in range(0, len(data), max(1, len(data) // 200)):
        with pytest.raises(CheckpointError):
            (tmp_path / "cut").write_bytes(data[:length])
            with open_checkpoint(tmp_path / "cut") as tensors:
                [entry.numpy() for entry in tensors.values()]
                if container == "tar" and length >= len(data.rstrip(b"\0")):  # a tar ends in blocks of zeros
                    raise CheckpointError


@pytest.mark.parametrize("container", list(CONTAINERS))
def test_a_file_with_bytes_changed(container, tmp_path):
    chance = random.Random(container)
    start = time.perf_counter()
    for _ in range(FLIPS):
        data = bytearray(CONTAINERS[container])
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
        read_all(tmp_path / "changed", bytes(data))
    assert time.perf_counter() - start < 30

"""What the processes of a run tell each other, over real connections between threads."""

import os
import socket
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ms_seg import distributed
from ms_seg.distributed import World, start

ROOT = Path(__file__).resolve().parents[1]


def worlds(size: int) -> list[World]:
    pairs = [socket.socketpair() for _ in range(1, size)]
    return [World(0, size, [one for one, _ in pairs])] + [World(r + 1, size, [pairs[r][1]]) for r in range(size - 1)]


def on_each(group: list[World], work) -> list:
    with ThreadPoolExecutor(len(group)) as pool:
        return list(pool.map(work, group))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_sums_are_exact_in_the_arrays_own_type(size):
    large = on_each(worlds(size), lambda world: world.sum(np.array([[2**60 + 1, world.rank]])))
    tiny = on_each(worlds(size), lambda world: world.sum(np.array([1e-300, 1 / 3])))
    for total, fraction in zip(large, tiny, strict=True):
        assert total.tolist() == [[size * (2**60 + 1), sum(range(size))]]
        assert total.dtype == np.int64
        assert fraction[1] == sum([1 / 3] * size)


def test_a_sum_leaves_the_ranks_own_array():
    mine = np.ones(3)
    on_each(worlds(2), lambda world: world.sum(mine))
    assert mine.tolist() == [1, 1, 1]


def test_large_arrays_pass():
    array = np.arange(3_000_000)
    assert all(np.array_equal(total, 3 * array) for total in on_each(worlds(3), lambda world: world.sum(array)))


@pytest.mark.parametrize(
    ("of_rank_1", "same"), [([1.0, 2.0], True), ([1.0, 2.0 + 2**-51], False), ([[1.0, 2.0]], False), ([1, 2], False)]
)
def test_same_means_the_same_bits_type_and_shape_on_every_rank(of_rank_1, same):
    arrays = [np.array([1.0, 2.0]), np.array(of_rank_1), np.array([1.0, 2.0])]
    assert on_each(worlds(3), lambda world: world.same(arrays[world.rank])) == [same] * 3


def test_a_barrier_waits_for_the_last():
    arrived = threading.Event()

    def work(world):
        if world.rank == 2:
            arrived.wait(0.3)
            arrived.set()
        world.barrier()
        return arrived.is_set()

    assert on_each(worlds(3), work) == [True] * 3


def test_a_rank_that_ended_is_named_instead_of_waited_for():
    group = worlds(3)
    for connection in group[2]._peers:
        connection.close()

    def work(world):
        if world.rank < 2:
            try:
                with pytest.raises(RuntimeError) as failure:
                    world.sum(np.zeros(3))
                return str(failure.value)
            finally:
                for connection in world._peers:  # as the end of its process does
                    connection.close()

    on_rank_0, on_rank_1, _ = on_each(group, work)
    assert "rank 2 has ended before its work was done" in on_rank_0
    assert "rank 0 has ended before its work was done" in on_rank_1


def test_strangers_are_not_let_in():
    token = b"t" * 16
    with socket.create_server(("127.0.0.1", 0)) as server:
        with ThreadPoolExecutor(1) as pool:
            accepted = pool.submit(distributed._accept, server, 2, token)
            for greeting in (b"", b"GET / HTTP/1.1\r\n\r\n....", struct.pack("<16sI", token, 7)):
                with socket.create_connection(server.getsockname()) as stranger:
                    stranger.sendall(greeting)
            with socket.create_connection(server.getsockname()) as peer:
                peer.sendall(struct.pack("<16sI", token, 1))
                (connection,) = accepted.result(timeout=10)
                peer.sendall(b"it is me")
                assert connection.recv(8) == b"it is me"
                connection.close()


def test_a_process_alone_does_not_wait_for_mindspore():
    code = "import sys; from ms_seg.distributed import start; w = start('CPU'); w.barrier(); " \
        "sys.exit('mindspore' in sys.modules or (w.rank, w.size) != (0, 1))"  # fmt: skip
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_processes_that_cannot_meet_say_so(monkeypatch):
    monkeypatch.setenv("MS_ROLE", "MS_WORKER")

    def init(backend):
        assert backend == "mccl"
        raise RuntimeError("Topology build timed out.\n----\nmany lines")

    monkeypatch.setattr("mindspore.communication.init", init)
    with pytest.raises(RuntimeError, match=r"do not find each other, or one died: Topology build timed out\.$"):
        start("CPU")


@pytest.fixture
def _port_of_another_program(monkeypatch):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        monkeypatch.setenv("MS_SCHED_HOST", "127.0.0.1")
        monkeypatch.setenv("MS_SCHED_PORT", str(other.getsockname()[1]))
        yield


@pytest.mark.usefixtures("_port_of_another_program")
def test_a_port_that_another_program_has_is_named_by_the_scheduler_at_once(monkeypatch):
    monkeypatch.setenv("MS_ROLE", "MS_SCHED")
    with pytest.raises(RuntimeError, match=r"port \d+ of 127\.0\.0\.1 .*: pass msrun another --master_port"):
        distributed.start("CPU")


@pytest.mark.usefixtures("_port_of_another_program")
def test_a_worker_does_not_wait_for_a_scheduler_that_has_ended(monkeypatch):
    monkeypatch.setenv("MS_ROLE", "MS_WORKER")
    monkeypatch.setattr(distributed.os, "getppid", os.getpid)  # as if this process were msrun
    with subprocess.Popen([sys.executable, "-c", ""], env={**os.environ, "MS_ROLE": "MS_SCHED"}) as scheduler:
        os.waitid(os.P_PID, scheduler.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(RuntimeError, match="the scheduler has ended before the processes found each other"):
            distributed.start("CPU")

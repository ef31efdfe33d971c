"""Several processes of one run, as `msrun` starts them.

What the processes tell each other here goes over connections of their own, from every rank to rank 0 and back.
MindSpore's collectives on the CPU (mccl, 2.8) would not do: AllReduce and AllGather pass float64 through float32
without a word, AllReduce refuses integers, there is no Barrier, and a rank that is more than 30 seconds late makes the
others fail. They are left to what they are for, gradients; after rank 0 was busy alone, call `barrier` before the next.

When a rank dies, the others end too: in a call here at once, in a collective of mccl after those 30 seconds.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import secrets
import socket
import struct
import sys
import time
from collections.abc import Iterator

import numpy as np

_BACKENDS = {"CPU": "mccl", "GPU": "nccl", "Ascend": "hccl"}
_LENGTH = struct.Struct("<Q")  # before every message
_GREETING = struct.Struct("<16sI")  # the run's token, the caller's rank
_SCHEDULER_PATIENCE = 30.0  # seconds that a worker waits for the scheduler beside it to listen
_PATIENCE = 60.0  # seconds for a connection; afterwards a rank may work as long as it likes between two calls


def start(device: str) -> World:
    """Join the other processes of this run; a process that `msrun` did not start is alone.

    Call it first of all that a command does and that other processes must not do too: msrun runs the command once more
    as its scheduler, which stays in here until the run is over, and never returns.

    Args:
        device: "CPU", "GPU" or "Ascend". MindSpore's collectives are ready for it afterwards: mccl, nccl or hccl.

    Raises RuntimeError if the processes do not find each other, at once where another program has the run's port.
    """
    if "MS_ROLE" not in os.environ:
        return World(0, 1, [])
    _check_port()
    import mindspore as ms
    from mindspore import communication

    try:
        if ms.get_context("device_target") != device:
            ms.set_device(device)
        communication.init(_BACKENDS[device])
        atexit.register(_close_log)
        rank, size = communication.get_rank(), communication.get_group_size()
        return World(rank, size, _connect(rank, size))
    except (RuntimeError, OSError) as error:  # MindSpore's are pages long
        reason = str(error).strip().split("\n")[0]
        raise RuntimeError(f"the processes that msrun started do not find each other, or one died: {reason}") from error


def processes() -> int:
    """How many processes `msrun` started for this run; 1 for one that it did not start."""
    return int(os.environ.get("MS_WORKER_NUM", "1")) if "MS_ROLE" in os.environ else 1


def _check_port() -> None:
    """Raise RuntimeError in the scheduler if it cannot listen on its port, and in the workers beside it once it has
    ended: MindSpore lets them wait for minutes, in which no Python runs."""
    import psutil

    if not {"MS_SCHED_HOST", "MS_SCHED_PORT"} <= set(os.environ):
        return  # MindSpore says so
    host, port = os.environ["MS_SCHED_HOST"], int(os.environ["MS_SCHED_PORT"])
    if os.environ["MS_ROLE"] == "MS_SCHED":
        try:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                trial.bind((host, port))
                trial.listen(1)
        except OSError as error:
            raise RuntimeError(
                f"the scheduler cannot listen on port {port} of {host} (OSError: {error.strerror}): pass msrun another "
                "--master_port"
            ) from None
        return
    deadline = time.monotonic() + _SCHEDULER_PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(psutil.Error):  # one that has ended meanwhile is met again
            beside = psutil.Process(os.getppid()).children()
            if any(process.status() == psutil.STATUS_ZOMBIE for process in beside):
                raise RuntimeError("the scheduler has ended before the processes found each other: see its log")
            scheduler = [process for process in beside if process.environ().get("MS_ROLE") == "MS_SCHED"]
            if not scheduler or any(at.laddr and at.laddr.port == port for at in scheduler[0].net_connections()):
                return
        time.sleep(0.1)


class World:
    """The processes of a run. Each method is called by all of them in the same order; all get the same answer.

    A rank that ended before it took part makes the others fail with a RuntimeError that names it, at once.

    rank: 0 to size - 1; rank 0 is the one that writes and prints. peers: connections to ranks 1, 2, ... on rank 0, to
    rank 0 alone elsewhere.
    """

    def __init__(self, rank: int, size: int, peers: list[socket.socket]):
        self.rank, self.size, self._peers = rank, size, peers

    def sum(self, array: np.ndarray) -> np.ndarray:
        """The sum over the ranks of an array of one shape and type, computed in that type in the order of the ranks."""
        array = np.ascontiguousarray(array)
        if self.rank:
            self._send(0, array.tobytes())
            return np.frombuffer(self._receive(0), array.dtype).reshape(array.shape).copy()
        total = array.copy()
        for rank in range(1, self.size):
            total += np.frombuffer(self._receive(rank), array.dtype).reshape(array.shape)
        for rank in range(1, self.size):
            self._send(rank, total.tobytes())
        return total

    def same(self, array: np.ndarray) -> bool:
        """Whether every rank has this array, to the last bit, type and shape included."""
        array = np.ascontiguousarray(array)
        description = f"{array.dtype.str} {array.shape} ".encode()
        digest = np.frombuffer(hashlib.blake2b(description + array.tobytes(), digest_size=32).digest(), np.uint8)
        of_rank_0 = self.sum(digest if self.rank == 0 else np.zeros_like(digest))
        return not self.sum(np.array(int((digest != of_rank_0).any())))

    def barrier(self) -> None:
        """Wait until every rank is here."""
        self.sum(np.zeros(1, np.uint8))

    def _send(self, rank: int, content: bytes) -> None:
        with _naming(rank):
            self._peer(rank).sendall(_LENGTH.pack(len(content)) + content)

    def _receive(self, rank: int) -> bytes:
        with _naming(rank):
            (length,) = _LENGTH.unpack(_read(self._peer(rank), _LENGTH.size))
            return _read(self._peer(rank), length)

    def _peer(self, rank: int) -> socket.socket:
        return self._peers[rank - 1 if rank else 0]


@contextlib.contextmanager
def _naming(rank: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RuntimeError(f"rank {rank} has ended before its work was done ({error}): see its log") from None


def _read(connection: socket.socket, length: int) -> bytes:
    content = bytearray()
    while len(content) < length:
        part = connection.recv(min(length - len(content), 1 << 20))
        if not part:
            raise ConnectionResetError("its connection is closed")
        content += part
    return bytes(content)


def _close_log() -> None:
    """When a process ends, MindSpore writes lines to stderr whatever the level of its log: "dispatch success!"."""
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _connect(rank: int, size: int) -> list[socket.socket]:
    """The connections of a World. Rank 0 listens on the scheduler's host, as msrun's first node is both."""
    host = os.environ["MS_SCHED_HOST"]
    if rank == 0:
        with socket.create_server((host, 0), backlog=size) as server:
            token = secrets.token_bytes(16)
            _from_rank_0(np.frombuffer(struct.pack("<I", server.getsockname()[1]) + token, np.int32))
            return _accept(server, size, token)
    port, token = struct.unpack("<I16s", _from_rank_0(np.zeros(5, np.int32)).tobytes())
    connection = socket.create_connection((host, port), _PATIENCE)
    connection.sendall(_GREETING.pack(token, rank))
    return [_lasting(connection)]


def _from_rank_0(values: np.ndarray) -> np.ndarray:
    """What rank 0 calls this with, (n,) int32: of MindSpore's collectives, one that is exact on every device."""
    from mindspore import Tensor, ops

    return ops.AllGather()(Tensor(values)).asnumpy()[: len(values)]


def _accept(server: socket.socket, size: int, token: bytes) -> list[socket.socket]:
    server.settimeout(_PATIENCE)
    callers: dict[int, socket.socket] = {}
    while len(callers) < size - 1:
        connection, _ = server.accept()
        connection.settimeout(_PATIENCE)
        try:
            greeting, rank = _GREETING.unpack(_read(connection, _GREETING.size))
        except OSError:
            greeting, rank = b"", 0
        if secrets.compare_digest(greeting, token) and 0 < rank < size:
            callers[rank] = _lasting(connection)
        else:
            connection.close()  # a stranger
    return [callers[rank] for rank in range(1, size)]


def _lasting(connection: socket.socket) -> socket.socket:
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a machine that is gone closes nothing
    return connection

"""Batches: the same from any number of workers, ranks and restarts, and an end to the workers in every case."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from ms_seg.data.drawn.world import DrawnWorld
from ms_seg.data.picture import UnreadablePicture
from ms_seg.data.samples import SemanticSamples
from ms_seg.presets.recipe import Recipe
from ms_seg.training.loader import Loader

ROOT = Path(__file__).resolve().parents[2]


class Numbers:
    """Samples that are their own position; some cannot be read."""

    columns = ("image", "labels")

    def __init__(self, count: int = 1000, broken: tuple[int, ...] = ()):
        self.count, self.broken = count, broken

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        if position in self.broken:
            raise ValueError(f"labels/{position}.png holds the value 200")
        return np.full((3, 4, 4), position, np.float32), np.full((4, 4), position, np.int32)


def positions(batches) -> list[list[int]]:
    return [images[:, 0, 0, 0].astype(int).tolist() for images, _ in batches]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_steps_follow_each_other_in_order(workers):
    batches = list(Loader(Numbers(), 4, workers=workers).batches(0, 5))
    assert positions(batches) == [list(range(4 * step, 4 * step + 4)) for step in range(5)]
    images, labels = batches[0]
    assert (images.shape, images.dtype, labels.shape, labels.dtype) == ((4, 3, 4, 4), np.float32, (4, 4, 4), np.int32)
    assert np.array_equal(labels[:, 0, 0], images[:, 0, 0, 0])


def test_augmented_batches_do_not_depend_on_the_number_of_workers_or_on_a_restart():
    recipe = Recipe(steps=6, batch_size=4, crop_size=48, short_side=64, long_side=256)
    samples = SemanticSamples(DrawnWorld("validation", (64, 64)), recipe)
    whole = list(Loader(samples, 4).batches(0, 6))
    continued = [*Loader(samples, 4, workers=2).batches(0, 2), *Loader(samples, 4, workers=3).batches(2, 6)]
    for one, other in zip(whole, continued, strict=True):
        assert np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])


@pytest.mark.parametrize("ranks", [2, 4])
def test_the_ranks_share_every_batch_in_order(ranks):
    parts = [positions(Loader(Numbers(), 8, rank, ranks).batches(3, 6)) for rank in range(ranks)]
    joined = [sum(step, []) for step in zip(*parts, strict=True)]
    assert joined == positions(Loader(Numbers(), 8).batches(3, 6))


def test_no_steps_are_no_batches():
    assert list(Loader(Numbers(), 4).batches(5, 5)) == []


def test_a_batch_that_the_ranks_cannot_share_and_a_run_beyond_the_samples_are_refused():
    with pytest.raises(ValueError, match="batch_size must be a multiple of the 3 processes: 4 is not"):
        Loader(Numbers(), 4, 0, 3)
    with pytest.raises(ValueError, match="there are 10 samples: 3 steps need 12"):
        Loader(Numbers(10), 4).batches(0, 3)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_file_is_named_at_its_step(workers):
    batches = Loader(Numbers(broken=(13,)), 4, workers=workers).batches(0, 6)
    reached = []
    with pytest.raises(ValueError) as caught:
        for images, _ in batches:
            reached.append(int(images[0, 0, 0, 0]))
    assert str(caught.value) == "labels/13.png holds the value 200"
    assert reached == [0, 4, 8]
    assert_no_children()


@pytest.mark.parametrize("kind", [UnreadablePicture, ValueError])
def test_an_error_keeps_its_kind_on_the_way_from_the_loading_thread(kind):
    class Broken(Numbers):
        def __getitem__(self, position):
            raise kind("3.jpg cannot be used")

    with pytest.raises(kind) as caught:
        next(Loader(Broken(), 4, workers=0).batches(0, 1))
    assert type(caught.value) is kind and str(caught.value) == "3.jpg cannot be used"


def test_closing_the_batches_ends_the_workers():
    batches = Loader(Numbers(), 4, workers=2).batches(0, 200)
    next(batches)
    assert len(psutil.Process().children(recursive=True)) >= 2
    batches.close()
    assert_no_children()


def test_loading_can_begin_again_after_a_computation():
    """Workers are forked from a process in which MindSpore's threads run already."""
    import mindspore as ms

    matrix = ms.ops.ones((300, 300))
    for start in range(5):
        assert float(ms.ops.matmul(matrix, matrix)[0, 0]) == 300
        assert positions(Loader(Numbers(), 4, workers=2).batches(start, start + 3))[0][0] == 4 * start
    assert_no_children()


SLOW = textwrap.dedent("""
    import os, signal, sys, time
    signal.signal(signal.SIGINT, signal.default_int_handler)
    import numpy as np
    from ms_seg.training.loader import Loader

    class Slow:
        columns = ("image", "labels")
        def __len__(self): return 10 ** 6
        def __getitem__(self, position):
            time.sleep(0.02)
            return np.zeros((3, 4, 4), np.float32), np.zeros((4, 4), np.int32)

    try:
        for number, _ in enumerate(Loader(Slow(), 2, workers=int(sys.argv[1])).batches(0, 10 ** 5)):
            if number == 2: print("running", flush=True)
    except KeyboardInterrupt:
        print("stopped", flush=True)
""")


def start(workers: int) -> tuple[subprocess.Popen, list[psutil.Process]]:
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(workers)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "GLOG_v": "3"},
    )  # fmt: skip
    assert process.stdout.readline() == "running\n", process.stderr.read()
    return process, psutil.Process(process.pid).children(recursive=True)


@pytest.mark.parametrize("workers", [0, 2])
def test_control_c_ends_everything_without_noise(workers):
    process, children = start(workers)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    output, errors = process.communicate(timeout=20)
    assert output == "stopped\n"
    assert "Traceback" not in errors
    assert not psutil.wait_procs(children, timeout=5)[1]


def test_workers_do_not_outlive_a_killed_process():
    process, children = start(2)
    process.kill()
    process.communicate(timeout=20)
    assert not psutil.wait_procs(children, timeout=10)[1]


def test_a_killed_worker_ends_the_run_and_does_not_hang_it():
    process, children = start(2)
    children[0].kill()
    process.communicate(timeout=60)
    assert process.returncode != 0


def assert_no_children() -> None:
    deadline = time.monotonic() + 10
    while children := [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]:
        assert time.monotonic() < deadline, f"still running: {children}"
        time.sleep(0.1)

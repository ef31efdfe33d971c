"""A run that outgrows the memory."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from ms_seg.presets.recipe import Recipe
from ms_seg.training import memory

GB = 10**9


@pytest.mark.parametrize(
    ("numbers", "processes", "sentence"),
    [
        ({}, 1, "trains on 16 pictures of 512x512 at once. Try accumulate 2, which takes the same pictures in more"),
        ({"accumulate": 2, "crop_width": 1024}, 2, "trains on 4 pictures of 1024x512 at once. Try accumulate 4,"),
        ({"batch_size": 18, "accumulate": 2}, 1, "trains on 9 pictures of 512x512 at once. Try accumulate 6,"),
        ({"batch_size": 2}, 2, "trains on one picture of 512x512. Try recompute true, or a smaller crop_size"),
    ],
)
def test_the_advice_bounds_what_is_in_memory_at_once(numbers, processes: int, sentence: str):
    recipe = replace(Recipe(), **numbers)
    said = memory.advice(recipe, processes, 22 * GB, 24 * GB)
    assert said.startswith("memory is at its end: this process holds 22.0 of 24.0 GB, and ") and sentence in said


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done at the end of a process, which goes on."""
    done: list[str] = []

    def leave(code: int) -> None:
        done.append(f"left with {code}")
        raise SystemExit  # of the thread

    monkeypatch.setattr(memory.os, "_exit", leave)
    return done


def test_hardly_any_memory_ends_the_process_with_a_sentence(ended, monkeypatch, capsys):
    held = memory.psutil.Process().memory_info().rss
    monkeypatch.setattr(memory, "memory_left", lambda: (held // 100, 2 * held * 9 // 10))
    before = threading.enumerate()
    with memory.ending_before_memory_does(Recipe(), 1, last=lambda: ended.append("folder is given back")):
        for thread in set(threading.enumerate()) - set(before):
            thread.join(10)
    assert ended == ["folder is given back", "left with 2"]
    assert capsys.readouterr().err.startswith("ms_seg: memory is at its end: this process holds ")


@pytest.mark.parametrize(("left", "total"), [(GB, 24 * GB), (0, 10_000 * GB)])
def test_enough_memory_or_what_others_hold_ends_nothing(ended, monkeypatch, left: int, total: int):
    looks = threading.Semaphore(0)
    monkeypatch.setattr(memory, "memory_left", lambda: (looks.release(), (left, total))[1])
    with memory.ending_before_memory_does(Recipe(), 1, last=lambda: ended.append("folder is given back")):
        assert looks.acquire(timeout=10) and looks.acquire(timeout=10)
    assert not ended


# ---------------------------------------------------------------------------------------------- limits of a container

STAT = "anon 1\ninactive_file 500\ntotal_inactive_file 700\n"
SECOND = {"memory.max": "10000", "memory.current": "9000", "memory.stat": STAT}
FIRST = {"memory.limit_in_bytes": "8000", "memory.usage_in_bytes": "7000", "memory.stat": STAT}
NONE = {"memory.max": "max", "memory.current": "9000", "memory.stat": STAT}


@pytest.mark.parametrize(
    ("groups", "files", "left"),
    [
        ("0::/job/step\n", {"sys/fs/cgroup/job/step": SECOND}, (1500, 10000)),
        ("0::/job/step\n", {"sys/fs/cgroup": SECOND}, (1500, 10000)),  # seen from within a container
        ("4:memory:/job\n0::/\n", {"sys/fs/cgroup/memory/job": FIRST}, (1700, 8000)),
        ("0::/job\n", {"sys/fs/cgroup/job": NONE}, (50_000, 90_000)),
        ("0::/job\n", {}, (50_000, 90_000)),
        (None, {}, (50_000, 90_000)),
    ],
)
def test_the_limit_of_a_control_group_counts(groups, files, left, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    machine = SimpleNamespace(available=40_000, total=90_000)
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: machine)
    monkeypatch.setattr(memory.psutil, "swap_memory", lambda: SimpleNamespace(free=10_000))
    if groups is not None:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(groups)
    for folder, numbers in files.items():
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name, text in numbers.items():
            (tmp_path / folder / name).write_text(text)
    assert memory.memory_left(tmp_path) == left

"""A run that outgrows the memory ends with a sentence: the system would kill it, or another program, without a word."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from ms_seg.presets.recipe import Recipe

EXIT_CODE = 2  # as of what cannot be done
_PAUSE = 0.05  # seconds between two looks: a step fills some 100 MB in them
_SPARE = 1 / 32  # of all memory: what the system needs to go on
_LIMITS = (  # how the versions of control groups call a limit, what is used, and what of that can be taken back
    ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


@contextmanager
def ending_before_memory_does(recipe: Recipe, processes: int, last: Callable[[], object]) -> Iterator[None]:
    """End the process within the block, with a sentence on stderr and EXIT_CODE, once hardly any memory is left and the
    processes of the run hold half of it or more: where others do, it is theirs to end.

    A thread does it: a step comes back to Python only when it has had all the memory that it asks for. last: what is
    still done before.
    """
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_PAUSE):
            available, total = memory_left()
            if available >= total * _SPARE:
                continue
            used = psutil.Process().memory_info().rss
            if used * processes >= total / 2:
                print(f"ms_seg: {advice(recipe, processes, used, total)}", file=sys.stderr, flush=True)
                for worker in multiprocessing.active_children():
                    worker.kill()
                last()
                os._exit(EXIT_CODE)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def advice(recipe: Recipe, processes: int, used: int, total: int) -> str:
    """What is said of a run that holds `used` bytes of `total`: why, and the numbers of the recipe that bound it."""
    together = recipe.batch_size // processes // recipe.accumulate
    pictures = "one picture" if together == 1 else f"{together} pictures"
    said = (
        f"memory is at its end: this process holds {used / 1e9:.1f} of {total / 1e9:.1f} GB, and trains on {pictures} "
        f"of {recipe.crop[1]}x{recipe.crop[0]}"
    )
    if together == 1:
        return f"{said}. Try recompute true, or a smaller crop_size"
    parts = recipe.accumulate * next(parts for parts in range(2, together + 1) if together % parts == 0)
    return (
        f"{said} at once. Try accumulate {parts}, which takes the same pictures in more passes, of which batch norm "
        "sees one at a time, or a smaller batch_size or crop_size"
    )


def memory_left(root: Path = Path("/")) -> tuple[int, int]:
    """(Bytes that are left, bytes there are), of the machine or of the control group that bounds this process."""
    memory = psutil.virtual_memory()
    found = [(memory.available + psutil.swap_memory().free, memory.total)]
    try:
        groups = [line.split(":", 2)[2] for line in (root / "proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return found[0]
    for mount, limit, used, cache in _LIMITS:
        for group in {group.strip("/") for group in groups} | {""}:  # a container sees its own group as the root
            folder = root / mount / group
            try:
                bound, taken = int((folder / limit).read_text()), int((folder / used).read_text())
                numbers = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            except (OSError, ValueError):  # no such group, or "max": no limit
                continue
            if bound < memory.total:
                found.append((bound - taken + int(numbers.get(cache, 0)), bound))
    return min(found)

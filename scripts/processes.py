"""A process as the operating system counts it, for the scripts that measure whole commands."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Usage:
    """What a process took, its children included: seconds on the clock and of the processor, and memory at its peak.

    output: what it printed.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: int
    output: str

    @property
    def figures(self) -> dict[str, float]:
        """Ready for JSON."""
        return {
            "seconds": round(self.seconds, 2),
            "cpu_seconds": round(self.cpu_seconds, 2),
            "peak_mb": self.peak_mb,
        }


def run_python(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Usage:
    """Run Python with these arguments in the repository's folder. Raises RuntimeError, with its last line on stderr,
    where it does not end with 0."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "GLOG_v": "3", **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    output, errors = _read(process)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        last = (errors.strip().splitlines() or ["nothing on stderr"])[-1]
        raise RuntimeError(f"{' '.join(arguments[:4])} ... ended with {process.returncode}: {last}")
    return Usage(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss // 1024, output)


def _read(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Both of its streams to their ends; its status is left for wait4, which `communicate` would take."""
    with ThreadPoolExecutor(1) as pool, process.stdout as out, process.stderr as err:  # type: ignore[union-attr]
        errors = pool.submit(err.read)
        return out.read(), errors.result()

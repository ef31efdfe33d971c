"""C for the CPU, compiled by the machine's own compiler when a process first needs it. Needs no MindSpore."""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

HEADERS = Path(__file__).parent / "native"  # operator.h: threads, and an exponential

_SECONDS = 120

_log = logging.getLogger(__name__)


def shared_library(
    name: str, sources: Sequence[Path], flags: Sequence[str], libraries: Sequence[str] = ()
) -> Path | None:
    """A library compiled of C sources, which may include headers of their folders and HEADERS.

    It is kept in the user's cache, for these sources, this compiler and this processor. None, which is logged, where it
    cannot be made.
    """
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None:
        _log.info("there is no C compiler: %s is done without", name)
        return None
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ms_seg"
    options = ("-march=native", "-fPIC", "-shared", "-pthread", f"-I{HEADERS}", *flags)
    headers = [sorted(place.glob("*.h")) for place in sorted({HEADERS, *(source.parent for source in sources)})]
    read = [file.read_bytes() for file in (*sources, *itertools.chain.from_iterable(headers))]
    made_of = (*read, compiler.encode(), _processor(), *(option.encode() for option in (*flags, *libraries)))
    library = folder / f"{name}-{hashlib.sha256(b'|'.join(made_of)).hexdigest()[:16]}.so"
    try:
        if not library.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as drafts:
                draft = Path(drafts) / library.name
                command = [compiler, *options, *map(str, sources), "-o", str(draft), *libraries]
                subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS)
                os.replace(draft, library)
    except (OSError, subprocess.SubprocessError) as error:
        _log.info("%s could not be compiled and is done without: %s", name, error)
        return None
    return library


def _processor() -> bytes:
    """What the compiler makes instructions for: a home folder may be shared by machines of several kinds."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        return b""
    return b"".join(sorted({line for line in lines if line.startswith((b"model name", b"flags", b"Features"))}))

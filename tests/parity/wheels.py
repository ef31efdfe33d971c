"""Files of a published wheel, for packages whose requirements are not wanted here: unpacked, never installed."""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import tempfile
import types
import zipfile
from pathlib import Path

CACHE = Path(os.environ.get("MS_SEG_CACHE", Path.home() / ".cache" / "ms_seg"))


def unpacked(package: str, version: str) -> Path:
    """The folder of a wheel's files, fetched once into the cache."""
    folder = CACHE / f"{package}-{version}"
    if not folder.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
            subprocess.run([*command, "-d", scratch, f"{package}=={version}"], check=True)
            (wheel,) = Path(scratch).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(Path(scratch, "package"))
            with contextlib.suppress(FileExistsError, OSError):  # another process was first
                Path(scratch, "package").rename(folder)
    return folder


def module(path: Path) -> types.ModuleType:
    """One file as a module of its own, a new one for every call, without the package around it."""
    specification = importlib.util.spec_from_file_location(f"original_{path.stem}", path)
    made = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(made)
    return made


def package(name: str, folder: Path) -> None:
    """Let the modules of a folder be imported as those of a package `name`, without what its __init__ imports."""
    if name not in sys.modules:
        made = types.ModuleType(name)
        made.__path__ = [str(folder)]
        made.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)  # others ask whether it is here
        sys.modules[name] = made


def leave_out(*names: str) -> None:
    """Let modules be imported that are not here, and whose functions are never called."""
    for name in names:
        sys.modules.setdefault(name, _Absent(name))


class _Absent(types.ModuleType):
    """A module that can be imported and whose functions cannot be called."""

    __version__ = "0.15.2"

    def __init__(self, name: str):
        super().__init__(name)
        self.__spec__ = importlib.machinery.ModuleSpec(name, None)

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)

        def absent(*_args, **_keywords):
            raise RuntimeError(f"{self.__name__}.{name} is not available")

        return absent

"""What a checkpoint is to the rest of the project: names in file order, each with an entry that is read when asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np


class CheckpointError(ValueError):
    """A file that can't or must not be read; the message is one sentence that names the file and the record."""


@runtime_checkable
class Entry(Protocol):
    """One tensor of a checkpoint. Shape and dtype are known at once, the numbers only after `numpy()`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape; `()` for a scalar."""
        ...

    @property
    def dtype(self) -> str:
        """PyTorch's name of its element type: "float32", "bfloat16", "int64", "bool", "complex64" ..."""
        ...

    def numpy(self) -> np.ndarray:
        """Its numbers, in the machine's byte order and not to be written into; bfloat16 arrives as float32.

        Raises:
            CheckpointError: the record is damaged, or its element type (quantised, float8 ...) has no NumPy equal.
        """
        ...


@dataclass(frozen=True, eq=False)
class ArrayEntry:
    """An entry whose numbers are at hand, of an element type that NumPy has."""

    array: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> str:
        return self.array.dtype.name

    def numpy(self) -> np.ndarray:
        return self.array


@dataclass(frozen=True)
class Contents:
    """What a file holds: the model's tensors by name, in file order; how it is built, for people; texts beside them.

    taken: the name of the set of weights that this is, "" where it has none. others: names of further sets.
    """

    entries: Mapping[str, Entry]
    container: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    taken: str = ""
    others: tuple[str, ...] = ()


class Checkpoint(Mapping[str, Entry]):
    """An open checkpoint: the model's tensors by name, in file order. Close it, or use it in a `with` block.

    Arrays that were read stay valid after closing; entries that were not can't be read any more.

    Attributes:
        container: how the file is built, for people: "zip", "legacy", "safetensors" ...
        metadata: the free text some containers carry beside the tensors.
        taken: the name of the set of weights that this is, where there are several; others: the names of those.
        folder: the folder that it is the model of, where other files may describe it; None for a file of its own.
        file: where its tensors are, or the first of several parts.
        passed_over: names of further files of the folder that hold weights.
    """

    def __init__(
        self,
        contents: Contents,
        close: Callable[[], None],
        folder: Path | None = None,
        file: Path | None = None,
        passed_over: tuple[str, ...] = (),
    ) -> None:
        self._entries = dict(contents.entries)
        self.container = contents.container
        self.metadata = dict(contents.metadata)
        self.taken, self.others = contents.taken, contents.others
        self.folder, self.file, self.passed_over = folder, file, passed_over
        self._close = close

    def __getitem__(self, name: str) -> Entry:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file. Calling it twice is harmless."""
        self._close()


def shown(name: object) -> str:
    """A name from a file, fit to stand in a sentence: quoted, escaped, and cut to 80 characters."""
    text = str(name) if isinstance(name, (str, int)) else f"a {type(name).__name__}"
    return repr(text if len(text) <= 80 else text[:77] + "...")

"""A run's journal as TensorBoard reads it; tensorboardX writes it, which need not be installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

_PACKAGE = "tensorboardX"
_PAUSE = 5  # seconds between two writings to the disk


def check_tensorboard() -> None:
    """Raise ValueError where the package that writes for TensorBoard is missing."""
    if find_spec(_PACKAGE) is None:
        raise ValueError(f"--tensorboard needs a package that is not installed: pip install {_PACKAGE}")


class Events:
    """Scalars and pictures by step, in a folder; every start of a run adds a file to it."""

    def __init__(self, folder: Path, finished: int):
        """finished: steps that the run has behind it; TensorBoard forgets what earlier files hold of later ones."""
        from tensorboardX import SummaryWriter

        # The files' names hold the second of their making; the suffix tells those of one second apart.
        self._writer = SummaryWriter(
            str(folder), purge_step=finished + 1, flush_secs=_PAUSE, filename_suffix=f".{finished:08}"
        )

    def write(self, step: int, **scalars: float) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)

    def show(self, step: int, picture: Image.Image) -> None:
        self._writer.add_image("validation", np.asarray(picture), step, dataformats="HWC")

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()

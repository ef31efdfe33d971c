"""What other packages warn of, Matplotlib, Pillow and the like: for a log, since who uses this one cannot mend it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any

_LOGGERS = ("py.warnings", "matplotlib", "PIL", "fontTools")
_MAX_BYTES = 1 << 20  # then it begins anew


@contextmanager
def warnings_to_log() -> Iterator[None]:
    """Write what others warn of in the block into ~/.cache/ms_seg/warnings.log; what cannot be written is lost."""
    handler = _Handler(_path(), delay=True, encoding="utf-8", errors="backslashreplace")
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.propagate for logger in loggers]
    logging.captureWarnings(True)
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for logger, propagate in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.propagate = propagate
        handler.close()


def _path() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ms_seg" / "warnings.log"


class _Handler(logging.FileHandler):
    """Makes its folder when there is something to write, and is silent where it cannot."""

    def _open(self) -> TextIOWrapper[Any]:
        path = Path(self.baseFilename)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > _MAX_BYTES:
            path.unlink()
        return super()._open()

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Not on the screen."""

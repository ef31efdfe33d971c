"""Fixtures of the commands' tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple, dict[str, Any]]]:
    """No step is taken; everything up to the first one is done. What `train` was told, by place and by name, where it
    did not refuse."""
    from ms_seg.training import run
    from ms_seg.training.trainer import Trainer

    told: list[tuple[tuple, dict[str, Any]]] = []
    train: Callable[..., None] = run.train

    def listen(*what: Any, **options: Any) -> None:
        train(*what, **options)
        told.append((what, options))

    monkeypatch.setattr(run, "train", listen)
    monkeypatch.setattr(Trainer, "train", lambda self, batches, validate: None)
    return told
